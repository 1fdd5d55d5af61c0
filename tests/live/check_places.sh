#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine check: debug data that does not lie in the object as it is: packed, put aside by the distribution, or to be
# had from a server.
set -u
. "$SRC/tests/support/tap.sh"
export XDG_CACHE_HOME="$PWD/cache"
unset DEBUGINFOD_URLS

cat >inlined.c <<'C'
static inline __attribute__((always_inline)) int parse(int x) { __asm__("" : "+r"(x)); return x * 3 + 1; }
__attribute__((noinline)) int outer(int x)
{
    return parse(x) * 5;
}
int (*pointer)(int) = parse;
int main(int argc, char **argv) { (void)argv; return outer(argc) + pointer(argc); }
C
"$CC" -O2 -g -o plain inlined.c

says()
{
    run "$redefine" check "$1" "$2"
    [ "$status" = "$3" ] && [ ! -s err ] && grep -qE -e "$4" out || tell "status $3 and a line that says $4 were expected"
}
site='warning: inlined: .*inlined.c:4: inlined into outer'
result "debug data as it is" says ./plain parse 1 "$site"

# ---- zstd ----

packs=$(objcopy --compress-debug-sections=zstd plain packed 2>&1) && readelf -SW packed | grep -q '\.debug_info.* C ' ||
    packs="no objcopy that can pack with zstd: $packs"
if [ -n "$packs" ]; then
    skip "packed with zstd" "$packs"
elif ldconfig -p 2>/dev/null | grep -q 'libzstd\.so\.1'; then
    result "packed with zstd" says ./packed parse 1 "$site"
    off=$(readelf -SW packed | sed 's/^ *\[ *[0-9]*\] *//' | awk '$1 == ".debug_info" { print $4 }')
    cp packed damaged
    printf '\377\377\377\377' | dd of=damaged bs=1 seek=$((0x$off + 40)) conv=notrunc status=none
    result "… damaged" says ./damaged parse 2 'compressed debug data is damaged'
    cp packed damaged
    printf '\377\377\377\377\377\377\377\177' | dd of=damaged bs=1 seek=$((0x$off + 8)) conv=notrunc status=none
    result "… that claims to be endless" says ./damaged parse 2 'compressed bytes of debug data claim to be'
    cp packed damaged
    printf '\007' | dd of=damaged bs=1 seek=$((0x$off)) conv=notrunc status=none
    result "… by a method that nobody knows" says ./damaged parse 2 'compressed by method 7, which is not read here'
else
    result "packed with zstd" says ./packed parse 2 'compressed by method 2 \(zstd\)'
fi
objcopy --compress-debug-sections=zlib plain packed
result "packed with zlib" says ./packed parse 1 "$site"
off=$(readelf -SW packed | sed 's/^ *\[ *[0-9]*\] *//' | awk '$1 == ".debug_info" { print $4 " " $5 }')
set -- $off
printf '\0\0\0\0' | dd of=packed bs=1 seek=$((0x$1 + 0x$2 - 4)) conv=notrunc status=none
result "… with a sum that is wrong" says ./packed parse 2 'compressed debug data is damaged'

# ---- A server ----

cp plain bare && strip -g bare
id=$(readelf -n bare | sed -n 's/.*Build ID: //p')
aside=/usr/lib/debug/.build-id/$(echo "$id" | cut -c1-2)/$(echo "$id" | cut -c3-).debug
run "$redefine" check ./bare parse
result "no servers: nothing is said of them" sh -c '! grep -q debuginfod out'
export DEBUGINFOD_URLS=http://localhost:1/
result "servers: the command that fetches" says ./bare parse 2 "debuginfod-find debuginfo $id"
if [ -w /usr/lib/debug/.build-id ] || [ "$(id -u)" = 0 ]; then
    mkdir -p bin
    printf '#!/bin/sh\n[ "$1" = debuginfo ] && [ "$2" = %s ] && echo "%s/plain"\n' "$id" "$PWD" >bin/debuginfod-find
    chmod +x bin/debuginfod-find
    command=$(sed -n 's/.*DEBUGINFOD_URLS: \(install .*\.debug\).*/\1/p' out)
    PATH=$PWD/bin:$PATH sh -c "$command"
    result "… works" says ./bare parse 1 "$site"
    rm -f "$aside"
    rmdir "$(dirname "$aside")" 2>/dev/null
else
    skip "… works" "/usr/lib/debug cannot be written here"
fi
unset DEBUGINFOD_URLS

# ---- What distributions put aside ----

# installed NAME OBJECT FUNCTION STATUS PACKAGE SENTENCE
installed()
{
    id=$(readelf -n "$2" 2>/dev/null | sed -n 's/.*Build ID: //p')
    file=/usr/lib/debug/.build-id/$(echo "$id" | cut -c1-2)/$(echo "$id" | cut -c3-).debug
    if [ -n "$id" ] && [ -e "$file" ]; then
        result "$1" says "$2" "$3" "$4" "$6"
        # Part of it in a file that several share.
        if readelf -SW "$file" 2>/dev/null | grep -q gnu_debugaltlink; then
            result "$1, part of it in a file that dwz shares" says "$2" "$3" "$4" "$6"
        else
            skip "$1, part of it in a file that dwz shares" "that package shares none"
        fi
    else
        skip "$1" "its debug data is not installed: apt-get install $5"
    fi
}
libc=$(ldd /bin/true | awk '/libc\.so/ { print $3 }')
installed "the C library: a function that is inlined in it" "$libc" __ctype_b_loc 1 libc6-dbg 'inlined: .*[a-z]\.[ch]:[0-9]+: inlined into'
installed "python3: a function that is inlined in it" /usr/bin/python3 PyObject_GetIter 1 python3-dbg 'inlined: .*\.c:[0-9]+: inlined into'
finish
