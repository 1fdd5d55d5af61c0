#!/bin/sh
# SPDX-License-Identifier: MIT
#
# setup.sh SECTION…: install the Debian packages of these sections of tools/packages.txt that are missing.
#
# Asks dpkg every time (some ten milliseconds), so that a package removed since is noticed. As root, or where
# sudo asks no password, it installs; otherwise it prints the one command that does, and fails.
set -eu
cd "$(dirname "$0")/.."

if ! command -v dpkg-query >/dev/null; then
    echo "setup: no dpkg here; the Debian names of what is needed are in tools/packages.txt" >&2
    exit 0
fi

# wanted SECTION…: the packages of these sections, for this architecture, one a line.
wanted()
{
    arch=$(dpkg --print-architecture 2>/dev/null)
    while read -r section package only _; do
        case " $* " in *" $section "*) ;; *) continue ;; esac
        case ${only:-$arch} in "$arch") echo "$package" ;; esac
    done <tools/packages.txt
}

# missing PACKAGE…: those that are not completely installed, in one line.
missing()
{
    # dpkg-query fails when it does not know one of them; it lists the others nevertheless.
    # One name may be there for two architectures: installed for one of them is enough.
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || :)
    for package; do
        case "
$installed
" in *"
installed $package
"*) ;; *) printf ' %s' "$package" ;; esac
    done
}

# Not quoted: one word for each package.
# shellcheck disable=SC2046
packages=$(missing $(wanted "$@"))
[ -n "$packages" ] || exit 0

install="apt-get install -y --no-install-recommends$packages"
if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root='sudo -n'
else
    echo "setup: packages are missing, and this is not root. Please run:" >&2
    echo "    sudo $install" >&2
    exit 1
fi

echo "setup: installing$packages" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Not quoted: `install` and `as_root` are words. env: sudo drops the variable otherwise.
run()
{
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1 </dev/null
}

# The package lists are fetched only when what is there does not suffice: none, or outdated ones.
# shellcheck disable=SC2086
if ! run $install && ! { run apt-get update && run $install; }; then
    cat "$log" >&2
    echo "setup: the packages could not be installed. The command was:" >&2
    echo "    ${as_root:+sudo }$install" >&2
    exit 1
fi
