#!/bin/sh
# SPDX-License-Identifier: MIT
#
# cross.sh TARGET [PATTERN]: set up, build into build-TARGET and test there: aarch64, riscv64,
# musl or windows.
set -eu
target=$1
shift
cd "$(dirname "$0")/.."

case $target in
    musl)
        tools/setup.sh build test
        tools/sources.sh build-musl/sources zydis cmocka
        ;;
    windows)
        tools/setup.sh build windows
        tools/sources.sh build-windows/sources zydis cmocka
        ;;
    *)
        tools/setup.sh build "$target"
        # Programs for the scripts are four times as much to fetch as the libraries.
        programs=emulated
        [ ! "${CROSS_ONLY_BUILD:-}" ] || programs=
        tools/foreign-root.sh "$target" "build-$target/root" $programs
        ;;
esac
[ -f "build-$target/build.ninja" ] || cmake --preset "$target" >/dev/null
cmake --build --preset "$target"
# Two programs that start side by side would both lay out wine's folder.
if [ "$target" = windows ]; then
    WINEPREFIX=$PWD/build-windows/wine WINEDEBUG=-all wine cmd /c exit >build-windows/wine.log 2>&1 || {
        cat build-windows/wine.log >&2
        exit 1
    }
fi
# What runs in an emulator, or asks wine's server for everything, is slower than a machine of its own.
[ $target = musl ] || export TEST_SLOWDOWN=${TEST_SLOWDOWN:-6}
[ "${CROSS_ONLY_BUILD:-}" ] || TEST_TIMEOUT=${TEST_TIMEOUT:-1200} exec tools/run-tests "build-$target" "$@"
