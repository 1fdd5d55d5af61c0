/* SPDX-License-Identifier: MIT
 *
 * Every exported function of real libraries and programs: redefined, seen to be redirected, restored, and the
 * whole text compared byte for byte.
 *
 *     coverage [--refused] [LIBRARY | /PATH/OF/PROGRAM]...
 *
 * Prints a table for each: functions, accepted by strategy, refused by status, wrong. "Wrong" is: the call
 * did not reach the replacement; bytes outside of the function and of padding changed while it was redefined;
 * bytes differ after the restore. Exit status 1 when anything is wrong.
 */
#include "cover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const defaults[] = {"libc.so.6",
                                       "libm.so.6",
                                       "libz.so.1",
                                       "libcrypto.so.3",
                                       "libsqlite3.so.0",
                                       "libstdc++.so.6",
                                       "libpython3.11.so.1.0",
                                       "libLLVM-14.so.1",
                                       "libclang-cpp.so.14",
                                       "/usr/bin/python3",
                                       "/usr/bin/perl",
                                       "/usr/bin/bash",
                                       "/usr/bin/gdb"};

/* By what lies beside this program, preloaded. */
static bool cover_program(const char *path, bool tell_refused)
{
    char inside[4096];
    ssize_t len = readlink("/proc/self/exe", inside, sizeof inside - sizeof "inside.so");
    if (access(path, X_OK) != 0) {
        printf("%-22s skipped: there is no such program\n", path);
        return true;
    }
    if (len < 0)
        return false;
    inside[len] = '\0';
    strcpy(strrchr(inside, '/') + 1, "inside.so");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (tell_refused)
            setenv("COVERAGE_REFUSED", "1", 1);
        setenv("LD_PRELOAD", inside, 1);
        execl(path, path, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return false;
    if (WIFSIGNALED(status))
        printf("%s: WRONG: it died of signal %d\n", path, WTERMSIG(status));
    return status == 0;
}

int main(int argc, char **argv)
{
    const char *const *names = defaults;
    size_t count = sizeof defaults / sizeof defaults[0];
    int first = 1;
    bool tell_refused = argc > first && strcmp(argv[first], "--refused") == 0;
    first += tell_refused;
    if (argc > first) {
        names = (const char *const *)argv + first;
        count = (size_t)(argc - first);
    }
    bool is_ok = true;
    for (size_t i = 0; i < count; i++)
        is_ok &= names[i][0] == '/' && !strstr(names[i], ".so") ? cover_program(names[i], tell_refused)
                                                                : cover(names[i], names[i], tell_refused);
    return is_ok ? 0 : 1;
}
