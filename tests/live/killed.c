/* SPDX-License-Identifier: MIT
 *
 * Somebody kills the helper task that stops the threads and writes: before each of its system calls, in each
 * redefinition and restore of a batch, and between the instructions that publish one. Threads call the
 * functions all the while, and some stand inside the bytes that are overwritten. Whatever the moment, the
 * threads go on, no call gives a wrong result, all is as it was or all is changed, nothing is left traced,
 * and the next attempt works.
 *
 * notify.h tells how we hear of each call; killing is answering a question by SIGKILL.
 */
#include "entries.h"
#include "notify.h"

#include <stdatomic.h>

enum { CALLERS = 2, LIMIT_MS = 20000, CALLS_MAX = 4096 };

/* What a child ends with. */
enum { FINE = 0, ROLLED_BACK = 3 };

/* Each returns 3 * n + 1 and lies in a page of its own, so that no two are written at once. A thread may
 * stand at each of twelve instructions; the same, with an entry in two aligned words; a jump in padding; a
 * branch into the overwritten bytes. */
typedef long target_type(long);
target_type nops, across_words, into_padding, loop_into_window;
/* Adds one to its argument n times: whoever does stands inside the bytes that are overwritten, nearly always.
 */
typedef void lingering_type(atomic_ulong *sum, unsigned n);
lingering_type lingers;
#define PAGE ".p2align 12" ENTRY_PADDING "\n"
__asm__(".section .text.killed, \"ax\", %progbits\n" PAGE FUNCTION(lingers, ENTRY_LINGERS)
            PAGE FUNCTION(nops, ENTRY_NOPS) PAGE ".skip 4" ENTRY_PADDING
                                                 "\n" FUNCTION(across_words, ENTRY_NOPS) PAGE
        ".skip 64" ENTRY_PADDING "\n" FUNCTION(into_padding, ENTRY_SHORT_JUMP("into_padding_body"))
            FUNCTION(into_padding_body, ENTRY_SHORT_SUM) ".skip 24" ENTRY_PADDING
                                                         "\n" PAGE FUNCTION(loop_into_window, ENTRY_LOOP_INTO)
                                                             PAGE ".text\n");

static target_type *const target[] = {nops, across_words, into_padding, loop_into_window};
enum { TARGETS = LIVE_COUNT(target) };
enum { MORE = 1000000 };

static long right(long n)
{
    return 3 * n + 1;
}

static long replacement(long n)
{
    return right(n) + MORE;
}

static void lingers_more(atomic_ulong *sum, unsigned n)
{
    *sum += n + MORE;
}

/* ---- the child ---- */

static atomic_ulong rounds[CALLERS];

static void *calls(void *mine)
{
    while (mine == &rounds[0])
        lingers(mine, 1000);
    for (long n = 0;; n = (n + 1) & 0xfff) {
        for (size_t i = 0; i < TARGETS; i++) {
            long is = target[i](n);
            if (is != right(n) && is != right(n) + MORE)
                live_fail(__FILE__, __LINE__, "function %zu of %ld is %ld", i, n, is);
        }
        (*(atomic_ulong *)mine)++;
    }
    return NULL;
}

static redefine_status change(void)
{
    redefine_batch *batch = redefine_batch_new();
    CHECK(batch != NULL);
    for (size_t i = 0; i < TARGETS; i++)
        CHECK_OK(redefine_batch_add(batch, ADDRESS(target[i]), ADDRESS(replacement)));
    CHECK_OK(redefine_batch_add(batch, ADDRESS(lingers), ADDRESS(lingers_more)));
    redefine_status status = redefine_batch_commit(batch);
    redefine_batch_free(batch);
    return status;
}

static void check_goes_on(void)
{
    CHECK(waitpid(-1, NULL, __WALL) == -1 && errno == ECHILD);
    for (size_t i = 0; i < CALLERS; i++) {
        unsigned long before = rounds[i];
        for (unsigned wait = 0; rounds[i] < before + 2; wait++) {
            CHECK(wait < 10000);
            usleep(1000);
        }
    }
}

static void check_all(bool changed)
{
    atomic_ulong sum = 0;
    lingers(&sum, 3);
    CHECK_INT(sum, changed ? 3 + MORE : 3);
    for (size_t i = 0; i < TARGETS; i++) {
        CHECK_INT(target[i](5), right(5) + (changed ? MORE : 0));
        target_type *original = redefine_original(target[i]);
        CHECK_INT(original(7), right(7));
        CHECK((original == target[i]) == !changed);
    }
}

/* Under fire, and once more if it was refused. */
static void act(redefine_status (*what)(void), bool to_changed, const struct live_world *before)
{
    static struct live_world now;
    syscall(MARK_ON);
    redefine_status status = what();
    syscall(MARK_OFF);
    check_goes_on();
    if (status == REDEFINE_EROLLBACK) {
        CHECK_SAYS("COULD NOT BE PUT BACK");
        fflush(NULL);
        _exit(ROLLED_BACK);
    }
    if (status != REDEFINE_OK) {
        if (status != REDEFINE_EBUSY && status != REDEFINE_EDENIED)
            live_fail(__FILE__, __LINE__, "%s", redefine_explain());
        CHECK_SAYS("nothing ");
        check_all(!to_changed);
        CHECK_WORLD(before, &now, false);
        CHECK_OK(what());
    }
    check_all(to_changed);
    check_goes_on();
}

static void child_body(void)
{
    static struct live_world pristine, changed;
    check_goes_on();
    live_world_take(&pristine);
    act(change, true, &pristine);
    live_world_take(&changed);
    act(redefine_restore_all, false, &changed);
    CHECK_WORLD(&pristine, &changed, false);
}

/* ---- the parent ---- */

/* The helper of the nth part (0: change, 1: restore) is killed before call number `at`, from 1, of those of
 * all helpers, for the first may have found a thread in the way; with `steps`, so many instructions behind
 * it. With `again` each later helper of the part is, too. */
struct shot {
    size_t part, at;
    int only; /* of all calls only this one is counted; -1: each */
    size_t steps;
    bool again;
};

struct run {
    size_t calls[2]; /* of helpers, in each part */
    int nr[2][CALLS_MAX];
    bool hit;
    bool missed; /* the helper made its next call before so many instructions */
    bool hangs;
    int status;
    char text[2048];
};

/* One instruction further. False: it asks about its next call instead. */
static bool step(int listener, pid_t helper)
{
    int status;
    if (ptrace(PTRACE_SINGLESTEP, helper, 0, 0))
        live_skip("PTRACE_SINGLESTEP: %s", strerror(errno));
    struct pollfd asks = {listener, POLLIN, 0};
    while (waitpid(helper, &status, __WALL | WNOHANG) == 0)
        if (poll(&asks, 1, 0) == 1)
            return false;
    return true;
}

/* Lets it go on from the call that it asks about, so many instructions far, and kills it. Being traced
 * interrupts the call: it asks once more. */
static void step_and_kill(int listener, pid_t helper, size_t steps, struct run *ret)
{
    int status;
    struct seccomp_notif question;
    memset(&question, 0, sizeof question);
    CHECK(!ptrace(PTRACE_SEIZE, helper, 0, 0) && !ptrace(PTRACE_INTERRUPT, helper, 0, 0));
    CHECK(waitpid(helper, &status, __WALL) == helper && WIFSTOPPED(status));
    while (step(listener, helper))
        ;
    CHECK(!ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &question));
    struct seccomp_notif_resp answer = {.id = question.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    CHECK(!ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer));
    CHECK(waitpid(helper, &status, __WALL) == helper && WIFSTOPPED(status));
    for (size_t i = 0; i < steps && !ret->missed; i++)
        ret->missed = !step(listener, helper);
    (void)kill(helper, SIGKILL);
    CHECK(waitpid(helper, &status, __WALL) == helper);
}

static void answer_all(int listener, pid_t child, const struct shot *shot, struct run *ret)
{
    size_t part = 0;
    bool counts = false;
    size_t counted = 0;
    pid_t killed = 0;
    for (;;) {
        struct seccomp_notif question;
        enum live_asks asks = live_await_question(listener, child, LIMIT_MS, &question);
        ret->hangs = asks == LIVE_SILENT;
        if (asks != LIVE_ASKS)
            return;
        struct seccomp_notif_resp answer = {.id = question.id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
        int nr = question.data.nr;
        pid_t who = (pid_t)question.pid;
        if (nr == MARK_ON || nr == MARK_OFF) {
            answer.flags = 0;
            part += nr == MARK_OFF;
            counts = nr == MARK_ON && part < 2;
            counted = 0;
        } else if (counts && who != child) {
            if (ret->calls[part] < CALLS_MAX)
                ret->nr[part][ret->calls[part]++] = nr;
            counted += shot->only < 0 || shot->only == nr;
            bool is_meant = shot->at && part == shot->part && who != killed;
            bool is_it = is_meant && !ret->hit && counted == shot->at;
            if (is_it || (is_meant && ret->hit && shot->again && nr == SYS_getppid)) {
                ret->hit = true;
                killed = who;
                if (shot->steps)
                    step_and_kill(listener, who, shot->steps, ret);
                else
                    (void)kill(who, SIGKILL);
                continue;
            }
        }
        (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
    }
}

static void run_child(const struct live_rule *rule, size_t rules, const struct shot *shot, struct run *ret)
{
    memset(ret, 0, sizeof *ret);
    struct live_asking child;
    if (live_fork_asking(&child)) {
        for (size_t i = 0; i < CALLERS; i++) {
            pthread_t thread;
            CHECK(!pthread_create(&thread, NULL, calls, &rounds[i]));
        }
        if (rules)
            live_deny(rule, rules);
        live_ask(&child);
        child_body();
        live_asked(FINE);
    }
    if (child.listener >= 0)
        answer_all(child.listener, child.pid, shot, ret);
    ret->status = live_end_asking(&child, ret->hangs, ret->text, sizeof ret->text);
}

static struct run clean, now_run;
static size_t bad, runs, rolled_back;

static bool is_good(const struct run *run, const struct shot *shot)
{
    bool ended = !run->hangs && WIFEXITED(run->status);
    bool may_stay = ended && WEXITSTATUS(run->status) == ROLLED_BACK && shot->again;
    rolled_back += may_stay;
    if (may_stay || (ended && WEXITSTATUS(run->status) == FINE))
        return true;
    printf("# %s, killed before call %zu (%d), %zu instructions on: ", shot->part ? "restore" : "change",
           shot->at, shot->at ? run->nr[shot->part][shot->at - 1] : 0, shot->steps);
    if (run->hangs)
        printf("hangs\n");
    else if (WIFSIGNALED(run->status))
        printf("ended by signal %d\n", WTERMSIG(run->status));
    else
        printf("%s", *run->text ? run->text : "wrong exit status\n");
    return false;
}

static void shoot(const struct live_rule *rule, size_t rules, const struct shot *shot)
{
    run_child(rule, rules, shot, &now_run);
    runs++;
    bad += !is_good(&now_run, shot);
}

static void conclude(void)
{
    printf("%zu runs, in %zu of them bytes could not be put back\n", runs, rolled_back);
    if (bad)
        live_fail(__FILE__, __LINE__, "%zu of %zu runs are bad", bad, runs);
    CHECK(runs > 20 / test_slowdown());
}

/* At each call of a clean run, or every so many of them, and on until there is none any more. LIVE_ALL=1:
 * each. */
static void kill_at_each_call(const struct live_rule *rule, size_t rules, bool again, size_t stride)
{
    live_needs_stopped_threads();
    stride = getenv("LIVE_ALL") ? 1 : stride * test_slowdown();
    for (size_t part = 0; part < 2; part++) {
        size_t misses = 0; /* one run has a few calls more than another */
        for (size_t at = 1; misses < 3 && bad < 5; at += stride) {
            const struct shot shot = {part, at, -1, 0, again};
            shoot(rule, rules, &shot);
            misses = now_run.hit ? 0 : misses + 1;
        }
    }
    conclude();
}

static void each_call(void)
{
    kill_at_each_call(NULL, 0, false, 1);
}

static void each_call_poke(void)
{
    static const struct live_rule rules[] = {DENY(pwrite64, EPERM)};
    kill_at_each_call(rules, LIVE_COUNT(rules), false, 5);
}

/* Then nobody can put anything back: that is said, and the process goes on. */
static void each_helper(void)
{
    kill_at_each_call(NULL, 0, true, 5);
}

/* The last call before the threads are let go is behind the last write: from there on, it publishes. */
static void each_instruction(void)
{
    live_needs_stopped_threads();
    const size_t stride = getenv("LIVE_ALL") ? 1 : 11 * test_slowdown();
    const struct shot none = {0};
    run_child(NULL, 0, &none, &clean);
    CHECK(is_good(&clean, &none));
    for (size_t part = 0; part < 2; part++) {
        size_t last = 0; /* which of them */
        for (size_t i = 0; i < clean.calls[part]; i++)
            last += clean.nr[part][i] == SYS_membarrier;
        CHECK(last > 0);
        now_run.missed = false;
        for (size_t steps = 1; !now_run.missed && bad < 5; steps += stride) {
            const struct shot shot = {part, last, SYS_membarrier, steps, false};
            shoot(NULL, 0, &shot);
        }
        printf("%zu runs until then\n", runs);
    }
    conclude();
}

int main(void)
{
    enum { LIMIT_S = 600 };
    static const struct live_case cases[] = {
        {"the helper is killed before each of its calls", each_call, LIMIT_S},
        {"the same where it writes by POKETEXT", each_call_poke, LIMIT_S},
        {"every helper is killed", each_helper, LIMIT_S},
        {"the helper is killed while it publishes", each_instruction, LIMIT_S},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
