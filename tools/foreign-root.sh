#!/bin/sh
# SPDX-License-Identifier: MIT
#
# foreign-root.sh CPU DIR: the libraries of Debian for another CPU that building and testing needs (section
# `foreign` of tools/packages.txt), unpacked into DIR. Nothing of this system changes: apt gets a state of its
# own, in which nothing is installed, so that it finds all that is needed. Needs no root.
#
# riscv64 became an architecture of Debian in its 13th release, trixie: what is older has no such packages.
set -eu
cpu=$1
dir=$2
cd "$(dirname "$0")/.."

case $cpu in
    aarch64) arch=arm64 suite=bookworm ;;
    riscv64) arch=riscv64 suite=trixie ;;
    *) echo "foreign-root: no Debian architecture is known for $cpu" >&2; exit 2 ;;
esac
packages=$(sed -n 's/^foreign  *\([^ ]*\).*/\1/p' tools/packages.txt)
wanted="$suite $(echo $packages)"

# Complete, and for the packages that are asked for now? Then nothing is to be done.
[ "$(cat "$dir/.packages" 2>/dev/null)" != "$wanted" ] || exit 0

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
echo "foreign-root: fetching libraries for $cpu from $mirror" >&2
rm -rf "$dir"
state=$dir.apt
log=$dir.log
trap 'rm -rf "$state"' EXIT
mkdir -p "$dir" "$state/lists/partial" "$state/cache/archives/partial"
: >"$state/status"
echo "deb [arch=$arch] $mirror $suite main" >"$state/sources.list"
state=$(cd "$state" && pwd)

apt()
{
    apt-get -qq -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o Dir::State="$state" \
        -o Dir::State::lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" \
        -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts=- \
        -o APT::Sandbox::User= -o Debug::NoLocking=1 "$@"
}

# shellcheck disable=SC2086
if ! { apt update && apt install -y --no-install-recommends --download-only $packages; } >"$log" 2>&1; then
    cat "$log" >&2
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
rm -f "$log"
echo "$wanted" >"$dir/.packages"
