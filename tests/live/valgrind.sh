#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The library under valgrind without any option: right results, and no error in the program or in the library.
# And the command, before and after it on the command line.
set -u
number=0
failures=0

if ! command -v valgrind >/dev/null; then
    echo "1..0 # SKIP valgrind is not installed"
    exit 0
fi
if nm -D "$BUILD/libredefine.so" | grep -q __asan_init; then
    echo "1..0 # SKIP the sanitizers and valgrind exclude each other"
    exit 0
fi

# result NAME COMMAND…: ok when the command succeeds; else its output is shown.
result()
{
    name=$1
    shift
    number=$((number + 1))
    if "$@" >output.txt 2>&1; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        failures=1
        sed 's/^/# /' output.txt | tail -60
    fi
}

# Every process of a test program has a log of its own; none of them has an error.
clean()
{
    rm -f log.*
    valgrind --error-exitcode=9 --log-file=log.%p "$@"
    code=$?
    grep -l 'ERROR SUMMARY: [1-9]' log.* && grep -h -A12 -e 'at 0x' log.* | head -60
    [ $code -eq 0 ] && ! grep -q 'ERROR SUMMARY: [1-9]' log.*
}

for program in library library_targets library_cxx unwinding; do
    result "$program: right and without errors" clean "$BUILD/tests/live/$program"
done

# Other threads cannot be stopped there: a sentence, not a crash and not a silent nothing.
cat >threads.c <<'EOF'
#include <redefine/redefine.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>
__attribute__((noipa)) int target(int value) { return value + 1; }
static int replacement(int value) { return redefine_original(target)(value) + 100; }
static void *sleeps(void *ctx) { pause(); return ctx; }
int main(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, sleeps, NULL) != 0)
        return 2;
    redefine_status status = redefine(target, replacement);
    printf("%d %s\n", status, redefine_explain());
    if (status == REDEFINE_OK)
        return target(1) != 102;
    return target(1) != 2 || !strstr(redefine_explain(), "valgrind");
}
EOF
result "a program of two threads: builds" $CC -std=gnu11 -O1 -g -I"$SRC/include" -o threads threads.c \
    -L"$BUILD" -lredefine -Wl,-rpath,"$BUILD"
result "a program of two threads: works, or says why not" clean ./threads

if [ -x "$BUILD/redefine" ]; then
    cat >clock.c <<'EOF'
#include <stdio.h>
#include <time.h>
int main(void)
{
    char text[32];
    time_t now = time(NULL);
    strftime(text, sizeof text, "%H:%M", localtime(&now));
    puts(text);
    return 0;
}
EOF
    result "a clock: builds" $CC -O1 -g -o clock clock.c
    result "a patch file: builds" \
        $CC -shared -fPIC -O1 -I"$SRC/include" -o five_pm.so "$SRC/examples/five_pm.c"
    result "redefine run -- valgrind program" sh -c '
        "$BUILD/redefine" run --patch ./five_pm.so -- valgrind --error-exitcode=9 ./clock >time.txt || exit 1
        cat time.txt; grep -qx 17:00 time.txt'
    # (An error of the dynamic loader about its own strncmp, on a RUNPATH, is not counted: exec forgets it.)
    result "valgrind redefine run -- program" sh -c '
        valgrind --error-exitcode=9 "$BUILD/redefine" run --patch ./five_pm.so -- ./clock >time.txt || exit 1
        cat time.txt; grep -qx 17:00 time.txt'
    result "valgrind --trace-children=yes redefine run -- program" sh -c '
        valgrind --error-exitcode=9 --trace-children=yes \
            "$BUILD/redefine" run --patch ./five_pm.so -- ./clock >time.txt || exit 1
        cat time.txt; grep -qx 17:00 time.txt'
fi

echo "1..$number"
exit $failures
