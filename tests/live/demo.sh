#!/bin/sh
# SPDX-License-Identifier: MIT
#
# `make demo`: runs, says what it should, and fails when something is wrong.
set -u
. "$SRC/tests/support/tap.sh"
needs_plain_agent

run "$SRC/tools/demo.sh" "$BUILD"
result "it ends well" sh -c '[ "$1" = 0 ] || { cat out err; false; }' - "$status"
result "it has nothing to say on stderr" sh -c 'cat err; [ ! -s err ]'
result "date under the patch says five" \
    sh -c 'sed -n "/^\\$ redefine run --patch five_pm.so -- date/{n;p;}" out | grep " 17:00:00 UTC "'
result "perl in a shell says five" grep -E '^[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9]{2} 17:00:00 20[0-9]{2} and 17:00$' out
result "in one's own process: five" grep -qx 'time says  *17:00:00' out
result "… and the bytes are the same afterwards" grep -qx 'the bytes are the same as before' out
result "… byte for byte" sh -c '
    [ "$(sed -n "s/^its bytes before *//p" out)" = "$(sed -n "s/^its bytes after the restore *//p" out)" ] &&
    [ "$(sed -n "s/^its bytes before *//p" out)" != "$(sed -n "s/^its bytes while redefined *//p" out)" ]'
result "clock_gettime: before and after" sh -c '
    sed -n "/^clock_gettime in/,/^==/p" out >part
    for word in "^  runs at" "^before" "^after" "^relay" "^trampoline"; do
        grep -q "$word" part || { echo "no $word"; cat part; exit 1; }
    done'
if [ "$(uname -m)" = x86_64 ]; then
    result "time runs in the vDSO" grep -qx 'time in \[vdso\]' out
fi
result "no line is longer than 100 columns, but for the commands" \
    sh -c '[ "$(grep -v "^\\$" out | LC_ALL=C.UTF-8 wc -L)" -le 100 ]'
run "$SRC/tools/demo.sh" "$BUILD/tests"
result "without a build it fails" [ "$status" != 0 ]
# A redefine that does nothing.
mkdir fake
printf '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n' >fake/redefine
chmod +x fake/redefine
cp "$BUILD"/libredefine.so* fake/
run "$SRC/tools/demo.sh" "$PWD/fake"
result "with a redefine that redefines nothing it fails" \
    sh -c '[ "$1" != 0 ] && grep "does not say five" err' - "$status"
finish
