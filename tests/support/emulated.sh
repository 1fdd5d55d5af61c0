#!/bin/sh
# SPDX-License-Identifier: MIT
#
# emulated.sh CPU COMMAND…: run a script of the tests where everything is for another CPU: the root is build-CPU/root, with
# Debian's shell, programs and compilers, this tree lies where it is, and qemu's emulator of one process runs whatever is
# started. A user namespace has a binfmt_misc of its own (since Linux 6.7): nothing is registered in this
# system, and no root is needed.
set -eu

# skip WHY: of one line.
skip()
{
    echo "1..0 # SKIP programs for another CPU cannot be started here: $(echo "$1" | head -n 1)"
    exit
}

if [ "$1" != --inside ]; then
    [ -x "$SRC/build-$1/root.emulator" ] || skip "there are none in build-$1/root: make $1 fetches them"
    why=$(unshare --map-root-user --mount true 2>&1) || skip "$why"
    exec unshare --map-root-user --mount /bin/sh "$0" --inside "$@"
fi
cpu=$2
shift 2
root=$SRC/build-$cpu/root
case $cpu in
    aarch64) machine='\xb7' ;;
    riscv64) machine='\xf3' ;;
esac

# Its own field of the ELF header, a program or a shared object; whatever the ABI says of itself.
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00'$machine'\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
registry=/proc/sys/fs/binfmt_misc
why=$(mount -t binfmt_misc none $registry 2>&1 &&
    printf '%s' ":redefine:M::$magic:$mask:$root.emulator:FP" 2>&1 >$registry/register) || skip "$why"

for folder in proc dev sys; do
    mount --rbind /$folder "$root/$folder"
done
mount -t tmpfs none "$root/tmp"
mkdir -p "$root$SRC"
mount --bind "$SRC" "$root$SRC"
# Everything that the emulator knows of the CPU, as tests/runner says.
[ "$cpu" != aarch64 ] || export QEMU_CPU=max
export PATH=/usr/bin:/usr/sbin CC=gcc CXX=g++ TEST_EMULATED=1
# shellcheck disable=SC2016
exec chroot "$root" /bin/sh -c 'cd "$0" && exec "$@"' "$PWD" "$@"
