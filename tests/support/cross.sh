# SPDX-License-Identifier: MIT
# shellcheck shell=sh
#
# For tests/cross/*.sh: a part of the tests of another build, as one TAP result for each of its programs. All of
# them run by `make TARGET`.

# cross_test TARGET PATTERN
cross_test()
{
    if ! CROSS_ONLY_BUILD=1 "$SRC/tools/cross.sh" "$1" >build.log 2>&1; then
        if grep -q '^setup:\|^foreign-root:.*could not\|^sources:.*could not' build.log; then
            echo "1..0 # SKIP $(grep '^setup:\|^foreign-root:\|^sources:' build.log | tail -n 1)"
        else
            tail -n 30 build.log >&2
            printf '1..1\nnot ok 1 - the build for %s\n' "$1"
        fi
        exit 0
    fi
    CI=true "$SRC/tools/run-tests" "$SRC/build-$1" "$2" >results
    awk '
        /^(pass|FAIL) / { printf "%sok %d - %s\n", $1 == "FAIL" ? "not " : "", ++n, $2; next }
        /^skip / { sub(/^skip /, ""); split($0, part, ": "); printf "ok %d - %s # SKIP %s\n", ++n, part[1], $0; next }
        { print "# " $0 }
        END { printf "1..%d\n", n }' results
}
