#!/bin/sh
# Makes the images of nginx and redis from Debian's own packages: no registry, no Dockerfile, and nothing is installed
# on this machine. apt finds and fetches what the programs need, the packages are unpacked, Docker imports the result.
#   image.sh [nginx] [redis]
# Does nothing for an image that is there already and was made by this very recipe.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
label=ecsnet.example.recipe
recipe=$(cat "$here/image.sh" "$here/nginx.conf" | sha256sum | cut -d ' ' -f 1)

# What Debian's packages depend on for being installed and for their scripts; in a container nobody runs those.
installers='adduser debconf dpkg init-system-helpers iproute2 lsb-base perl perl-base sysvinit-utils'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# apt as on a machine that has the installers and nothing else, so that it lists all that a program needs, libc included.
apt() {
  apt-get -qq -y --no-install-recommends \
    -o "Dir::State::status=$work/status" -o "Dir::Cache::archives=$work/$name" -o APT::Sandbox::User=root "$@"
}

# fetch PACKAGE ...: into $work/$name, and says what before it does.
fetch() {
  mkdir -p "$work/$name/partial"
  list=$(apt --print-uris install "$@" | cut -d ' ' -f 2) || return 1
  echo "$image: unpacking Debian's packages into it (none is installed here):"
  echo "$list" | sed 's/_.*//' | sort | tr '\n' ' ' | fold -s -w 110 | sed 's/^/  /'
  echo
  apt --download-only install "$@"
}

# unpack PACKAGE ...: an image's root in $work/$name.root.
unpack() {
  fetch "$@" || {
    echo "$image: fetching again, with fresh package lists"
    if [ "$(id -u)" -eq 0 ]; then apt-get update -q; else sudo apt-get update -q; fi
    fetch "$@"
  }
  root=$work/$name.root
  # Debian's directories of old are links into /usr, which the package base-files would have made.
  mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64" "$root/etc" "$root/run"
  for link in bin sbin lib lib64; do ln -s "usr/$link" "$root/$link"; done
  for package in "$work/$name"/*.deb; do
    # By way of tar, which unlike dpkg-deb follows those links instead of replacing them.
    dpkg-deb --fsys-tarfile "$package" >"$work/package.tar"
    tar -C "$root" --keep-directory-symlink --no-same-owner -xf "$work/package.tar"
  done
  rm -rf "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale" "$root/usr/share/lintian"
  rm -rf "$root"/usr/lib/*/gconv "$root/tmp"
  mkdir -m 1777 "$root/tmp"
  # The shell and the small tools, for `exec` and health checks. It is linked to glibc, so names resolve in it.
  for tool in $("$root/usr/bin/busybox" --list); do
    [ -e "$root/usr/bin/$tool" ] || [ -e "$root/usr/sbin/$tool" ] || ln -s busybox "$root/usr/bin/$tool"
  done
  cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/:/bin/sh
www-data:x:33:33:www-data:/:/bin/sh
redis:x:100:100:redis:/tmp:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/sh
PASSWD
  printf 'root:x:0:\nwww-data:x:33:\nredis:x:100:\nnogroup:x:65534:\n' >"$root/etc/group"
  printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
}

# import --change INSTRUCTION ...: the root becomes the image.
import() {
  tar -C "$root" --owner=0 --group=0 --numeric-owner -cf "$work/$name.tar" .
  docker import "$@" --change 'ENV PATH=/usr/sbin:/usr/bin' --change "LABEL $label=$recipe" "$work/$name.tar" "$image"
}

make_nginx() {
  unpack nginx busybox
  cp "$here/nginx.conf" "$root/etc/nginx/nginx.conf"
  mkdir -p "$root/var/log/nginx" "$root/var/lib/nginx"
  echo 'nginx from Debian, in a task of ecsnet' >"$root/usr/share/nginx/html/index.html"
  import --change 'CMD ["nginx"]' --change 'EXPOSE 80'
}

make_redis() {
  unpack redis-server busybox
  # Reached over the network, where the security groups are its guard; it keeps nothing on disk.
  import --change 'CMD ["redis-server", "--protected-mode", "no", "--save", ""]' --change 'USER 100:100' \
    --change 'EXPOSE 6379' --change 'WORKDIR /tmp'
}

for package in $installers; do
  printf 'Package: %s\nStatus: install ok installed\nVersion: 9999\nArchitecture: all\nMaintainer: none\nDescription: none\n\n' "$package"
done >"$work/status"

[ "$#" -gt 0 ] || set -- nginx redis
for name in "$@"; do
  image=ecsnet-example/$name:latest
  present=$(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null || true)
  if [ "$present" = "$recipe" ]; then
    echo "$image is up to date"
    continue
  fi
  for program in apt-get dpkg-deb; do
    command -v "$program" >/dev/null || {
      echo "image.sh: this machine has no $program, and $image is made from Debian's packages" >&2
      exit 3
    }
  done
  case $name in
    nginx) make_nginx ;;
    redis) make_redis ;;
    *)
      echo "image.sh: no such image: $name (nginx or redis)" >&2
      exit 1
      ;;
  esac
done
