/* SPDX-License-Identifier: MIT
 *
 * Standing between a program and who started it, as unnoticed as that can be: the program runs as a child,
 * and what is sent to this process, it gets; what becomes of it, becomes of this process.
 */
#include "count.h"

#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What somebody may send to this process meaning the program. */
static const int passed_on[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
                                SIGUSR2, SIGALRM, SIGCONT, SIGWINCH};
enum { PASSED_ON = sizeof passed_on / sizeof passed_on[0] };

static _Noreturn void be_child(pid_t parent, const sigset_t *mask, int failure_fd, int (*become)(void *ctx),
                               void *ctx)
{
    /* Killing this command would kill the program, were nobody between. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_OWN_FAILURE);
    (void)sigprocmask(SIG_SETMASK, mask, NULL);
    int status = become(ctx);
    ssize_t written = write(failure_fd, &status, sizeof status);
    _exit(written < 0 ? EXIT_OWN_FAILURE : status);
}

/* Whoever waits for the end of a stream waits for the program alone; so nothing of it is held here. */
static void close_all_but(const int *keep_fd, size_t keep_count)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = STDIN_FILENO; null >= 0 && fd <= STDOUT_FILENO; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            (void)dup2(null, fd);
    unsigned first = STDERR_FILENO + 1;
    for (;;) {
        unsigned next = ~0u; /* the lowest one to be kept */
        for (size_t i = 0; i < keep_count; i++)
            if (keep_fd[i] >= (int)first && (unsigned)keep_fd[i] < next)
                next = (unsigned)keep_fd[i];
        if (next > first)
            (void)close_range(first, next == ~0u ? next : next - 1, 0);
        if (next == ~0u)
            return;
        first = next + 1;
    }
}

/* The program was stopped from the terminal: so is this process, so that the shell sees it. (By anyone else:
 * who stops the program alone will continue the program alone.) In an orphaned group the kernel stops nobody.
 */
static void stop_too(pid_t child, int signal)
{
    if (signal != SIGTSTP && signal != SIGTTIN && signal != SIGTTOU)
        return;
    sigset_t set, former;
    sigemptyset(&set);
    sigaddset(&set, signal);
    (void)raise(signal);
    (void)sigprocmask(SIG_UNBLOCK, &set, &former);
    (void)sigprocmask(SIG_SETMASK, &former, NULL);
    (void)kill(child, SIGCONT);
}

/* Until the child has ended. Signals are taken one by one instead of by handlers: nothing interrupts
 * anything. What the terminal sends to the whole group, the child has got itself. */
static int wait_for(pid_t child, const sigset_t *waited)
{
    for (;;) {
        int status;
        pid_t got;
        while ((got = waitpid(child, &status, WNOHANG | WUNTRACED)) == child) {
            if (!WIFSTOPPED(status))
                return status;
            stop_too(child, WSTOPSIG(status));
        }
        siginfo_t info;
        if (got < 0 && errno == ECHILD)
            return EXIT_OWN_FAILURE << 8;
        if (sigwaitinfo(waited, &info) > 0 && info.si_signo != SIGCHLD && info.si_code <= 0)
            (void)kill(child, info.si_signo);
    }
}

bool cli_child_run(int (*become)(void *ctx), void *ctx, const int *keep_fd, size_t keep_count,
                   int *ret_wait_status)
{
    int ends[2];
    sigset_t waited, former;
    sigemptyset(&waited);
    sigaddset(&waited, SIGCHLD);
    for (size_t i = 0; i < PASSED_ON; i++)
        sigaddset(&waited, passed_on[i]);
    *ret_wait_status = EXIT_OWN_FAILURE;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        cli_say("the program cannot be started: %s", strerror(errno));
        return false;
    }
    (void)sigprocmask(SIG_BLOCK, &waited, &former);
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0)
        be_child(parent, &former, ends[1], become, ctx);
    (void)signal(SIGCHLD, SIG_DFL); /* ignored, it would leave nothing to wait for */
    (void)signal(SIGPIPE, SIG_IGN); /* a report that nobody reads must not become the program's end */
    close(ends[1]);
    if (child < 0) {
        cli_say("the program cannot be started: %s", strerror(errno));
        close(ends[0]);
        return false;
    }
    int failure;
    bool failed = read(ends[0], &failure, sizeof failure) == sizeof failure;
    close(ends[0]);
    close_all_but(keep_fd, keep_count);
    int status = wait_for(child, &waited);
    *ret_wait_status = failed ? failure : status;
    return !failed;
}

int cli_child_end_as(int wait_status)
{
    if (!WIFSIGNALED(wait_status))
        return WEXITSTATUS(wait_status);
    int signal_number = WTERMSIG(wait_status);
    sigset_t set;
    const struct rlimit none = {0};
    (void)setrlimit(RLIMIT_CORE, &none); /* the program has left one, if that was wanted */
    (void)signal(signal_number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    (void)kill(getpid(), signal_number);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    return 128 + signal_number; /* not reached */
}
