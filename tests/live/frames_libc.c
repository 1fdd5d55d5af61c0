/* SPDX-License-Identifier: MIT
 *
 * The functions of the C library whose callers rely on more than the ABI, all of them at once: each is
 * redefined by code that calls the original and then changes every register that a call may change. What the
 * library does with them must come out as before.
 */
#include "live.h"

#include <redefine/redefine.h>

#include <stdio.h>

#if defined(__x86_64__) && defined(__GLIBC__)

#include <argz.h>
#include <envz.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <malloc.h>
#include <netdb.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* What `redefine check` on Debian 12's libc.so.6 says of: ipa-ra. */
#define EACH(X)                     \
    X(0, "__ctype_init")            \
    X(1, "srandom_r")               \
    X(2, "_pthread_cleanup_pop")    \
    X(3, "__lll_lock_wake_private") \
    X(4, "__default_morecore")      \
    X(5, "envz_entry")              \
    X(6, "getpid")                  \
    X(7, "stat")                    \
    X(8, "lstat")                   \
    X(9, "fstatat")                 \
    X(10, "sbrk")                   \
    X(11, "mmap")                   \
    X(12, "munmap")                 \
    X(13, "madvise")                \
    X(14, "socket")
enum { COUNT = 15 };

uintptr_t libc_originals[COUNT];
unsigned long libc_calls[COUNT];

/* None of them takes arguments from the stack, or gives back more than rax. */
__asm__(".text\n"
        ".macro wrapper number\n"
        ".globl libc_wrapper_\\number\n"
        "libc_wrapper_\\number:\n"
        ".cfi_startproc\n"
        "subq $8, %rsp\n"
        ".cfi_adjust_cfa_offset 8\n"
        "lock incq libc_calls+8*\\number(%rip)\n"
        "call *libc_originals+8*\\number(%rip)\n"
        "movq $-1, %rcx\nmovq %rcx, %rdx\nmovq %rcx, %rsi\nmovq %rcx, %rdi\n"
        "movq %rcx, %r8\nmovq %rcx, %r9\nmovq %rcx, %r10\nmovq %rcx, %r11\n"
        ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
        "pcmpeqd %xmm\\n, %xmm\\n\n"
        ".endr\n"
        "addq $8, %rsp\n"
        ".cfi_adjust_cfa_offset -8\n"
        "ret\n"
        ".cfi_endproc\n"
        ".endm\n"
        ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14\n"
        "wrapper \\i\n"
        ".endr\n");
#define DECLARE(number, name) extern void libc_wrapper_##number(void);
EACH(DECLARE)

/* ---- The workload: what it says must not depend on whether it is redefined ---- */

static char report[2][8192];
static size_t said;
static char *into;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(into + said, sizeof report[0] - said, format, args);
    va_end(args);
    if (len > 0 && (size_t)len < sizeof report[0] - said)
        said += (size_t)len;
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    say("%s %o %d %d\n", path, st->st_mode, type, ftw->level);
    return 0;
}

static void walk_files(void)
{
    glob_t found;
    struct stat st;
    (void)mkdir("tree", 0755);
    (void)mkdir("tree/inner", 0755);
    (void)symlink("inner", "tree/link");
    int fd = open("tree/file", O_CREAT | O_WRONLY, 0644);
    CHECK(fd >= 0);
    close(fd);
    CHECK_INT(nftw("tree", visit, 8, FTW_PHYS), 0);
    CHECK_INT(nftw("tree", visit, 8, 0), 0);
    CHECK_INT(glob("tree/*", GLOB_MARK, NULL, &found), 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        say("%s\n", found.gl_pathv[i]);
    globfree(&found);
    char *path = realpath("tree/link/../file", NULL);
    say("%s\n", path && strstr(path, "/tree/file") ? "the file" : "nothing");
    free(path);
    say("%d %d %d\n", stat("tree/none", &st), lstat("tree/link", &st), S_ISLNK(st.st_mode));
    say("%d %d\n", fstatat(AT_FDCWD, "tree/link", &st, 0), S_ISDIR(st.st_mode));
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long shared;

static void *work(void *arg)
{
    uintptr_t number = (uintptr_t)arg;
    void *kept[64];
    for (size_t i = 0; i < 200; i++) {
        for (size_t k = 0; k < 64; k++) {
            kept[k] = malloc(32 + (i * 64 + k * 997 * number) % 20000);
            memset(kept[k], (int)k, 32);
        }
        pthread_mutex_lock(&lock);
        shared++;
        pthread_mutex_unlock(&lock);
        for (size_t k = 0; k < 64; k++) {
            if (*(unsigned char *)kept[k] != k)
                live_fail(__FILE__, __LINE__, "memory is not what it was");
            free(kept[k]);
        }
    }
    return arg;
}

static void use_memory_and_threads(void)
{
    pthread_t thread[6];
    shared = 0;
    for (int round = 0; round < 3; round++) {
        uintptr_t sum = 0;
        for (size_t i = 0; i < LIVE_COUNT(thread); i++)
            CHECK_INT(pthread_create(&thread[i], NULL, work, (void *)(i + 1)), 0);
        for (size_t i = 0; i < LIVE_COUNT(thread); i++) {
            void *result;
            CHECK_INT(pthread_join(thread[i], &result), 0);
            sum += (uintptr_t)result;
        }
        say("%lu %ld\n", (unsigned long)sum, shared);
    }
    for (size_t size = 1 << 16; size <= 1 << 26; size *= 4) {
        char *large = malloc(size);
        CHECK(large != NULL);
        memset(large, 1, size);
        large = realloc(large, size * 2);
        CHECK(large != NULL);
        say("%d\n", large[size - 1]);
        free(large);
    }
    say("trimmed %d\n", malloc_trim(0) >= 0);
}

static void use_the_rest(void)
{
    struct random_data data = {0};
    char state[64], name[] = "tempXXXXXX", *envz = NULL;
    size_t envz_len = 0;
    int32_t number = 0;
    (void)initstate_r(5, state, sizeof state, &data);
    for (int i = 0; i < 5; i++) {
        (void)random_r(&data, &number);
        say("%d\n", number);
    }
    (void)envz_add(&envz, &envz_len, "one", "1");
    (void)envz_add(&envz, &envz_len, "two", "2");
    say("%s %s\n", envz_get(envz, envz_len, "two"), envz_entry(envz, envz_len, "one"));
    envz_remove(&envz, &envz_len, "one");
    say("%lu\n", (unsigned long)envz_len);
    free(envz);
    int fd = mkstemp(name);
    say("%d %d\n", fd >= 0, unlink(name));
    close(fd);
    struct addrinfo *info = NULL, hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
    say("%d\n", getaddrinfo("127.0.0.1", "80", &hints, &info));
    freeaddrinfo(info);
    openlog("frames_libc", LOG_NDELAY | LOG_PID, LOG_USER);
    syslog(LOG_DEBUG, "for the sake of socket and getpid");
    closelog();
    setenv("TZ", "Europe/Berlin", 1);
    tzset();
    time_t noon = 86400 * 200 + 43200;
    say("%s", ctime(&noon));
    FILE *pipe = popen("echo a child", "r");
    char line[64] = "";
    CHECK(pipe && fgets(line, sizeof line, pipe));
    say("%s%d\n", line, pclose(pipe));
}

static void workload(int which)
{
    into = report[which];
    said = 0;
    walk_files();
    use_memory_and_threads();
    use_the_rest();
}

static void everything(void)
{
    static const struct {
        const char *name;
        void (*wrapper)(void);
    } each[] = {
#define ROW(number, name) {name, libc_wrapper_##number},
        EACH(ROW)};
    redefine_batch *batch = redefine_batch_new();
    void *target[COUNT] = {NULL};
    int used = 0, called = 0;
    (void)mallopt(M_ARENA_MAX, 1); /* threads wait for each other in malloc */
    workload(0);
    for (int i = 0; i < COUNT; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "libc.so.6!%s", each[i].name);
        if (redefine_find(name, &target[i]) != REDEFINE_OK)
            continue; /* another version's */
        CHECK_OK(redefine_batch_add(batch, target[i], (void *)(uintptr_t)each[i].wrapper));
        used++;
    }
    /* Behind the commit nothing of the library may be called until the originals are known. */
    redefine_status status = redefine_batch_commit(batch);
    for (int i = 0; i < COUNT; i++)
        if (target[i])
            libc_originals[i] = (uintptr_t)redefine_func_original(target[i]);
    CHECK_OK(status);
    workload(1);
    CHECK_OK(redefine_restore_all());
    for (int i = 0; i < COUNT; i++)
        called += libc_calls[i] > 0;
    redefine_batch_free(batch);
    for (int i = 0; i < COUNT; i++)
        printf("# %s: %lu calls\n", each[i].name, libc_calls[i]);
    CHECK(used >= 10);
    CHECK(called >= 8);
    if (strcmp(report[0], report[1]) != 0)
        live_fail(__FILE__, __LINE__, "before:\n%s\nredefined:\n%s", report[0], report[1]);
}

int main(void)
{
    static const struct live_case cases[] = {{"the library's own work, redefined", everything, 0}};
    return live_main(cases, LIVE_COUNT(cases));
}

#else

int main(void)
{
    printf("1..0 # SKIP its replacements are written for glibc on x86-64\n");
    return 0;
}

#endif
