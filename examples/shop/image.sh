#!/bin/sh
# Makes the image of the shop from its static binary: one file on an empty root, no registry, no Dockerfile.
#   image.sh BINARY [NAME:TAG]
# Does nothing when the image is there already with this very binary in it.
set -eu

binary=$1
image=${2:-ecsnet-example/shop:latest}
label=ecsnet.example.sha256

if [ ! -f "$binary" ]; then
  echo "image.sh: no such binary: $binary (make image-shop builds it)" >&2
  exit 1
fi
if readelf -l "$binary" 2>/dev/null | grep -q INTERP; then
  echo "image.sh: $binary is linked dynamically and cannot run on an empty image" >&2
  exit 1
fi

hash=$(sha256sum "$binary" | cut -d ' ' -f 1)
present=$(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null || true)
if [ "$present" = "$hash" ]; then
  echo "$image is up to date"
  exit 0
fi

echo "importing $binary as $image"
# A pipe hides the failure of its first command: the archive is made first.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/root"
cp "$binary" "$work/root/shop"
chmod 0755 "$work/root/shop"
tar -C "$work/root" --owner=0 --group=0 --numeric-owner -cf "$work/root.tar" shop
docker import \
  --change 'ENTRYPOINT ["/shop"]' --change 'USER 65534:65534' --change 'EXPOSE 8080' --change "LABEL $label=$hash" \
  "$work/root.tar" "$image"
