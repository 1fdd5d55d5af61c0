#!/bin/sh
# SPDX-License-Identifier: MIT
#
# foreign_library.sh DEBIAN_ARCHITECTURE PACKAGE DIR: a package of the distribution for another CPU, unpacked into DIR:
# code to try things on, which is never run. apt works on a state of its own, so nothing of this system changes, and
# no root is needed.
set -eu
arch=$1 package=$2 dir=$3
[ ! -f "$dir/.complete" ] || exit 0
mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
: >"$dir/apt/status"
state=$(cd "$dir/apt" && pwd)
# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
echo "deb [arch=$arch] ${DEBIAN_MIRROR:-http://deb.debian.org/debian} $suite main" >"$state/sources.list"
apt()
{
    apt-get -qq -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o Dir::State="$state" \
        -o Dir::State::lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" \
        -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=- -o APT::Sandbox::User= \
        -o Debug::NoLocking=1 "$@"
}
apt update
(cd "$state/cache/archives" && apt download "$package")
dpkg-deb -x "$state/cache/archives/$package"_*.deb "$dir"
rm -rf "$state"
: >"$dir/.complete"
