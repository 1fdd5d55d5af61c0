/* SPDX-License-Identifier: MIT
 *
 * Every system call that a redefinition and its restore make, failing: each single one of them once, and each
 * kind of them always. Then either it works all the same, or there is a status with a sentence and everything
 * is as it was; never a crash, never a hang.
 *
 * notify.h tells how we, the parent, hear of each.
 *
 * LIVE_ALL=1 tries every error at each place, not only one of them, and also the places that are like two
 * earlier ones: the same calls before and behind.
 */
#ifndef TESTS_LIVE_INJECT_H
#define TESTS_LIVE_INJECT_H

#include "notify.h"

#ifndef __GLIBC__
#define strerrorname_np(err) strerror(err)
#endif

enum { CALLS_MAX = 4096, CHILD_LIMIT_MS = 15000 };

static const int errors[] = {EPERM, ENOSYS, ENOMEM, EACCES, EIO};

/* Far from other code: a function that something seems to branch into gets a trap, and a trap dies where
 * signals are blocked. */
__attribute__((aligned(512))) TARGET int first(int value)
{
    __asm__ volatile("");
    return value + 1;
}

TARGET int second(int value)
{
    __asm__ volatile("");
    return value * 2;
}

TARGET int third(int value)
{
    __asm__ volatile("");
    return value - 3;
}

static int first_more(int value)
{
    return redefine_original(first)(value) + 100;
}

static int second_more(int value)
{
    return redefine_original(second)(value) + 200;
}

static int third_more(int value)
{
    return redefine_original(third)(value) + 300;
}

/* ---- the child ---- */

struct scenario {
    size_t threads;
    bool is_batch;
    int always[4]; /* calls that fail all the time with EPERM; 0: none (read never is one) */
};

/* What to fail, in the child that is being run. */
struct fault {
    size_t at; /* the nth call; 0: none */
    int nr;    /* or all calls of this number; -1: none */
    int err;
};

static redefine_status change(const struct scenario *scenario)
{
    if (!scenario->is_batch)
        return redefine(first, first_more);
    redefine_batch *batch = redefine_batch_new();
    if (!batch)
        return REDEFINE_ENOMEM;
    redefine_status status = redefine_batch_add(batch, ADDRESS(first), ADDRESS(first_more));
    if (status == REDEFINE_OK)
        status = redefine_batch_add(batch, ADDRESS(second), ADDRESS(second_more));
    if (status == REDEFINE_OK)
        status = redefine_batch_add(batch, ADDRESS(third), ADDRESS(third_more));
    if (status == REDEFINE_OK)
        status = redefine_batch_commit(batch);
    redefine_batch_free(batch);
    return status;
}

static redefine_status change_back(const struct scenario *scenario)
{
    return scenario->is_batch ? redefine_restore_all() : redefine_restore(first);
}

static void check_behaviour(const struct scenario *scenario, bool changed)
{
    bool all = changed && scenario->is_batch;
    CHECK_INT(first(1), changed ? 102 : 2);
    CHECK_INT(second(2), all ? 204 : 4);
    CHECK_INT(third(3), all ? 300 : 0);
    CHECK_INT(redefine_original(first)(1), 2);
    CHECK_INT(redefine_original(second)(2), 4);
    CHECK_INT(redefine_original(third)(3), 0);
}

/* What cannot be taken back when the call that takes it back is the one that fails, is let pass. */
static void check_nothing_changed(const struct live_world *before, long failed_nr)
{
    static struct live_world now;
    live_world_take(&now);
    if (failed_nr == SYS_close)
        now.fd_count = before->fd_count;
    if (failed_nr == SYS_rt_sigprocmask)
        now.blocked = before->blocked;
    const char *difference = live_world_difference(before, &now, failed_nr != SYS_munmap);
    if (difference)
        live_fail(__FILE__, __LINE__, "not as before: %s", difference);
}

/* Returns the status; *ret_nr is the call that was failed meanwhile, -1 for none. */
static redefine_status under_fire(redefine_status (*act)(const struct scenario *),
                                  const struct scenario *scenario, long *ret_nr)
{
    syscall(MARK_ON);
    redefine_status status = act(scenario);
    *ret_nr = syscall(MARK_OFF) - 1;
    CHECK(status != REDEFINE_EROLLBACK);
    if (status != REDEFINE_OK) {
        if (*ret_nr < 0 && !scenario->always[0])
            live_fail(__FILE__, __LINE__, "no call has failed, and yet: %s", redefine_explain());
        CHECK(*redefine_explain());
    }
    return status;
}

static void child_body(const struct scenario *scenario, bool fails_always)
{
    static struct live_world pristine, changed;
    long first_nr, nr;
    live_world_take(&pristine);
    redefine_status status = under_fire(change, scenario, &first_nr);
    check_behaviour(scenario, status == REDEFINE_OK);
    if (status != REDEFINE_OK) {
        check_nothing_changed(&pristine, first_nr);
        if (fails_always)
            return;
        CHECK_OK(change(scenario)); /* nothing is left that is in the way of another attempt */
        check_behaviour(scenario, true);
    }
    live_world_take(&changed);
    CHECK(!live_maps_writable_code(&changed.maps));
    status = under_fire(change_back, scenario, &nr);
    check_behaviour(scenario, status != REDEFINE_OK);
    if (status != REDEFINE_OK) {
        check_nothing_changed(&changed, nr);
        if (fails_always)
            return;
        CHECK_OK(change_back(scenario));
        check_behaviour(scenario, false);
    }
    live_world_take(&changed);
    if (first_nr == SYS_close || nr == SYS_close)
        changed.fd_count = pristine.fd_count;
    changed.blocked = pristine.blocked;
    const char *difference = live_world_difference(&pristine, &changed, false);
    if (difference)
        live_fail(__FILE__, __LINE__, "after both: %s", difference);
}

/* ---- the parent ---- */

struct run {
    size_t calls; /* counted between the marks */
    int nr[CALLS_MAX];
    size_t failed;
    bool hangs;
    int status; /* of the child */
    char text[2048];
};

static bool is_always(const struct scenario *scenario, int nr)
{
    for (size_t i = 0; i < LIVE_COUNT(scenario->always); i++)
        if (scenario->always[i] && scenario->always[i] == nr)
            return true;
    return false;
}

static void answer_all(int listener, pid_t child, const struct scenario *scenario, const struct fault *fault,
                       struct run *ret)
{
    bool counts = false;
    int failed_nr = -1;
    for (;;) {
        struct seccomp_notif question;
        enum live_asks asks = live_await_question(listener, child, CHILD_LIMIT_MS, &question);
        ret->hangs = asks == LIVE_SILENT;
        if (asks != LIVE_ASKS)
            return;
        struct seccomp_notif_resp answer = {.id = question.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        int nr = question.data.nr;
        if (nr == MARK_ON || nr == MARK_OFF) {
            counts = nr == MARK_ON;
            answer.flags = 0;
            answer.val = counts ? 0 : failed_nr + 1;
            if (counts)
                failed_nr = -1;
        } else if (counts) {
            if (ret->calls < CALLS_MAX)
                ret->nr[ret->calls] = nr;
            ret->calls++;
            bool hit = fault->at == ret->calls || fault->nr == nr;
            if (nr == SYS_mmap && live_shares_process()) { /* it gives up when it has no memory */
                ret->failed += hit;
                hit = false;
            }
            if (hit || is_always(scenario, nr)) {
                answer.flags = 0;
                answer.error = hit ? -fault->err : -EPERM;
                failed_nr = hit ? nr : failed_nr;
                ret->failed += hit;
            }
        }
        (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}

static void run_child(const struct scenario *scenario, const struct fault *fault, struct run *ret)
{
    memset(ret, 0, sizeof *ret);
    struct live_asking child;
    if (live_fork_asking(&child)) {
        live_threads(scenario->threads);
        live_ask(&child);
        child_body(scenario, fault->nr >= 0 || scenario->always[0]);
        live_asked(0);
    }
    if (child.listener >= 0)
        answer_all(child.listener, child.pid, scenario, fault, ret);
    ret->status = live_end_asking(&child, ret->hangs, ret->text, sizeof ret->text);
}

static const char *name_of(int nr)
{
    static const struct {
        int nr;
        const char *name;
    } known[] = {
#define KNOWN(name) {SYS_##name, #name}
        KNOWN(clock_gettime),
        KNOWN(clone),
        KNOWN(close),
        KNOWN(fstat),
        KNOWN(futex),
        KNOWN(getdents64),
        KNOWN(getpid),
        KNOWN(getppid),
        KNOWN(gettid),
        KNOWN(lseek),
        KNOWN(madvise),
        KNOWN(membarrier),
        KNOWN(mmap),
        KNOWN(mprotect),
        KNOWN(munmap),
        KNOWN(nanosleep),
        KNOWN(newfstatat),
        KNOWN(openat),
        KNOWN(pipe2),
        KNOWN(prctl),
        KNOWN(pread64),
        KNOWN(process_vm_readv),
        KNOWN(ptrace),
        KNOWN(pwrite64),
        KNOWN(read),
        KNOWN(readlinkat),
        KNOWN(rt_sigaction),
        KNOWN(rt_sigprocmask),
        KNOWN(rt_sigtimedwait),
        KNOWN(tgkill),
        KNOWN(sched_getattr),
        KNOWN(sched_setattr),
        KNOWN(sched_setscheduler),
        KNOWN(wait4),
        KNOWN(waitid),
        KNOWN(write),
#undef KNOWN
    };
    static char number[32];
    for (size_t i = 0; i < LIVE_COUNT(known); i++)
        if (known[i].nr == nr)
            return known[i].name;
    snprintf(number, sizeof number, "system call %d", nr);
    return number;
}

/* Says what is wrong with a run; false when nothing is. */
static bool is_bad(const char *what, const struct fault *fault, int nr, const struct run *run)
{
    bool crashed = WIFSIGNALED(run->status);
    if (!run->hangs && !crashed && WEXITSTATUS(run->status) == 0)
        return false;
    printf("# %s %s fails with %s: ", what, name_of(nr), strerrorname_np(fault->err));
    if (run->hangs)
        printf("hangs\n");
    else if (crashed)
        printf("killed by signal %d\n", WTERMSIG(run->status));
    else
        printf("%s", *run->text ? run->text : "exit status not 0\n");
    return true;
}

static struct run clean, now_run;
static size_t bad, runs;

/* How many calls there are, when nothing fails. */
static void run_clean(const struct scenario *scenario)
{
    const struct fault none = {0, -1, 0};
    run_child(scenario, &none, &clean);
    if (is_bad("nothing:", &none, -1, &clean))
        live_fail(__FILE__, __LINE__, "fails by itself");
    CHECK(clean.calls > 20 && clean.calls < CALLS_MAX);
}

/* Whether call number `at` of a clean run, from 1, is amid the same calls as at least two before it: what is
 * done for each thread, or each mapping. */
static bool is_like_others(size_t at)
{
    enum { AROUND = 2, ENOUGH = 2 };
    size_t alike = 0;
    for (size_t other = AROUND + 1; at > AROUND && at + AROUND <= clean.calls && other < at; other++) {
        size_t i = 0;
        while (i <= 2 * AROUND && clean.nr[other - 1 - AROUND + i] == clean.nr[at - 1 - AROUND + i])
            i++;
        alike += i > 2 * AROUND;
    }
    return alike >= ENOUGH;
}

/* For each call of a clean run: it, and only it, fails. Other threads make the number vary a little, hence
 * on until none is hit any more. */
__attribute__((unused)) static void fail_each_once(const struct scenario *scenario)
{
    bool all = getenv("LIVE_ALL") != NULL;
    run_clean(scenario);
    bool hit = true;
    for (size_t at = 1; hit && at < CALLS_MAX; at++) {
        if (!all && is_like_others(at))
            continue;
        for (size_t i = 0; i < (all ? LIVE_COUNT(errors) : 1); i++) {
            struct fault fault = {at, -1, errors[(at + i) % LIVE_COUNT(errors)]};
            run_child(scenario, &fault, &now_run);
            runs++;
            hit = now_run.failed > 0;
            char what[64];
            snprintf(what, sizeof what, "call %zu of %zu:", at, clean.calls);
            bad += is_bad(what, &fault, now_run.nr[at - 1], &now_run);
        }
    }
}

/* For each kind of call in a clean run: all of them fail. */
__attribute__((unused)) static void fail_each_always(const struct scenario *scenario)
{
    run_clean(scenario);
    for (size_t at = 0; at < clean.calls; at++) {
        bool is_first = true;
        for (size_t before = 0; before < at; before++)
            is_first = is_first && clean.nr[before] != clean.nr[at];
        for (size_t i = 0; is_first && i < LIVE_COUNT(errors); i++) {
            struct fault fault = {0, clean.nr[at], errors[i]};
            run_child(scenario, &fault, &now_run);
            runs++;
            bad += is_bad("every", &fault, clean.nr[at], &now_run);
        }
    }
}

static void conclude(void)
{
    if (bad)
        live_fail(__FILE__, __LINE__, "%zu of %zu runs are bad", bad, runs);
    CHECK(runs > 20);
}

#define SCENARIO(name, test, ...)                              \
    static void name(void)                                     \
    {                                                          \
        static const struct scenario scenario = {__VA_ARGS__}; \
        test(&scenario);                                       \
        conclude();                                            \
    }

#endif
