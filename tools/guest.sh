#!/bin/sh
# SPDX-License-Identifier: MIT
#
# guest.sh CPU [PATTERN]: the tests of build-CPU in a whole emulated machine: Debian's kernel for it, and Debian's
# programs that the tests need, compilers among them, in its memory from the start. There is ptrace, seccomp and a vDSO
# there, and instructions are cached as the CPU says. Scripts run there as they do here.
#
# The guest runs each program and tells over its console what they said; tools/run-tests then judges that,
# as build-CPU-guest, whose runner is `guest.sh --said`. No root is needed, nothing is installed, and the guest has
# no network and no disk.
set -eu
cd "$(dirname "$0")/.."

# --said FILE PROGRAM ARG…: what that program said in the guest, and its exit status.
if [ "$1" = --said ]; then
    for name; do :; done # a script's own name is the last word of its command, a program's the only one
    name=${name#*-guest/tests/}
    name=${name#"$PWD/tests/"}
    name=${name%.sh}
    awk -v name="$name" '
        $1 == "@begin" { is_it = $2 == name; next }
        $1 == "@end" && is_it { status = $3; seen = 1; is_it = 0 }
        is_it && /^o / { print substr($0, 3) }
        is_it && /^e / { print substr($0, 3) >"/dev/stderr" }
        END { if (!seen) print "the guest did not come to its end" >"/dev/stderr"; exit seen ? status : 125 }' "$2"
    exit
fi

cpu=$1
pattern=${2:-.}
build=$PWD/build-$cpu
guest=$build-guest
case $cpu in
    aarch64)
        kernel=linux-image-cloud-arm64 console=ttyAMA0
        # Pointers are signed by an algorithm of the emulator's own: the architecture's takes half of the time.
        machine="qemu-system-aarch64 -M virt -cpu max,pauth-impdef=on"
        ;;
    riscv64)
        kernel=linux-image-riscv64 console=ttyS0
        machine="qemu-system-riscv64 -M virt"
        ;;
    *)
        echo "guest: no machine is known for $cpu" >&2
        exit 2
        ;;
esac

tools/setup.sh "guest-$cpu"
tools/foreign-root.sh "$cpu" "$build/root" emulated
CROSS_ONLY_BUILD=1 tools/cross.sh "$cpu"
mkdir -p "$guest/tests"

# ---- the kernel, and Debian in one archive for the guest's memory ----

fetch()
{
    . tools/private-apt.sh
    debian_for "$cpu"
    private_apt_begin "$guest/apt" "$arch" "deb [arch=$arch] $mirror $suite main"
    private_apt update || return
    # The package of that name has nothing in it but the name of the newest.
    newest=$(private_apt install --print-uris --no-install-recommends "$kernel" |
        awk '$2 ~ /^linux-image-[0-9]/ { sub(/_.*/, "", $2); print $2 }')
    (cd "$state" && private_apt download "$newest") || return
    dpkg-deb --fsys-tarfile "$state/$newest"_*.deb | tar -x -O --wildcards './boot/vmlinu*' >"$guest/kernel.new" || return
    mv "$guest/kernel.new" "$guest/kernel"
}

if [ ! -f "$guest/kernel" ]; then
    echo "guest: fetching a kernel for $cpu" >&2
    if ! (fetch) >"$guest/fetch.log" 2>&1; then
        cat "$guest/fetch.log" >&2
        echo "guest: not run: the kernel for $cpu could not be fetched; DEBIAN_MIRROR names another mirror" >&2
        exit 77
    fi
fi
if [ ! "$guest/system.cpio" -nt "$build/root/.packages" ]; then
    (cd "$build/root" && find . | cpio --quiet -o -H newc -R 0:0) >"$guest/system.cpio"
fi

# ---- what runs there ----

# What asks nothing of a system is not run once more.
{
    cat "$build/tests/left-out"
    cat <<END
(golden|fuzz)/.* it asks nothing of the system: it has run in the emulator of one process
unit/(?!os_linux).* it asks nothing of the system, or compiles: it has run in the emulator of one process
END
} >"$guest/tests/left-out"
printf '%s\n' "$PWD/tools/guest.sh" --said "$guest/said" >"$guest/tests/runner"
cp "$guest/tests/runner" "$guest/tests/script-runner"
cp "$build/tests/compilers" "$guest/tests/"

root=$guest/root
rm -rf "$root"
mkdir -p "$root$build/tests"
cp "$build/redefine" "$build"/*.so* "$build/libredefine.a" "$root$build/"
cp -R LICENSE README.md tests tools examples include man completion "$root$PWD/"
tools/run-tests --list "$guest" "$pattern" | sed "s|$guest/|$build/|g" >"$root/programs"
[ -s "$root/programs" ] || { echo "guest: no test that runs there matches '$pattern'" >&2; exit 1; }
while read -r _ program _; do
    case $program in "$build"/*) ;; *) continue ;; esac
    mkdir -p "$root${program%/*}"
    cp "$program" "$root$program"
    # What it runs.
    for helper in "${program%/*}/helper_${program##*/}"*; do
        [ ! -e "$helper" ] || cp "$helper" "$root$helper"
    done
done <"$root/programs"

cat >"$root/init" <<END
#!/bin/busybox sh
export PATH=/usr/bin:/usr/sbin HOME=/root
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev
mkdir -p /dev/shm /dev/pts
busybox mount -t devpts none /dev/pts
echo 1 >/proc/sys/kernel/yama/ptrace_scope
stty -onlcr
export BUILD=$build SRC=$PWD CC=gcc CXX=g++ CMOCKA_MESSAGE_OUTPUT=TAP TEST_SLOWDOWN=8 TEST_ONE_CPU=1 ${GUEST_ENV:-}
while read -r name command; do
    mkdir -p /scratch/it && cd /scratch/it
    echo "@begin \$name"
    TMP=/scratch/it timeout -s KILL ${TEST_TIMEOUT:-1800} \$command >/scratch/out 2>/scratch/err </dev/null
    status=\$?
    cut -c -2000 /scratch/out | sed 's/^/o /'
    cut -c -2000 /scratch/err | sed 's/^/e /'
    echo "@end \$name \$status \$(cut -d ' ' -f 1 /proc/uptime)"
    cd / && rm -rf /scratch/it
done </programs
echo "@done"
busybox poweroff -f
END
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) | cat "$guest/system.cpio" - >"$guest/initrd"

# ---- the guest's life ----

rm -f "$guest/said"
# shellcheck disable=SC2086
timeout "${GUEST_TIMEOUT:-7200}" $machine -smp 2 -m 3G -nographic -no-reboot -nic none -monitor none \
    -kernel "$guest/kernel" -initrd "$guest/initrd" \
    -append "console=$console quiet panic=-1 ${GUEST_APPEND:-}" </dev/null 2>"$guest/emulator.log" |
    sed -u 's/\r$//' >"$guest/said" || :
if ! grep -q '^@done' "$guest/said"; then
    echo "guest: it did not come to its end; the last it said:" >&2
    tail -n 20 "$guest/said" "$guest/emulator.log" >&2
fi
exec tools/run-tests "$guest" "$pattern"
