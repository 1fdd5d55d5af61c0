#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The reader of Mach-O images needs nothing of macOS: it is compiled for this system, with sanitizers, and reads
# libraries that zig has linked for each CPU. tests/cross/helper_macho.c says what is asked of it.
if ! why=$("$SRC/tools/zig.sh" --have); then
    echo "1..0 # SKIP $why"
    exit 0
fi

cat >a.c <<'END'
int b_other(int);
__attribute__((noinline)) static int a_local(int x) { __asm__ volatile(""); return x * 3 + 1; }
int a_first(int x) { return b_other(x) + a_local(x); }
int a_second(int x) { return a_local(x) * b_other(x + 1); }
END
echo 'int b_other(int x) { return x + 7; }' >b.c

src=$SRC/src
rooms=$(ls "$src"/arch/*/*.c | grep -v '/native\.c$')
# shellcheck disable=SC2086
"$CC" -std=gnu11 -D_GNU_SOURCE -g -fsanitize=address,undefined -I"$src" -I"$SRC/include" -o macho \
    "$SRC/tests/cross/helper_macho.c" "$src"/image/macho/*.c "$src"/image/*.c "$src"/base/arena.c \
    "$src"/base/error.c "$src"/base/order.c "$src"/base/span.c "$src"/os/maps.c $rooms -lZydis >&2 || exit 1

status=0
for cpu in aarch64 x86_64; do
    mkdir -p $cpu && "$SRC/tools/zig.sh" $cpu-macos $cpu/tools || exit 1
    $cpu/tools/cc -O1 -g0 -dynamiclib -o $cpu/libb.dylib b.c >&2 &&
        $cpu/tools/cc -O1 -g0 -dynamiclib -o $cpu/liba.dylib a.c $cpu/libb.dylib >&2 || exit 1
    ./macho $cpu $cpu/liba.dylib $cpu/libb.dylib || status=1
done
exit $status
