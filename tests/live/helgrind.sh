#!/bin/sh
# SPDX-License-Identifier: MIT
#
# helgrind has no report of ours: several threads replace replacements, ask, and make changes that end in the sentence
# that threads cannot be stopped under valgrind: everything up to the write runs, in several threads at once, and is
# taken back.
set -u
. "$SRC/tests/support/tap.sh"
command -v valgrind >/dev/null || skip_all "valgrind is not installed"
nm -D "$BUILD/libredefine.so" | grep -qE '__[at]san_init' && skip_all "the sanitizers and valgrind exclude each other"

cat >load.c <<'C'
#include <pthread.h>
#include <redefine/apply.h>
#include <redefine/redefine.h>
#include <stdio.h>
#include <stdlib.h>

#define FUNCTION(n) __attribute__((noipa)) static int function_##n(int value) { return value + n; }
FUNCTION(0) FUNCTION(1) FUNCTION(2) FUNCTION(3) FUNCTION(4) FUNCTION(5)
static int (*const function[])(int) = {function_0, function_1, function_2, function_3, function_4, function_5};
enum { REDEFINED = 4, ROUNDS = 60, THREADS = 4 };

static int hundred(int value)
{
    return value + 100;
}
static int thousand(int value)
{
    return value + 1000;
}
static void *address(int (*code)(int))
{
    return (void *)(unsigned long)code;
}
static void must(int ok)
{
    if (ok)
        return;
    fprintf(stderr, "%s\n", redefine_explain());
    _Exit(1);
}

static void *load(void *ctx)
{
    for (int i = 0; i < ROUNDS; i++) {
        void *mine = address(function[(i + (int)(long)ctx) % REDEFINED]);
        int result = function[i % REDEFINED](0);
        must(result == 100 || result == 1000);
        must(redefine_func(mine, address(i % 2 ? hundred : thousand)) == REDEFINE_OK);
        must(redefine_func_original(mine) != mine && redefine_func_replacement(mine) != NULL);
        if (i % 8)
            continue;
        /* Refused: nothing was changed. */
        must(redefine_func(address(function[REDEFINED + i / 8 % 2]), address(hundred)) != REDEFINE_OK);
        must(redefine_explain()[0] != 0 && function[REDEFINED](0) == REDEFINED);
        must(redefine_func_restore(mine) != REDEFINE_OK);
        must(redefine_describe(mine)[0] != 0 && redefine_report()[0] != 0);
    }
    return NULL;
}

int main(void)
{
    pthread_t thread[THREADS];
    for (int i = 0; i < REDEFINED; i++) {
        must(redefine_func(address(function[i]), address(hundred)) == REDEFINE_OK);
        must(redefine_func(address(function[i]), address(thousand)) == REDEFINE_OK);
        must(redefine_func(address(function[i]), address(hundred)) == REDEFINE_OK);
    }
    for (long i = 0; i < THREADS; i++)
        must(pthread_create(&thread[i], NULL, load, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        must(pthread_join(thread[i], NULL) == 0);
    must(redefine_restore_all() == REDEFINE_OK);
    must(function_3(0) == 3);
    puts("done");
    return 0;
}
C
"$CC" -O1 -g -pthread -I"$SRC/include" -o load load.c -L"$BUILD" -lredefine -Wl,-rpath,"$BUILD"
run valgrind -q --tool=helgrind --error-exitcode=9 --suppressions="$SRC/tests/support/helgrind.supp" ./load
result "right results" [ "$(cat out)" = done ]
result "and no report" [ ! -s err ]
head -n 40 err | sed 's/^/# /'
finish
