# SPDX-License-Identifier: MIT
#
# What the command said of functions: sourced by tests of it, after tap.sh.
# shellcheck shell=sh
export XDG_CACHE_HOME="$PWD/cache" # where it keeps indexes

check()
{
    run "$redefine" check "$@"
}

# says REGEX…: each is in a line of the output; "!REGEX" is in none.
says()
{
    for regex; do
        case $regex in
        !*)
            if grep -qE -e "${regex#!}" out; then
                tell "a line says ${regex#!}"
                return 1
            fi
            ;;
        *) grep -qE -e "$regex" out || { tell "no line says $regex"; return; } ;;
        esac
    done
}

# is_said STATUS REGEX…: the same, and how it ended.
is_said()
{
    [ "$status" = "$1" ] || { tell "exit status $1 was expected"; return; }
    shift
    says "$@"
}

# is_verdict STATUS VERDICT REGEX…: the same of one function.
is_verdict()
{
    sed 1q out | grep -q ": $2\$" || { tell "the verdict is not $2"; return; }
    verdict_status=$1
    shift 2
    is_said "$verdict_status" "$@"
}
