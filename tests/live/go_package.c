/* SPDX-License-Identifier: MIT
 *
 * The Go package built for another CPU: its own tests, which tests/CMakeLists.txt compiles, told as TAP. For
 * this system itself go_newest.sh and go_distribution.sh build and run them, in every way that changes code.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static int skip_all(const char *why)
{
    printf("1..0 # SKIP %s\n", why);
    return 0;
}

static int has_ptrace(void)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 && errno == ENOSYS);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

/* "--- PASS: TestX (0.01s)" as the result number `count`; 0: it is another line. */
static int tell(const char *line, int count)
{
    static const struct {
        const char *begins, *result, *note;
    } kinds[] = {{"--- PASS: ", "ok", ""},
                 {"--- FAIL: ", "not ok", ""},
                 {"--- SKIP: ", "ok", " # SKIP see above"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t len = strlen(kinds[i].begins);
        if (strncmp(line, kinds[i].begins, len) == 0) {
            int name = (int)strcspn(line + len, " \n");
            printf("%s %d - %.*s%s\n", kinds[i].result, count, name, line + len, kinds[i].note);
            return 1;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    (void)argc;
    enum { LINES_KEPT = 4000 };
    char command[4096];
    char line[4096];
    const char *slash = strrchr(argv[0], '/');
    int count = 0;
    int lines = 0;
    (void)snprintf(command, sizeof command, "%.*s/helper_go_package", slash ? (int)(slash - argv[0]) : 1,
                   slash ? argv[0] : ".");
    if (access(command, X_OK) != 0)
        return skip_all("go_newest.sh and go_distribution.sh do this here, or there is no Go");
    if (!has_ptrace())
        return skip_all(
            "Go programs have threads, and the emulator of one process has no ptrace to stop them");
    /* The load tests go on for as long as they are told to. */
    (void)setenv("REDEFINE_ROUNDS", "20", 0);
    (void)strncat(command, " -test.v -test.timeout=0 2>&1", sizeof command - strlen(command) - 1);
    FILE *tests = popen(command, "r");
    if (!tests)
        return 1;
    while (fgets(line, sizeof line, tests)) {
        if (tell(line, count + 1))
            count++;
        else if (strncmp(line, "=== ", 4) != 0 && strncmp(line, "    --- ", 8) != 0 && lines++ < LINES_KEPT)
            printf("# %s", line);
        (void)fflush(stdout);
    }
    int status = pclose(tests);
    count++;
    printf("%s %d - they came to their end\n1..%d\n", status == 0 ? "ok" : "not ok", count, count);
    return status != 0;
}
