#!/bin/sh
# SPDX-License-Identifier: MIT
#
# foreign-root.sh CPU DIR [emulated]: as much of Debian for another CPU as building needs (section `foreign` of
# tools/packages.txt), unpacked into DIR, and with `emulated` what the tests' scripts need as well. Nothing is
# installed, and no root is needed. In DIR.emulator: what runs its programs without a library of this system's
# (tests/support/emulated.sh).
set -eu
cpu=$1
dir=$2
what=${3:-}
cd "$(dirname "$0")/.."
. tools/private-apt.sh

debian_for "$cpu"
packages=$(awk -v what="$what" '$1 == "foreign" || (what && $1 == what) { printf "%s ", $2 }' tools/packages.txt)

# .packages is written last: where it names these packages, or these and more, nothing is to be done.
case $(cat "$dir/.packages" 2>/dev/null) in
    "$suite $packages"*) exit 0 ;;
esac

echo "foreign-root: fetching libraries${what:+ and programs} for $cpu" >&2
rm -rf "$dir"
mkdir -p "$dir"

fetched()
{
    if ! "$@" >"$state/log" 2>&1; then
        cat "$state/log" >&2
        echo "foreign-root: the packages for $cpu could not be fetched; DEBIAN_MIRROR names another mirror" >&2
        exit 1
    fi
}

private_apt_begin "$dir.apt" "$arch" "deb [arch=$arch] $mirror $suite main"
fetched private_apt update
# shellcheck disable=SC2086
fetched private_apt install -y --no-install-recommends --download-only $packages
# As an installed system has it: these lead below /usr, whatever a package thinks.
for folder in bin sbin lib; do
    mkdir -p "$dir/usr/$folder"
    ln -s "usr/$folder" "$dir/$folder"
done
for package in "$state"/cache/archives/*.deb; do
    # What is for people, and what the compilers have for link time optimization and sanitizers, would be half of it.
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$dir" --keep-directory-symlink --no-same-owner \
        --exclude=./usr/share/doc --exclude=./usr/share/man --exclude=./usr/share/info --exclude=./usr/share/locale \
        --exclude=lto1 --exclude='*lto-dump*' --exclude='lib*san.*'
done

if [ ! "$what" ]; then
    echo "$suite $packages" >"$dir/.packages"
    exit
fi

# What the packages' scripts would have made.
while read -r name target; do
    [ -e "$dir/usr/bin/$name" ] || ln -s "$target" "$dir/usr/bin/$name"
done <<END
sh dash
awk mawk
cc gcc
c++ g++
END
printf '%s\n' root:x:0:0::/root:/bin/sh nobody:x:65534:65534::/:/bin/sh >"$dir/etc/passwd"
printf '%s\n' root:x:0: tty:x:5: nogroup:x:65534: >"$dir/etc/group"
mkdir -p "$dir/dev" "$dir/proc" "$dir/sys" "$dir/tmp" "$dir/root"

host=$(dpkg --print-architecture)
private_apt_begin "$dir.apt" "$host" "deb [arch=$host] $mirror bookworm main"
fetched private_apt update
(cd "$state" && fetched private_apt download qemu-user-static)
dpkg-deb --fsys-tarfile "$state"/qemu-user-static_*.deb | tar -x -O "./usr/bin/qemu-$cpu-static" >"$dir.emulator"
chmod +x "$dir.emulator"
"$dir.emulator" "$dir/sbin/ldconfig" -r "$dir" || exit
echo "$suite $packages" >"$dir/.packages"
