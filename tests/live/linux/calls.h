/* SPDX-License-Identifier: MIT
 *
 * For owners.c: what an engine might call on Linux. Each system has a file of this name.
 */
#ifndef TESTS_LIVE_CALLS_H
#define TESTS_LIVE_CALLS_H

#include <sched.h>

/* What this system adds to LIBRARY. */
#define SYSTEM(X)                                                                                           \
    X(void *, mmap, (void *at, size_t len, int prot, int flags, int fd, off_t off),                         \
      (at, len, prot, flags, fd, off))                                                                      \
    X(int, munmap, (void *at, size_t len), (at, len))                                                       \
    X(int, mprotect, (void *at, size_t len, int prot), (at, len, prot))                                     \
    X(int, open, (const char *path, int flags, mode_t mode), (path, flags, mode))                           \
    X(int, openat, (int fd, const char *path, int flags, mode_t mode), (fd, path, flags, mode))             \
    X(ssize_t, read, (int fd, void *to, size_t len), (fd, to, len))                                         \
    X(ssize_t, write, (int fd, const void *from, size_t len), (fd, from, len))                              \
    X(int, close, (int fd), (fd))                                                                           \
    X(int, pthread_mutex_lock, (pthread_mutex_t * mutex), (mutex))                                          \
    X(int, pthread_mutex_unlock, (pthread_mutex_t * mutex), (mutex))                                        \
    X(int, pthread_sigmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old))                 \
    X(int, sigprocmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old))                     \
    X(int, sigaction, (int number, const struct sigaction *act, struct sigaction *old), (number, act, old)) \
    X(int, vsnprintf, (char *to, size_t len, const char *format, va_list args), (to, len, format, args))    \
    X(int, sched_yield, (void), ())                                                                         \
    X(pid_t, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags))                            \
    X(pid_t, getpid, (void), ())                                                                            \
    X(int *, __errno_location, (void), ())

static int (*original_snprintf)(char *, size_t, const char *, ...);
static volatile long calls_snprintf;
static int new_snprintf(char *to, size_t len, const char *format, ...)
{
    va_list args;
    calls_snprintf = calls_snprintf + 1;
    va_start(args, format);
    int status = vsnprintf(to, len, format, args);
    va_end(args);
    return status;
}

/* What is written out above. */
#define VARIADIC(X) X(int, snprintf, , )

__attribute__((format(printf, 3, 4))) static int print(char *to, size_t len, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int status = vsnprintf(to, len, format, args);
    va_end(args);
    return status;
}

/* So that each of these is called at least once. */
static void work_the_system(void)
{
    char text[64];
    sigset_t set;
    int status;
    CHECK(print(text, sizeof text, "%s", "ab") == 2);
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0 && munmap(page, 4096) == 0);
    int fd = openat(AT_FDCWD, "/dev/zero", O_RDWR);
    CHECK(read(fd, text, sizeof text) == sizeof text && write(fd, text, 1) == 1 && close(fd) == 0);
    fd = open("/nowhere/at/all", O_RDONLY);
    CHECK(fd < 0 && errno == ENOENT);
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    CHECK(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_unlock(&mutex) == 0);
    CHECK(sigprocmask(SIG_BLOCK, NULL, &set) == 0 && pthread_sigmask(SIG_BLOCK, NULL, &set) == 0);
    CHECK(sigaction(SIGUSR1, NULL, &(struct sigaction){0}) == 0);
    CHECK(sched_yield() == 0 && getpid() > 0 && waitpid(-1, &status, WNOHANG) < 0);
}

/* Replacements that do none of their functions' work. */
static void *no_mapping(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
    (void)at, (void)len, (void)prot, (void)flags, (void)fd, (void)off;
    errno = ENOMEM;
    return MAP_FAILED;
}

static int no_lock(pthread_mutex_t *mutex)
{
    (void)mutex;
    return EDEADLK;
}

static int no_protection(void *at, size_t len, int prot)
{
    (void)at, (void)len, (void)prot;
    errno = EACCES;
    return -1;
}

#define NOTHING(X) X(mmap, no_mapping) X(mprotect, no_protection) X(pthread_mutex_lock, no_lock)

#endif
