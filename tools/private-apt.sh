# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# To be sourced: an apt with a state of its own below "$state", in which nothing is installed. It fetches, for any
# architecture, and this system does not change. Needs no root.

# The mirror that this system already uses.
# shellcheck disable=SC2016
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' \
    'Origin: Debian' 2>/dev/null | sed -n '/-security$/d; /-updates$/d; s/ .*//; p; q')}
[ -n "$mirror" ] || {
    echo "apt knows no mirror of Debian (run apt-get update), and DEBIAN_MIRROR names none" >&2
    exit 1
}

# debian_for CPU: sets $arch, what Debian calls it, and $suite, the release whose packages for it are used. riscv64
# became an architecture of Debian in its 13th release, trixie: what is older has no such packages.
debian_for()
{
    case $1 in
        aarch64) arch=arm64 suite=bookworm ;;
        riscv64) arch=riscv64 suite=trixie ;;
        *)
            echo "${0##*/}: no Debian architecture is known for $1" >&2
            exit 2
            ;;
    esac
}

# private_apt_begin FOLDER ARCHITECTURE LINE: what LINE of a sources.list names is looked up.
private_apt_begin()
{
    state=$1
    rm -rf "$state"
    apt_arch=$2
    mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
    state=$(cd "$state" && pwd)
    trap 'rm -rf "$state"' EXIT
    : >"$state/status"
    echo "$3" >"$state/sources.list"
}

private_apt()
{
    apt-get -qq -o APT::Architecture="$apt_arch" -o APT::Architectures="$apt_arch" -o Dir::State="$state" \
        -o Dir::State::lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache" \
        -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts=- \
        -o APT::Sandbox::User= -o Debug::NoLocking=1 "$@"
}
