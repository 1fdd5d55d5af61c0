#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Completion: bash's is sourced and asked as readline asks it; zsh's and fish's by those shells, where they are
# installed.
set -u
. "$SRC/tests/support/tap.sh"

cat >program.c <<'C'
int zparse_line(int x) { return x * 3; }
int zparse_word(int x) { return x * 5; }
int zprint_it(int x) { return x * 7; }
int main(int argc, char **argv) { (void)argv; return zparse_line(argc) + zparse_word(argc) + zprint_it(argc); }
C
"$CC" -O1 -rdynamic -fno-inline -o program program.c
cat >names.cc <<'C'
namespace shapes { int area(int x) { return x * 3; } int edge(int x) { return x + 1; } }
int main(int argc, char **) { return shapes::area(argc) + shapes::edge(argc); }
C
touch a_patch.so a_text.txt
PATH=$BUILD:$PATH
export PATH

cat >ask.bash <<'B'
source "$SRC/completion/redefine.bash"
line=$1
COMP_LINE=$line COMP_POINT=${#line} COMP_TYPE=9 COMP_KEY=9
read -ra COMP_WORDS <<<"$line"
[[ $line == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_redefine
printf '%s\n' "${COMPREPLY[@]}"
B

# completes NAME LINE ANSWERS: those, in any order; "…" at the end: and others.
completes()
{
    bash ask.bash "$2" 2>err | sort >out
    printf '%s\n' $3 | sort >wanted
    result "bash: $1" sh -c 'diff wanted out && [ ! -s err ] || { cat err; false; }'
}

completes "verbs" "redefine " "run attach status restore check list show --help --version"
completes "the beginning of a verb" "redefine sh" "show"
completes "options of list" "redefine list --" "--all --names --json"
completes "options of show" "redefine show --" "--json"
completes "options of check" "redefine check --" "--patch --clones --json"
completes "options of attach" "redefine attach --" "--patch --replace --force --clones --verbose"
completes "options of status" "redefine status --" "--json"
completes "options of restore" "redefine restore 1 --" "--force --verbose"
completes "a process" "redefine status $$" "$$"
completes "options of run" "redefine run --" "--patch --replace --count --json --output --follow --force --clones --verbose"

# Every option that a verb's usage names is completed by every shell, and described by its manual page.
for verb in run attach status restore check list show; do
    page=$SRC/man/redefine-$verb.1
    [ -f "$page" ] || page=$SRC/man/redefine.1
    for option in $("$BUILD/redefine" --help | sed -e '/--help/,$d' | tr '\n' ' ' | tr -s ' ' |
        grep -oE "redefine $verb ([^r]|r[^e]|re[^d])*" | grep -oE -e '--[a-z]+' | sort -u); do
        result "$verb $option is completed and described" sh -c '
            grep -qE "^ *$1\) .*$2[ \"]" "$SRC/completion/redefine.bash" &&
                sed -n "/^    $1)/,/;;/p" "$SRC/completion/_redefine" | grep -q -e "$2\[" &&
                grep -qE "from ([a-z\$]+ )*($1|.verbs)[ \"].* -l ${2#--} " "$SRC/completion/redefine.fish" &&
                grep -qE "^(\.B |.fB).-.-${2#--}" "$3"' - "$verb" "$option" "$page"
    done
done
if command -v mandoc >/dev/null; then
    result "the manual pages: mandoc finds nothing wrong" sh -c '! mandoc -T lint -W warning "$SRC"/man/*.1 | grep .'
else
    skip "the manual pages" "mandoc is not installed"
fi
if command -v man >/dev/null && command -v groff >/dev/null; then
    for page in "$SRC"/man/*.1; do
        result "man --warnings ${page##*/}" sh -c '! LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$1" 2>&1 >/dev/null | grep .' - "$page"
    done
else
    skip "man --warnings" "man or groff is not installed"
fi
completes "functions" "redefine show ./program zparse_" "zparse_line zparse_word"
completes "functions, behind an option" "redefine show --json ./program zpri" "zprint_it"
completes "functions of check, the second one" "redefine check ./program zparse_line zparse_w" "zparse_word"
completes "no function begins so" "redefine show ./program nothing_" ""
completes "a pattern is left alone" "redefine list ./program zparse*" ""
if (cd "$SRC/tests/fixtures/go" && GOFLAGS='' GOPROXY=off GOTOOLCHAIN=local GO111MODULE=off HOME="${HOME:-$OLDPWD}" \
    go build -ldflags='-s -w' -o "$OLDPWD/go_program" main.go) 2>why; then
    completes "functions of Go" "redefine show ./go_program main.ca" "main.call main.caller"
    completes "methods of Go, for the shell to read" "redefine show ./go_program main.\\(\\*count" \
        "main.\\(\\*counter\\).Inc main.\\(\\*counter\\).Inc-fm"
else
    skip "functions of Go" "no Go program can be built: $(head -1 why)"
fi
completes "patch files" "redefine run --patch a_" "a_patch.so"
completes "a program" "redefine show ./prog" "./program ./program.c"
completes "a program that is not there" "redefine show ./nothing par" ""
result "bash: functions of libraries" sh -c '
    bash ask.bash "redefine show ./program mallo" >out; grep -qx malloc out || { cat out; false; }'

if command -v zsh >/dev/null; then
    result "zsh: it can be read" zsh -n "$SRC/completion/_redefine"
else
    skip "zsh" "zsh is not installed"
fi
if command -v fish >/dev/null; then
    fish_answers()
    {
        fish --no-config -c "source $SRC/completion/redefine.fish; complete -C '$1'" | grep -q "^$2"
    }
    result "fish: a verb" fish_answers "redefine sh" show
    result "fish: functions" fish_answers "redefine show ./program zparse_" zparse_word
    result "fish: functions of check" fish_answers "redefine check --json ./program zpri" zprint_it
else
    skip "fish" "fish is not installed"
fi

# The names are asked for at every press of a key.
begun=$(date +%s%N)
"$redefine" list --names --all "$(command -v gdb || command -v python3 || echo ./program)" 'mem*' >out
ended=$(date +%s%N)
result "names come quickly: $(((ended - begun) / 1000000)) ms" test $(((ended - begun) / 1000000)) -lt 2000
rm -rf installed
if command -v cmake >/dev/null; then
    DESTDIR=$PWD/installed cmake --install "$BUILD" --prefix /usr >why 2>&1
    for file in bash-completion/completions/redefine zsh/site-functions/_redefine \
        fish/vendor_completions.d/redefine.fish; do
        result "installed: $file" test -s "installed/usr/share/$file"
    done
    for page in attach check list show; do
        result "installed: redefine-$page(1)" sh -c 'test -s installed/usr/share/man/man1/redefine-$0.1' "$page"
    done
fi
finish
