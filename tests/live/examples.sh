#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Every example is built as its first lines say, against an installed library, and runs.
set -u
. "$SRC/tests/support/tap.sh"
needs_plain_agent

prefix="$TMP/prefix"
result "install" cmake --install "$BUILD" --prefix "$prefix"
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig"
export LD_LIBRARY_PATH="$prefix/lib"
export TZ=UTC
export PATH="$prefix/bin:$PATH"

# build FILE.c: runs the command in its head, "     *     cc … FILE.c …", in a folder where it lies.
mkdir examples
cp "$SRC"/examples/*.c examples/
build()
{
    command=$(sed -n 's/^ \*     \(cc .*\)/\1/p' "examples/$1" | head -n 1)
    [ -n "$command" ] || { echo "its head tells no command that begins with cc"; return 1; }
    (cd examples && eval "$CC -Wall -Wextra -Werror -O2 ${command#cc}")
}

for file in examples/*.c; do
    name=$(basename "$file" .c)
    result "$name: builds as its head says, without a warning" build "$name.c" || continue
    case $name in
    cmocka_time) run env CMOCKA_MESSAGE_OUTPUT=STDOUT "examples/$name" ;;
    *)
        if [ -x "examples/$name" ]; then
            run "examples/$name"
        elif [ -e "examples/$name.so" ]; then
            run redefine run --patch "examples/$name.so" -- true
        else
            result "$name: leaves a program or a patch of its name" false
            continue
        fi
        ;;
    esac
    result "$name: runs" sh -c '[ "$1" = 0 ] || { cat out err; false; }' - "$status"
    case $name in
    five_pm)
        # The other line of its head.
        command=$(sed -n 's/^ \*     \(redefine run .*\)/\1/p' "$file")
        (cd examples && eval "$command") >out
        result "$name: $command" grep -q ' 17:00:00 ' out
        ;;
    in_process) result "$name: five, and the same bytes" grep -q 'same as before' out ;;
    cmocka_time) result "$name: five tests pass" grep -q '  PASSED  \] 5 test' out err ;;
    failing_malloc) result "$name: twelve allocations failed" grep -q '^12 allocations' out ;;
    esac
done
finish
