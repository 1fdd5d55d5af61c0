#!/bin/sh
# SPDX-License-Identifier: MIT
#
# zig-build.sh TARGET BUILD: libredefine.a for TARGET (as zig.sh has it) into BUILD. It is compiled and not run: there is
# nothing here that could run it.
set -eu
src=$(cd "$(dirname "$0")/.." && pwd)
target=$1
mkdir -p "$2"
build=$(cd "$2" && pwd)

cpu=${target%%-*}
case $target in
*-macos) system=Darwin ;;
*-freebsd) system=FreeBSD ;;
*) echo "zig-build: no room for $target" >&2; exit 2 ;;
esac

home=${REDEFINE_ZIG_HOME:-$src/build-zig}
"$src/tools/zig.sh" "$target" "$build/tools"
# The room of x86-64 is the one that decodes with Zydis.
zydis=
if [ "$cpu" = x86_64 ]; then
    "$src/tools/sources.sh" "$home/sources" zydis
    zydis=-DRDF_SOURCES=$home/sources
fi
# shellcheck disable=SC2086
cmake -S "$src" -B "$build" -G Ninja -DCMAKE_TOOLCHAIN_FILE="$src/cmake/toolchain-zig.cmake" \
    -DREDEFINE_ZIG="$build/tools" -DREDEFINE_SYSTEM="$system" -DREDEFINE_CPU="$cpu" \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo $zydis >"$build/log" 2>&1 || { cat "$build/log" >&2; exit 1; }
cmake --build "$build"
