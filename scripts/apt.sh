#!/bin/sh
# apt.sh PACKAGE...: installs packages of Debian and its kin, where this user may: as root, or by sudo without a password.
set -eu

if ! command -v apt-get >/dev/null; then
    echo "$* cannot be installed here: there is no apt-get." >&2
    exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
    as_root="sudo -n"
    if ! $as_root true 2>/dev/null; then
        echo "$* cannot be installed by this user: run 'sudo apt-get install $*'." >&2
        exit 1
    fi
fi
install() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 "$@" >/dev/null
}
echo "Installing $*."
# The lists of packages may be missing or old.
install install -y -qq --no-install-recommends "$@" 2>/dev/null || {
    install update -qq
    install install -y -qq --no-install-recommends "$@"
}
