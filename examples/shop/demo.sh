#!/bin/sh
# The tour of `make demo`: starts the shop, shows what there is to see, leaves it running.
#   ECSNET_BIN=path/to/ecsnet examples/shop/demo.sh
#   MODE=bridge (or host): the same stack on container instances
set -eu

mode=${MODE:-awsvpc}
case $mode in
  awsvpc) record=A ;;
  bridge | host) record=SRV ;;
  *)
    echo "demo: MODE is awsvpc, bridge or host, not \`$mode\`" >&2
    exit 2
    ;;
esac

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

if [ "$mode" = awsvpc ]; then
  heading 'Start: a VPC, and two tasks of each service with an address of their own'
  show up "$here/stack.yaml"
else
  heading "Start: a VPC, container instances in it, and on them two tasks of each service in $mode mode"
  show up "$here/stack.yaml" --network-mode "$mode"

  heading 'The container instances: each has an address in the VPC; a task is reached there, at a port of the instance'
  show instance list shop
  show ps shop --output wide
fi

heading 'The services, and the names under which they are found'
show services shop

heading 'One request through all services, asked inside a web task: the addresses it passed'
show exec shop/web -- /shop get 'http://127.0.0.1:8080/?text'
echo '(again: DNS gives the tasks in random order, so the path may differ)'
show exec shop/web -- /shop get 'http://127.0.0.1:8080/?text'

heading 'The same path as programs read it'
show exec shop/web -- /shop get http://127.0.0.1:8080/

if [ "$mode" = awsvpc ]; then
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
else
  heading 'Not told apart: web may not call users, but in this mode a security group is the instance'"'"'s'
  show exec shop/web -- /shop get http://users.shop.local:8080/
  echo 'An instance is in the groups of all services that may run on it, here as in AWS: what lets in orders lets in web.'
fi

heading 'The DNS answers behind it'
show dig --stack shop orders.shop.local "$record"
show dig --stack shop users.shop.local "$record"

cat <<'NEXT'

The shop goes on running. Try next:
NEXT
if [ "$mode" = awsvpc ]; then
  # curl knows nothing of SRV records.
  cat <<'NEXT'
  ecsnet run --from shop/web -- curl -s 'orders.shop.local:8080/?text'   a command of this host's, in a web task's network
NEXT
else
  cat <<'NEXT'
  ecsnet inspect instance <id from instance list>                  its bridge, and the ports that lead to containers
  ecsnet instance drain <id>; ecsnet ps shop --watch               its tasks move to other instances; `start` undoes it
NEXT
fi
cat <<'NEXT'
  ecsnet stop <task id from ps>; ecsnet events -f shop             a task is stopped: out of DNS, replaced, its address rests
  ecsnet scale shop/users=4; ecsnet dig --stack shop users.shop.local    more tasks, and once they are healthy more answers
  ecsnet inspect security-group users                              why that request was refused: who is let in, and who is in it
  ecsnet logs -f shop/orders                                       who calls
  ecsnet down shop                                                 the stack is removed, with all that was made for it
NEXT
printf '(ecsnet is %s; make install puts it on the PATH)\n' "$ecsnet"
