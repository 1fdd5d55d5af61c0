/* SPDX-License-Identifier: MIT
 *
 * In one's own process: `time` tells another time, its original can still be called, and afterwards its bytes
 * are what they were.
 *
 *     cc $(pkg-config --cflags redefine) -o in_process in_process.c $(pkg-config --libs redefine)
 */
#include <redefine/redefine.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* 17:00:00 UTC on the day it really is: the type is that of `time`, or redefine() would not compile. */
static time_t five_pm(time_t *out)
{
    time_t now = redefine_original(time)(NULL);
    now = now - now % 86400 + 17 * 3600;
    if (out)
        *out = now;
    return now;
}

static void print_time(const char *who, time_t now)
{
    char text[16];
    strftime(text, sizeof text, "%H:%M:%S", gmtime(&now));
    printf("%-28s %s\n", who, text);
}

/* The first bytes of the code that runs when `time` is called. */
enum { SHOWN = 16 };
static void read_code(unsigned char *ret_bytes)
{
    void *code;
    if (redefine_find("time", &code) != REDEFINE_OK) {
        fprintf(stderr, "%s\n", redefine_explain());
        exit(1);
    }
    memcpy(ret_bytes, code, SHOWN);
}

static void print_code(const char *when, const unsigned char *bytes)
{
    printf("%-28s", when);
    for (int i = 0; i < SHOWN; i++)
        printf(" %02x", bytes[i]);
    printf("\n");
}

int main(void)
{
    unsigned char before[SHOWN], during[SHOWN], after[SHOWN];
    read_code(before);
    print_code("its bytes before", before);
    print_time("time says", time(NULL));

    if (redefine(time, five_pm) != REDEFINE_OK) {
        fprintf(stderr, "%s\n", redefine_explain());
        return 1;
    }
    read_code(during);
    print_code("its bytes while redefined", during);
    time_t told = time(NULL);
    print_time("time says", told);
    print_time("the original says", redefine_original(time)(NULL));

    if (redefine_restore(time) != REDEFINE_OK) {
        fprintf(stderr, "%s\n", redefine_explain());
        return 1;
    }
    read_code(after);
    print_code("its bytes after the restore", after);
    print_time("time says", time(NULL));

    bool same = memcmp(before, after, SHOWN) == 0;
    bool changed = memcmp(before, during, SHOWN) != 0;
    printf("the bytes are %s\n", same ? "the same as before" : "not the same as before");
    return same && changed && told % 86400 == 17 * 3600 ? 0 : 1;
}
