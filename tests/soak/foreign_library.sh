#!/bin/sh
# SPDX-License-Identifier: MIT
#
# foreign_library.sh DEBIAN_ARCHITECTURE PACKAGE DIR: a package of the distribution for another CPU, unpacked into DIR:
# code to try things on, which is never run.
set -eu
arch=$1 package=$2 dir=$3
. "$(dirname "$0")/../../tools/private-apt.sh"

[ ! -f "$dir/.complete" ] || exit 0
mkdir -p "$dir"
# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
private_apt_begin "$dir.apt" "$arch" "deb [arch=$arch] $mirror $suite main"
private_apt update
(cd "$state/cache/archives" && private_apt download "$package")
dpkg-deb -x "$state/cache/archives/$package"_*.deb "$dir"
: >"$dir/.complete"
