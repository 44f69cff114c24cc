#!/bin/bash
# run_image.sh IMAGE [VARIABLE=VALUE...] -- COMMAND...: runs a command in the container's files as its Dockerfile has it run:
# read-only, with a /tmp in memory, as a user without rights. To be run in namespaces of its own.
set -euo pipefail

image=$1
shift
mount --make-rprivate /
mount --bind "$image" "$image"
mkdir -p "$image/proc" "$image/dev"
mount -t proc proc "$image/proc"
mount -t tmpfs -o mode=1777 tmpfs "$image/tmp"
mount -t tmpfs tmpfs "$image/dev"
for device in null zero full random urandom; do
    touch "$image/dev/$device"
    mount --bind "/dev/$device" "$image/dev/$device"
done
mkdir -m 1777 "$image/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$image/dev/shm"
mount -o remount,bind,ro "$image"
environment=()
while [ "$1" != -- ]; do
    environment+=("$1")
    shift
done
shift
exec env -i "${environment[@]}" /usr/sbin/chroot --userspec=10001:10001 "$image" "$@"
