#!/bin/sh
# The tour of `make demo`: starts the shop, shows what there is to see, leaves it running.
#   ECSNET_BIN=path/to/ecsnet examples/shop/demo.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
ecsnet=${ECSNET_BIN:-ecsnet}
output=$(mktemp)
trap 'rm -f "$output"' EXIT

heading() {
  printf '\n== %s\n' "$1"
}

# Prints a command as a person would type it (the binary by its name), then runs it.
show() {
  printf '$ ecsnet'
  printf ' %s' "$@"
  printf '\n'
  "$ecsnet" "$@"
}

heading 'Start: a VPC, and two tasks of each service with an address of their own'
show up "$here/stack.yaml"

heading 'The services, and the names under which they are found'
show services shop

heading 'One request through all services, asked inside a web task: the addresses it passed'
show exec shop/web -- /shop get 'http://127.0.0.1:8080/?text'
echo '(again: DNS gives the tasks in random order, so the path may differ)'
show exec shop/web -- /shop get 'http://127.0.0.1:8080/?text'

heading 'The same path as programs read it'
show exec shop/web -- /shop get http://127.0.0.1:8080/

heading 'Refused: web may call orders, but nothing lets it into the security group of users'
if show exec shop/web -- /shop get --timeout 2 http://users.shop.local:8080/ >"$output" 2>&1; then
  cat "$output"
  echo 'demo: that request should not have got through: the security group does not hold' >&2
  exit 1
fi
cat "$output"
# Any other failure (no such name, nobody there) would prove nothing.
if ! grep -q 'no connection to .*:8080 within' "$output"; then
  echo 'demo: the request failed, but not because its packets were dropped' >&2
  exit 1
fi
echo 'As it should be: the name resolves, the packets are dropped, and no reply says so. That is how AWS refuses.'

heading 'The DNS answers behind it'
show dig --stack shop orders.shop.local
show dig --stack shop users.shop.local

cat <<'NEXT'

The shop goes on running. Try next:
  ecsnet run --from shop/web -- curl -s 'orders.shop.local:8080/?text'   a command of this host's, in a web task's network
  ecsnet stop <task id from ps>; ecsnet events -f shop             a task is stopped: out of DNS, replaced, its address rests
  ecsnet scale shop/users=4; ecsnet dig --stack shop users.shop.local    more tasks, and once they are healthy more answers
  ecsnet inspect security-group users                              why that request was refused: who is let in, and who is in it
  ecsnet logs -f shop/orders                                       who calls
  ecsnet down shop                                                 the stack is removed, with all that was made for it
NEXT
printf '(ecsnet is %s; make install puts it on the PATH)\n' "$ecsnet"
