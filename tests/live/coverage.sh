#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every exported function of some real libraries is accepted, reached, restored; `make coverage` does more.
cd "$TMP" || exit 1
. "$SRC/tests/support/tap.sh"

all_accepted()
{
    grep -q '(100.00 %), 0 wrong' out || tell "every function was to be accepted, and none wrong"
}

for library in libz.so.1 libm.so.6 libsqlite3.so.0; do
    run "$BUILD/tests/coverage/coverage" --refused "$library"
    if grep -q skipped: out; then
        skip "$library" "$(cat out)"
    else
        result "$library: $(head -n 1 out)" all_accepted
    fi
done
finish
