/* SPDX-License-Identifier: MIT
 *
 * The Go package built for another CPU: its own tests, which tests/CMakeLists.txt compiles in several ways,
 * told as TAP. For this system itself go_newest.sh and go_distribution.sh build and run them, in every way
 * that changes code.
 */
#include <errno.h>
#include <glob.h>
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

/* "--- PASS: TestX (0.01s)" as the result number `count`, of the tests built in this way; 0: it is another
 * line. */
static int tell(const char *line, int count, const char *way)
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
            printf("%s %d - %s: %.*s%s\n", kinds[i].result, count, way, name, line + len, kinds[i].note);
            return 1;
        }
    }
    return 0;
}

/* What the tests in `program` say, after `count` results; with those of theirs. */
static int run_one(const char *program, int count)
{
    enum { LINES_KEPT = 4000 };
    char command[4200];
    char line[4096];
    const char *way = strrchr(program, '_') + 1;
    int lines = 0;
    (void)snprintf(command, sizeof command, "%s -test.v -test.timeout=0 2>&1", program);
    FILE *tests = popen(command, "r");
    if (!tests)
        return -1;
    while (fgets(line, sizeof line, tests)) {
        if (tell(line, count + 1, way))
            count++;
        else if (strncmp(line, "=== ", 4) != 0 && strncmp(line, "    --- ", 8) != 0 && lines++ < LINES_KEPT)
            printf("# %s", line);
        (void)fflush(stdout);
    }
    int status = pclose(tests);
    count++;
    printf("%s %d - %s: they came to their end\n", status == 0 ? "ok" : "not ok", count, way);
    return count;
}

int main(int argc, char **argv)
{
    (void)argc;
    char pattern[4096];
    glob_t programs;
    const char *slash = strrchr(argv[0], '/');
    int count = 0;
    (void)snprintf(pattern, sizeof pattern, "%.*s/helper_go_package_*", slash ? (int)(slash - argv[0]) : 1,
                   slash ? argv[0] : ".");
    if (glob(pattern, 0, NULL, &programs) != 0)
        return skip_all("go_newest.sh and go_distribution.sh do this here, or there is no Go");
    if (!has_ptrace())
        return skip_all(
            "Go programs have threads, and the emulator of one process has no ptrace to stop them");
    /* The load tests go on for as long as they are told to. */
    (void)setenv("REDEFINE_ROUNDS", "20", 0);
    const char *only = getenv("CASE"); /* by hand: one way of building */
    for (size_t i = 0; i < programs.gl_pathc && count >= 0; i++)
        if (!only || strstr(strrchr(programs.gl_pathv[i], '_'), only))
            count = run_one(programs.gl_pathv[i], count);
    globfree(&programs);
    printf("1..%d\n", count);
    return count <= 0;
}
