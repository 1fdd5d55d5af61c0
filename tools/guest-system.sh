#!/bin/sh
# SPDX-License-Identifier: MIT
#
# guest-system.sh CPU DIR: what an emulated machine of tools/guest.sh starts with, from Debian for that CPU: DIR/kernel, and
# DIR/system.cpio with the libraries and programs that the tests use (sections `foreign` and `guest` of
# tools/packages.txt), compilers among them.
# Nothing is installed, and no root is needed.
set -eu
cpu=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
. tools/private-apt.sh

debian_for "$cpu"
case $cpu in
    aarch64) kernel=linux-image-cloud-arm64 ;;
    *) kernel=linux-image-$arch ;;
esac
packages="$(wanted_packages foreign)$(wanted_packages guest)"

# Complete, and for what is asked for now? Then nothing is to be done.
[ "$(cat "$dir/.packages" 2>/dev/null)" != "$suite $kernel $packages" ] || exit 0

echo "guest-system: fetching a kernel and programs for $cpu" >&2
root=$dir/root
rm -rf "$root" "$dir/.packages"
private_apt_begin "$dir/apt" "$arch" "deb [arch=$arch] $mirror $suite main"

fetch()
{
    private_apt update || return
    # The package of that name has nothing in it but the name of the newest.
    newest=$(private_apt install --print-uris --no-install-recommends "$kernel" |
        awk '$2 ~ /^linux-image-[0-9]/ { sub(/_.*/, "", $2); print $2 }')
    (cd "$state" && private_apt download "$newest") || return
    # shellcheck disable=SC2086
    private_apt install -y --no-install-recommends --download-only $packages
}

if ! fetch >"$state/log" 2>&1; then
    cat "$state/log" >&2
    echo "guest-system: the packages for $cpu could not be fetched; DEBIAN_MIRROR names another mirror" >&2
    exit 1
fi
dpkg-deb --fsys-tarfile "$state"/linux-image-*.deb | tar -x -O --wildcards './boot/vmlinu*' >"$dir/kernel"

# As an installed system has it: these lead below /usr, whatever a package thinks.
for folder in bin sbin lib; do
    mkdir -p "$root/usr/$folder"
    ln -s "usr/$folder" "$root/$folder"
done
for package in "$state"/cache/archives/*.deb; do
    # What is for people, and what the compilers have for link time optimization and sanitizers, is a half of it.
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink --no-same-owner --exclude=./usr/share/doc \
        --exclude=./usr/share/man --exclude=./usr/share/info --exclude=./usr/share/locale \
        --exclude=lto1 --exclude='*lto-dump*' --exclude='lib*san.*'
done
# What the packages' scripts would have made.
link()
{
    [ -e "$root/usr/bin/$1" ] || ln -s "$2" "$root/usr/bin/$1"
}
link sh dash
link awk mawk
link cc gcc
link c++ g++
printf '%s\n' root:x:0:0::/root:/bin/sh nobody:x:65534:65534::/:/bin/sh >"$root/etc/passwd"
printf '%s\n' root:x:0: tty:x:5: nogroup:x:65534: >"$root/etc/group"
mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/root" "$root/scratch"
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0) >"$dir/system.cpio"
rm -rf "$root"
echo "$suite $kernel $packages" >"$dir/.packages"
