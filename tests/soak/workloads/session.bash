#!/bin/bash
# SPDX-License-Identifier: MIT
#
# A bit of everything that bash does. The mistakes are meant.
# shellcheck disable=all
rounds=${SMALL:+20}
rounds=${rounds:-2000}

# Arrays, expansions
declare -A map
list=(zero one "two words" three)
for i in "${!list[@]}"; do map[${list[i]}]=$i; done
echo "${#list[@]} ${list[@]:1:2} ${list[-1]} ${!map[@]}" | wc -w
text="path/to/file.tar.gz"
echo "${text##*/} ${text%.*} ${text%%.*} ${text/to/from} ${text//[aeiou]/_} ${text^^} ${text:5:2} ${#text}"
echo "${nothing:-default} ${nothing:=set} $nothing ${text:+there}" "${list[*]@Q}"
printf '%-10s|%05d|%x|%.3f|%q\n' left 42 255 3.14159 'a b"c'
echo {1..5} {a..e..2} {x,y}{1,2} $((2 ** 40 + 0x10 % 7 << 2)) $((07 + 8#17))
IFS=: read -r a b c <<<"1:2:3:4"
echo "$a $b $c"
mapfile -t lines < <(seq 1 100)
echo "${#lines[@]} ${lines[42]}"
[[ "key=value" =~ ^([a-z]+)=(.*)$ ]] && echo "${BASH_REMATCH[@]}"
[[ abc == a* && ! abc < abb ]] && echo pattern
shopt -s extglob nullglob
touch f1 f2 f10 g1
echo f+([0-9]) !(f*) nothing*
case foo.c in *.@(c|h)) echo source ;;& foo*) echo foo ;; esac

# Functions, recursion, local, traps
factorial() { local n=$1; ((n < 2)) && echo 1 || echo $((n * $(factorial $((n - 1))))); }
factorial 10
swap() { local -n x=$1 y=$2; local t=$x; x=$y; y=$t; }
p=1 q=2; swap p q; echo $p $q
on_exit() { echo "exit $?"; }
trap on_exit EXIT
trap 'echo "error on $BASH_COMMAND"' ERR
false
trap - ERR
trap 'echo caught USR1' USR1
kill -USR1 $$; :
(trap 'echo inner; exit 4' TERM; kill -TERM $BASHPID; echo not reached); echo "subshell $?"

# Here-documents, redirection, pipes, subshells
cat <<END | tr a-z A-Z | sed 's/WORLD/there/'
hello world $((6 * 7))
END
cat <<-'END'
	no $expansion
END
{ echo out; echo err >&2; } 2>&1 >/dev/null | sed 's/^/only: /'
exec 3>written; echo through three >&3; exec 3>&-; cat written
diff <(printf '1\n2\n3\n') <(printf '1\n3\n') ; echo "diff $?"
seq 1 1000 | sort -r | head -n 5 | paste -sd, ; echo "${PIPESTATUS[@]}"
set -o pipefail; false | true; echo "pipefail $?"; set +o pipefail
(cd / && x=inner; echo "$x $(pwd)"); echo "outer ${x:-unset}"
coproc cat_ { cat; }; echo to coproc >&"${cat_[1]}"; read -r answer <&"${cat_[0]}"; echo "$answer"
eval "exec ${cat_[1]}>&-"; wait
yes | head -n 3 | tr '\n' ' '; echo
# (A child that is killed before it execs runs this shell's traps.)
sleep 5 & sleep 0.3; kill $!; wait $! 2>/dev/null; echo "killed $?"
for i in 1 2 3; do (exit $i) & wait $!; echo -n "$? "; done; echo
timeout 1 sh -c 'while :; do :; done'; echo "timeout $?"

# Errors
no_such_command; echo "status $?"
/nowhere/at/all; echo "status $?"
echo x >/nowhere/file; echo "status $?"
(set -u; echo "$undefined"); echo "status $?"
(exit 300); echo "status $?"
bash -c 'kill -SEGV $$' ; echo "signal $?"
printf 'quoted %s\n' "$(printf '%s' "$(printf "deep \"%s\"" '`x`')")"

# Many small things
sum=0; words=
for ((i = 0; i < rounds; i++)); do
    ((sum += i * i % 7))
    words+=" w$((i % 13))"
    case $((i % 5)) in 0 | 3) sum=$((sum + 1)) ;; *) : ;; esac
done
echo $sum ${#words}
declare -A count
for w in $words; do ((count[$w]++)); done
for w in $(printf '%s\n' "${!count[@]}" | sort); do printf '%s=%d ' "$w" "${count[$w]}"; done; echo
printf '%s\n' b a c | while read -r l; do echo "<$l>"; done | sort
select_from() { select x in "$@"; do echo "chose $x"; break; done; }
select_from one two <<<2 2>/dev/null
echo "a b" | { read -r x y; echo "$y $x"; }
printf -v padded '%06d' 42; echo $padded
time_words=$({ TIMEFORMAT=done; time :; } 2>&1); echo "$time_words"
getopts_test() { local OPTIND o; while getopts ab:c o; do echo "$o ${OPTARG-}"; done; }
getopts_test -a -b value -c -x 2>&1 | sed 's/^.*: //'
exit 7
