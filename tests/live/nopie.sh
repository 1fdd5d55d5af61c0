#!/bin/sh
# SPDX-License-Identifier: MIT
#
# helper_nopie.c as an executable at a fixed address, with each way of binding: lazily, at the start, through
# .plt.sec (-fcf-protection), through .plt.got.
set -u
number=0
failures=0
sanitize=
nm -D "$BUILD/libredefine.so" | grep -q __asan_init && sanitize=-fsanitize=address,undefined

# Landing pads, and addresses that fit into a few instructions, by what each CPU calls them.
case $($CC -dumpmachine) in
    x86_64-*) pads=-fcf-protection=full model=small ;;
    aarch64-*) pads=-mbranch-protection=standard model=small ;;
    *) pads='' model=medlow ;;
esac

for flags in "-Wl,-z,lazy" "-Wl,-z,now" "$pads -Wl,-z,lazy" "$pads -Wl,-z,now -O0"; do
    # Flags are words.
    # shellcheck disable=SC2086
    $CC -std=gnu11 -D_GNU_SOURCE -O2 -fno-pic -no-pie -mcmodel=$model $sanitize $flags -I"$SRC/include" \
        -I"$SRC/tests/live/linux" -o nopie "$SRC/tests/live/helper_nopie.c" -L"$BUILD" -lredefine -Wl,-rpath,"$BUILD" >build.txt 2>&1 &&
        ./nopie >run.txt 2>&1
    # One plan for all of them: the results are numbered anew.
    while read -r line; do
        case $line in
        "ok "* | "not ok "*)
            number=$((number + 1))
            case $line in "not "*) failures=1 ;; esac
            echo "$line" | sed "s/ok [0-9]* - /ok $number - $flags: /" ;;
        1..*) ;;
        *) echo "# $line" ;;
        esac
    done <run.txt
    if ! grep -q '^1\.\.' run.txt; then
        number=$((number + 1))
        failures=1
        echo "not ok $number - $flags: builds and runs"
        sed 's/^/# /' build.txt run.txt
    fi
    rm -f run.txt
done
echo "1..$number"
exit $failures
