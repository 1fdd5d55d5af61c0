#!/bin/sh
# SPDX-License-Identifier: MIT
#
# foreign-root.sh CPU DIR: the libraries of Debian for another CPU that building and testing needs (section
# `foreign` of tools/packages.txt), unpacked into DIR.
set -eu
cpu=$1
dir=$2
cd "$(dirname "$0")/.."
. tools/private-apt.sh

debian_for "$cpu"
packages=$(wanted_packages foreign)

# Complete, and for the packages that are asked for now? Then nothing is to be done.
[ "$(cat "$dir/.packages" 2>/dev/null)" != "$suite $packages" ] || exit 0

echo "foreign-root: fetching libraries for $cpu" >&2
rm -rf "$dir"
mkdir -p "$dir"
private_apt_begin "$dir.apt" "$arch" "deb [arch=$arch] $mirror $suite main"
# shellcheck disable=SC2086
if ! { private_apt update && private_apt install -y --no-install-recommends --download-only $packages; } \
    >"$state/log" 2>&1; then
    cat "$state/log" >&2
    echo "foreign-root: the packages for $cpu could not be fetched; DEBIAN_MIRROR names another mirror" >&2
    exit 1
fi
for package in "$state"/cache/archives/*.deb; do
    dpkg-deb -x "$package" "$dir"
done
# Since trixie packages have everything below /usr, and an installed system has these links.
for name in lib bin sbin; do
    [ -e "$dir/$name" ] || ln -s "usr/$name" "$dir/$name"
done
echo "$suite $packages" >"$dir/.packages"
