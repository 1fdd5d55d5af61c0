#!/bin/sh
# SPDX-License-Identifier: MIT
#
# sources.sh DIR PACKAGE…: Debian's source packages, as their authors published them, unpacked into DIR/PACKAGE.
set -eu
dir=$1
shift
cd "$(dirname "$0")/.."
. tools/private-apt.sh

missing=
for package; do
    [ -e "$dir/$package/.complete" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "sources: fetching$missing" >&2
mkdir -p "$dir"
private_apt_begin "$dir.apt" "$(dpkg --print-architecture)" "deb-src $mirror bookworm main"
# shellcheck disable=SC2086
if ! { private_apt update && cd "$state" && private_apt source --download-only $missing; } >"$state/log" 2>&1; then
    cat "$state/log" >&2
    echo "sources:$missing could not be fetched; DEBIAN_MIRROR names another mirror" >&2
    exit 1
fi
cd - >/dev/null
for package in $missing; do
    rm -rf "${dir:?}/$package"
    mkdir "$dir/$package"
    for archive in "$state/$package"_*.orig.tar.?z; do
        tar -xf "$archive" -C "$dir/$package" --strip-components=1
    done
    : >"$dir/$package/.complete"
done
