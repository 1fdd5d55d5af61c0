#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine run --count: the numbers, the forms of the report, how it ends, what it refuses.
set -u
. "$SRC/tests/support/tap.sh"
needs_plain_agent

# counted OPTION… PROGRAM ARG…: into ./calls
counted()
{
    rm -f calls
    run "$redefine" run --output calls "$@"
}

# calls_of NAME: as the table in ./calls has it; nothing: never called
calls_of()
{
    awk -v name="$1" '$3 == name { print $1 }' "${2:-calls}"
}

# calls_are NAME COUNT…
calls_are()
{
    while [ $# -gt 0 ]; do
        [ "$(calls_of "$1")" = "$2" ] || { echo "$1: '$(calls_of "$1")', not '$2'"; cat err calls; return 1; }
        shift 2
    done
}

cat >known.c <<'C'
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noipa)) int leaf(int x)
{
    return x + 1;
}
__attribute__((noipa)) int twice(int x)
{
    return leaf(leaf(x));
}
__attribute__((noipa)) static int recursive(int x)
{
    return x == 0 ? 0 : 1 + recursive(x - 1);
}
__attribute__((noipa)) int never(void)
{
    return 1;
}
static int work(void)
{
    int sum = 0;
    for (int i = 0; i < 1000; i++)
        sum += twice(i);
    return sum + recursive(50);
}
int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    printf("%d\n", work());
    fflush(stdout);
    if (strcmp(how, "fork") == 0)
        for (int i = 0; i < 3; i++) {
            if (fork() == 0)
                _exit(leaf(0));
            wait(NULL);
        }
    else if (strcmp(how, "_exit") == 0)
        _exit(3);
    else if (strcmp(how, "exec") == 0)
        execl(argv[0], argv[0], "again", NULL);
    else if (strcmp(how, "child") == 0)
        return system(argv[2]) == 0 ? 0 : 1;
    else if (*how >= '0' && *how <= '9')
        raise(atoi(how));
    return argc > 100 ? never() : 42;
}
C
"$CC" -O1 -o known known.c

cat >more.c <<'C'
#include <redefine/patch.h>
static int more(int x)
{
    return REDEFINE_ORIGINAL(more)(x) + 1;
}
REDEFINE_PATCH("leaf", more);
C
patch more.so more.c

# ---- The numbers ----

counted --count 'known!*' -- ./known
result "exact numbers for a program of one thread" calls_are leaf 2000 twice 1000 recursive 51 main 1 never ''
expect_42() { [ "$status" = 42 ] && [ "$(cat out)" = 501550 ] && [ ! -s err ] || tell "42 was expected"; }
result "its output and exit status" expect_42
for how in _exit:3 9:137 11:139 15:143 6:134; do
    rm -f calls
    sh -c '"$@"' - "$redefine" run --output calls --count 'known!*' -- ./known "${how%:*}" >out 2>err
    status=$?
    result "${how%:*} loses nothing and is passed on" \
        sh -c '[ "$1" = "$2" ] && [ "$(awk "\$3 == \"leaf\" { print \$1 }" calls)" = 2000 ]' - "$status" "${how#*:}"
done
counted --count leaf --count '*!twice' -- ./known fork
result "children that are forked are counted with it" calls_are leaf 2003 twice 1000
counted --count leaf -- ./known exec
result "the same process after exec" calls_are leaf 4000
counted --count leaf -- ./known child ./known
result "not what it starts" calls_are leaf 2000
counted --follow --count leaf -- ./known child './known; ./known & ./known; wait; true'
result "what it starts, with --follow" calls_are leaf 8000

# ---- Patterns ----

for form in 'leaf:leaf' 'le*f:leaf' 'l??f:leaf' '*eaf*:leaf' 'known!leaf:leaf' 'kno*!l*f:leaf' "*/known!leaf:leaf"; do
    counted --count "${form%%:*}" -- ./known
    result "--count '${form%%:*}'" calls_are "${form##*:}" 2000 twice ''
done
counted --count nothing_like_it -- ./known
result "a pattern that fits nothing is told" \
    grep -q '^redefine: 0 functions counted.*no function that has a name matches' calls
for form in '' '!' '!x' 'x!'; do
    run "$redefine" run --count "$form" -- touch marker
    refused "--count '$form'" 125 "takes a pattern"
done

# ---- The report ----

run "$redefine" run --count 'known!*' -- ./known
result "to standard error without --output" sh -c '[ "$(cat out)" = 501550 ] && head -n 2 err | tail -n 1 |
    grep -qE "^ 2000  known +leaf$"'
result "sorted by calls, then by name" sh -c 'sed -n "2,\$p" err | grep -v ^redefine: >rows; sort -k1,1nr -k3,3 -s rows |
    LC_ALL=C diff rows -'
result "never called: counted, and left out" sh -c '! grep -q never err && grep -qE "^redefine: [0-9]+ functions counted, " err'
counted --json --count 'known!*' -- ./known
result "--json" sh -c 'python3 -m json.tool <calls >/dev/null && grep -q "\"schema\": 1" calls && tr -d "\n" <calls |
    grep -qE "\"name\": \"leaf\", *\"object\": \"[^\"]*/known\", *\"calls\": 2000"' || cat calls
if command -v script >/dev/null; then
    script -qec "stty cols 60; '$redefine' run --count 'known!*' -- ./known" /dev/null >out 2>err
    result "on a terminal: bars, within its width" sh -c 'tr -d "\r" <out >plain; grep -qE "^ 2000  #{9,}  known +leaf$" plain &&
        ! grep -v ^redefine plain | grep -qE "^.{61}"' || cat out
else
    skip "on a terminal: bars" "script(1) is not installed"
fi
run "$redefine" run --count leaf --output /nowhere/calls -- touch marker
refused "--output where no file can be" 125 "/nowhere/calls: No such file"
run "$redefine" run --output calls -- touch marker
refused "--output without --count" 125 "--output|nothing would be redefined"
run "$redefine" run --count leaf --output /dev/full -- ./known
result "a report that cannot be written" sh -c '[ "$1" = 125 ] && grep -q "cannot be written" err' - "$status"

# ---- How it ends ----

run "$redefine" run --count '*' -- ./nothing
refused "127" 127 "no such program"
: >plain
run "$redefine" run --count '*' -- ./plain
refused "126" 126 "permission"
printf '\177ELF and then nothing' >half
chmod +x half
run "$redefine" run --output calls --count '*' -- ./half
result "what exec refuses is a script, as without --count" [ "$status" = 127 ]
(ulimit -v 100000; "$redefine" run --count leaf -- ./known >out 2>err; echo $? >code)
result "125: no room for the counters" sh -c '[ "$(cat code)" = 125 ] && grep -q "memory of the counters\|cannot be made" err &&
    [ ! -s out ]' || cat code err
run perl -e 'system { $ARGV[0] } @ARGV; printf "%d\n", $? & 127' \
    "$redefine" run --output calls --count '*' -- sh -c 'kill -SEGV $$'
expect "death by a signal is the command's own" 0 11
run timeout -s TERM 5 "$redefine" run --output calls --count '*' -- \
    sh -c 'trap "echo term; exit 9" TERM; kill -TERM $PPID; while :; do sleep 0.05; done'
expect "SIGTERM is passed on" 9 term
run timeout -s TERM 5 "$redefine" run --output calls --count '*' -- \
    sh -c 'trap "echo int; exit 9" INT; kill -INT $PPID; while :; do sleep 0.05; done'
expect "so is an interrupt that is meant for it alone" 9 int
run sh -c '"$@" & sleep 1; kill -KILL $!; sleep 0.5; grep -qs "^State:.[^Z]" "/proc/$(cat alive)/status" ||
    echo gone' - \
    "$redefine" run --output calls --count leaf -- sh -c 'echo $$ >alive; exec sleep 20'
result "the command is killed: so is the program" grep -q gone out
run sh -c '(exec "$@") | head -n 1' - "$redefine" run --output calls --count leaf -- \
    sh -c 'echo first; exec >&-; sleep 1; echo done >after'
result "whoever waits for the end of its output does not wait for the command" sh -c '[ "$(cat out)" = first ]'
run sh -c 'trap "" CHLD; exec "$@"' - "$redefine" run --output calls --count leaf -- ./known
result "with SIGCHLD ignored" expect_42
"$redefine" run --output calls --count '*' -- sh -c 'echo $$ >stopped; kill -STOP $$; echo on' >out 2>err &
command=$!
tries=0
until grep -qs '^State:.T' "/proc/$(cat stopped 2>/dev/null)/status" || [ $tries -gt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
kill -CONT "$(cat stopped)"
wait $command
result "a program that was stopped and goes on" [ "$(cat out)" = on ]

# ---- With everything counted ----

cat >all.cc <<'C'
#include <csetjmp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <spawn.h>
#include <stdexcept>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>
extern char **environ;
static volatile sig_atomic_t caught;
static sigjmp_buf place;
static void handler(int number)
{
    caught = caught + 1;
    if (number == SIGSEGV)
        siglongjmp(place, 1);
}
namespace shapes {
struct Box {
    int side;
    __attribute__((noipa)) int area() const
    {
        if (side > 90)
            throw std::runtime_error("too big: " + std::to_string(side));
        return side * side;
    }
};
}
static int throwing()
{
    int sum = 0;
    for (int i = 0; i < 100; i++)
        try {
            sum += shapes::Box{i}.area();
        } catch (const std::exception &e) {
            sum += (int)strlen(e.what());
        }
    return sum;
}
static int child(int how)
{
    int status = 0;
    pid_t pid = 0;
    char *argv[] = {(char *)"true", nullptr};
    if (how == 0) {
        posix_spawnp(&pid, "true", nullptr, nullptr, argv, environ);
    } else {
        pid = how == 1 ? fork() : vfork();
        if (pid == 0) {
            execvp("true", argv);
            _exit(99);
        }
    }
    waitpid(pid, &status, 0);
    return status;
}
int main()
{
    long sums[4] = {};
    std::vector<std::thread> threads;
    for (long &sum : sums)
        threads.emplace_back([&sum] {
            for (int i = 0; i < 200; i++) {
                std::string text(size_t(i), 'x');
                sum += (long)text.size() + throwing() % 7;
            }
        });
    for (auto &thread : threads)
        thread.join();
    std::printf("threads %ld %ld\n", sums[0], sums[3]);
    struct sigaction action = {};
    action.sa_handler = handler;
    action.sa_flags = SA_NODEFER;
    sigaction(SIGUSR1, &action, nullptr);
    sigaction(SIGSEGV, &action, nullptr);
    for (int i = 0; i < 10; i++)
        raise(SIGUSR1);
    if (sigsetjmp(place, 1) == 0)
        *(volatile int *)8 = 1;
    std::printf("exceptions %d signals %d\n", throwing(), (int)caught);
    jmp_buf again;
    volatile int jumps = 0;
    setjmp(again);
    if (jumps < 5) {
        jumps = jumps + 1;
        longjmp(again, 1);
    }
    std::printf("children %d %d %d jumps %d\n", child(0), child(1), child(2), (int)jumps);
    void *library = dlopen("libm.so.6", RTLD_NOW);
    auto cosine = (double (*)(double))dlsym(library, "cos");
    std::printf("cos %.3f\n", cosine(0));
    try {
        throw std::string("thrown");
    } catch (std::string &text) {
        std::printf("%s\n", text.c_str());
    }
    std::fflush(stdout);
    std::thread([] { std::exit(6); }).join();
}
C
cat >alias.c <<'C'
__attribute__((noipa)) int first(int x)
{
    return x + 1;
}
extern __typeof__(first) second __attribute__((alias("first"))), _third __attribute__((alias("first")));
int main(void)
{
    return first(1) + second(2) + _third(-6);
}
C
"$CC" -O1 -o alias alias.c
for name in first second _third 'sec*' '_th??d'; do
    counted --count "$name" ./alias
    result "a function by any of its names: $name" awk '$1 == 3 && $2 == "alias" { n++ } END { exit n != 1 }' calls
done
counted --count nothing --count 'alias!sec*' ./alias
result "and with other patterns" calls_are second 3
counted --count 'alias!*' ./alias
result "once, whatever it is called" awk '$1 == 3 { n++ } END { exit n != 1 }' calls

if command -v c++ >/dev/null; then
    c++ -O1 -pthread -o all all.cc -ldl
    counted --count 'shapes::*' ./all
    result "C++ names are matched as people write them" grep -qE '^ *[0-9]+  all +shapes::Box::area\(\) const$' calls
    result "and only those that match" sh -c '! grep -qE "^ *[0-9]+ " calls || ! grep -E "^ *[0-9]+ " calls | grep -v shapes::'
    counted --count 'all!*::area() const' --count nothing ./all
    result "with other patterns, too" grep -qE '^ *[0-9]+  all +shapes::Box::area\(\) const$' calls
    ./all >expected
    counted --count '*' -- ./all
    result "exceptions, threads, signals, setjmp, fork, vfork, posix_spawn, dlopen" \
        sh -c '[ "$1" = 6 ] && diff expected out && [ ! -s err ]' - "$status"
    result "C++ names are told as people write them" grep -qE '^ *[0-9]+  all +shapes::Box::area\(\) const$' calls
    counted --follow --json --count '*' -- ./all
    result "the same with --follow" sh -c '[ "$1" = 6 ] && diff expected out && [ ! -s err ]' - "$status"
fi

# ---- Patches stack upon it ----

counted --count 'known!*' --patch more.so -- ./known
result "a patch on a counted function" sh -c '[ "$(cat out)" = 503550 ] || { cat out err; false; }'
result "what the patch passes on is counted" calls_are leaf 2000 twice 1000
finish
