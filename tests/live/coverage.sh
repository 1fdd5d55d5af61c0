#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every exported function of some real libraries and programs is accepted, reached, restored; `make coverage` does more.
cd "$TMP" || exit 1
. "$SRC/tests/support/tap.sh"

all_accepted()
{
    grep -q '(100.00 %), 0 wrong' out || tell "every function was to be accepted, and none wrong"
}

# try LIBRARY CHECK
try()
{
    run "$BUILD/tests/coverage/coverage" --refused "$1"
    if grep -q skipped: out; then
        skip "$1" "$(grep skipped: out)"
    else
        result "$1: $(grep ' functions, ' out)" "$2"
    fi
}

try libz.so.1 all_accepted
try libm.so.6 all_accepted
try libc.so.6 all_accepted
try libsqlite3.so.0 all_accepted
try /usr/bin/perl all_accepted
try /usr/bin/bash all_accepted
finish
