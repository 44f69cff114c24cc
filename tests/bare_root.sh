#!/bin/bash
# bare_root.sh FOLDER SUITE: the container's files, made by scripts/image.sh in a bare Debian in FOLDER/bare.
# To be run in a mount namespace of its own. Nothing of this machine can be written to from inside.
set -euo pipefail

folder=$1 suite=$2
bare=$folder/bare
mmdebstrap --quiet --variant=minbase "$suite" "$folder/bare.tar"
mkdir -p "$bare/source" "$bare/cache" "$folder/upper" "$folder/work"
tar -xf "$folder/bare.tar" -C "$bare"
rm "$folder/bare.tar"
# What the Dockerfile copies: .dockerignore lets nothing else in.
grep '^!' .dockerignore | cut -c 2- | tar -c --exclude=__pycache__ -T - | tar -x -C "$bare/source"

mount --make-rprivate /
mount -t tmpfs tmpfs "$bare/dev"
for device in null zero full random urandom; do
    touch "$bare/dev/$device"
    mount --bind "/dev/$device" "$bare/dev/$device"
done
mount -t proc proc "$bare/proc"
cp -L /etc/resolv.conf "$bare/etc/"
certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
cp -L "$certificates" "$bare/certificates.crt"
# What uv has fetched before, so that it need not again.
cache=$(uv cache dir 2>/dev/null || .uv/bin/uv cache dir)
mkdir -p "$cache"
mount -t overlay overlay -o "lowerdir=$cache,upperdir=$folder/upper,workdir=$folder/work" "$bare/cache" || true

chroot "$bare" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root UV_CACHE_DIR=/cache \
    SSL_CERT_FILE=/certificates.crt PIP_CERT=/certificates.crt sh /source/scripts/image.sh /source /image
