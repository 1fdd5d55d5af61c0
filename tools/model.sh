#!/bin/sh
# SPDX-License-Identifier: MIT
#
# model.sh: the models of tests/model hold, and each bug that can be planted in them ("bugs:" says which) is found.
set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# errors MODEL [-DBUG]: how many the whole search of all states finds.
errors()
{
    model=$PWD/$1
    (cd "$dir" && spin -a ${2:-} "$model" >spin.out && cc -O2 -w -DSAFETY -DCOLLAPSE -o pan pan.c &&
        ./pan -m1000000 >pan.out && sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.out)
}

status=0
for model in tests/model/*.pml; do
    found=$(errors "$model")
    states=$(sed -n 's/ *\([0-9]*\) states, stored.*/\1/p' "$dir/pan.out")
    grep -q 'max search depth too small' "$dir/pan.out" && found="depth too small"
    echo "$model: $states states, errors: $found"
    [ "$found" = 0 ] || { status=1; tail -40 "$dir/pan.out"; }
    for bug in $(sed -n 's/.*bugs: //p' "$model"); do
        if [ "$(errors "$model" "-D$bug")" = 0 ]; then
            echo "$model: the planted bug $bug was not found"
            status=1
        else
            echo "$model: $bug is found"
        fi
    done
done
exit $status
