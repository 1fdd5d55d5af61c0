/* SPDX-License-Identifier: MIT */
#include "errand.h"

#include "cli.h"
#include "safeplace.h"
#include "target.h"

#include "base/progress.h"
#include "os/borrow.h"
#include "os/clock.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    BORROW_MS = 5000,    /* for a thread that stands where it can be borrowed */
    STOP_MS = 5000,      /* for one thread to stop, beside others that are busy */
    PATIENCE_MS = 10000, /* without any progress of the errand */
    PAUSE_MS = 2,
    WAITS_TOLD = 3,
    CODES_MAX = 16,
};

struct errand {
    const struct cli_process *process;
    const char *what;
    struct cli_target target;
    struct rdf_borrow_code code[CODES_MAX];
    struct rdf_borrow_order order;
    uint64_t addr; /* of the record */
    int kept_tid;
    char waits[512]; /* what threads did when they were looked at the last time */
    size_t waits_told;
};

static void pause_ms(unsigned ms)
{
    const struct timespec time = {ms / 1000, (long)(ms % 1000) * 1000000};
    (void)nanosleep(&time, NULL);
}

/* ---- What the code of the errand calls ---- */

/* Since glibc 2.34 all of it is in one object. */
static bool find_functions(struct errand *errand)
{
    static const char *const objects[] = {"libc.so.6", "libdl.so.2", "libpthread.so.0"};
    static const char *const names[RDF_ERRAND_FUNCTIONS] = {
        [RDF_ERRAND_ERRNO] = "__errno_location",
        [RDF_ERRAND_ATTR_INIT] = "pthread_attr_init",
        [RDF_ERRAND_ATTR_STACK] = "pthread_attr_setstacksize",
        [RDF_ERRAND_CREATE] = "pthread_create",
        [RDF_ERRAND_DETACH] = "pthread_detach",
        [RDF_ERRAND_DLOPEN] = "dlopen",
        [RDF_ERRAND_DLSYM] = "dlsym",
        [RDF_ERRAND_DLERROR] = "dlerror",
    };
    struct rdf_error ignored = {0};
    for (size_t i = 0; i < RDF_ERRAND_FUNCTIONS; i++) {
        bool found = false;
        for (size_t at = 0; !found && at < sizeof objects / sizeof objects[0]; at++) {
            char name[64];
            (void)snprintf(name, sizeof name, "%s!%s", objects[at], names[i]);
            found = rdf_images_find(&errand->target.images, name, &errand->order.function[i], &ignored) ==
                    REDEFINE_OK;
        }
        if (!found)
            return cli_process_fail(
                errand->process,
                "has no %s of glibc: the agent and the patches are built for the C library "
                "of this system and cannot be loaded there; nothing was changed",
                names[i]);
    }
    return true;
}

/* What it did not see being made has nothing of what it keeps for each thread. */
static bool has_no_thread_sanitizer(struct errand *errand)
{
    struct rdf_error ignored = {0};
    uint64_t found;
    if (rdf_images_find(&errand->target.images, "__tsan_init", &found, &ignored) == REDEFINE_ENOTFOUND)
        return true;
    return cli_process_fail(errand->process,
                            "was built with ThreadSanitizer, in which a thread that it did not make itself "
                            "crashes; nothing was changed");
}

static void add_code(void *ctx, uint64_t start, uint64_t end)
{
    struct errand *errand = ctx;
    if (errand->order.code_count < CODES_MAX)
        errand->code[errand->order.code_count++] = (struct rdf_borrow_code){start, end};
}

static bool look_at(struct errand *errand)
{
    if (!cli_target_open_process(errand->process->pid, &errand->target) || !find_functions(errand) ||
        !has_no_thread_sanitizer(errand))
        return false;
    struct rdf_images *images = &errand->target.images;
    struct rdf_image *libc = rdf_images_at(images, errand->order.function[RDF_ERRAND_ERRNO]);
    errand->order.code = errand->code;
    rdf_image_each_code(images, libc, add_code, errand);
    return true;
}

/* ---- Borrowing ---- */

static void note_wait(struct errand *errand, int tid, const char *why)
{
    size_t used = strlen(errand->waits);
    if (errand->waits_told++ < WAITS_TOLD)
        (void)snprintf(errand->waits + used, sizeof errand->waits - used, "%sthread %d %s", used ? ", " : "",
                       tid, why);
}

/* In a sleep that nothing interrupts (the parent of a vfork) it would not stop, and once seized not be let go
 * either. A filter may end it, or all, for the calls that a new thread takes. */
static const char *why_not_to_be_stopped(pid_t pid, int tid)
{
    char state[32];
    uint64_t tracer = 0;
    if (!cli_process_status_text(pid, tid, "State:", state, sizeof state) || state[0] == 'Z' ||
        state[0] == 'X')
        return "has ended";
    if (state[0] == 'D')
        return "is in a sleep that nothing interrupts, as is one that waits for what it started by vfork";
    if (cli_process_status(pid, tid, "TracerPid:", 10, &tracer) && tracer)
        return "is traced by another process";
    /* Of the main thread's it has been asked already. */
    uint64_t own = cli_process_filters(getpid(), getpid()), leader = cli_process_filters(pid, pid);
    if (cli_process_filters(pid, tid) > (own > leader ? own : leader))
        return "is under a seccomp filter of its own";
    return NULL;
}

enum tried { NOT_THERE, SENT, FAILED };

static enum tried say_failure(const struct errand *errand, const char *step, int err)
{
    cli_say("process %d (%s): a thread of it could not be brought to %s: %s; it goes on as before, and "
            "nothing was changed",
            (int)errand->process->pid, errand->process->name, step, strerror(-err));
    return FAILED;
}

static enum tried try_thread(struct errand *errand, struct cli_places *places, int tid)
{
    struct rdf_borrowed *borrowed;
    const char *why = why_not_to_be_stopped(errand->process->pid, tid), *step = "";
    if (why) {
        note_wait(errand, tid, why);
        return NOT_THERE;
    }
    int err = rdf_borrow(errand->process->pid, tid, STOP_MS, &borrowed);
    if (err == -ESRCH)
        return NOT_THERE;
    if (err == -EPERM && (why = why_not_to_be_stopped(errand->process->pid, tid)) != NULL) {
        note_wait(errand, tid, why); /* which came just now */
        return NOT_THERE;
    }
    if (err)
        return say_failure(errand, "a stop", err);
    struct rdf_borrow_place place = rdf_borrow_place(borrowed);
    if (!cli_places_are_safe(places, tid, &place, &errand->order.stack_start, &why)) {
        note_wait(errand, tid, why);
        (void)rdf_borrow_give_back(borrowed);
        return NOT_THERE;
    }
    errand->order.keep_thread = place.is_group_stopped;
    err = rdf_borrow_send(borrowed, &errand->order, &errand->addr, &errand->kept_tid, &step);
    int gone = rdf_borrow_give_back(borrowed);
    if (err || gone)
        return say_failure(errand, err ? step : "where it was", err ? err : gone);
    return SENT;
}

static enum tried try_all(struct errand *errand)
{
    char path[64];
    enum tried tried = NOT_THERE;
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)errand->process->pid);
    struct cli_places *places = cli_places_new(&errand->target, errand->process->pid);
    DIR *tasks = places ? opendir(path) : NULL;
    errand->waits[0] = '\0';
    errand->waits_told = 0;
    for (struct dirent *entry; tasks && tried == NOT_THERE && (entry = readdir(tasks)) != NULL;)
        if (entry->d_name[0] != '.')
            tried = try_thread(errand, places, atoi(entry->d_name));
    if (tasks)
        closedir(tasks);
    cli_places_free(places);
    return tried;
}

static bool send(struct errand *errand)
{
    uint64_t begun_ms = rdf_now_ms();
    unsigned tries = 0;
    for (unsigned nap_ms = 1; rdf_now_ms() - begun_ms < BORROW_MS; nap_ms = nap_ms < 50 ? nap_ms * 2 : 50) {
        enum tried tried = try_all(errand);
        if (tried != NOT_THERE) {
            rdf_progress("", 1, 1);
            return tried == SENT;
        }
        rdf_progress("waiting for a thread that can be borrowed, tries", ++tries, 0);
        pause_ms(nap_ms);
    }
    rdf_progress("", 1, 1);
    if (errand->waits_told == 0)
        return cli_process_fail(errand->process, "has ended");
    return cli_process_fail(errand->process,
                            "has no thread that can be borrowed for a moment: %s%s; nothing was changed; try "
                            "again when it does something else",
                            errand->waits, errand->waits_told > WAITS_TOLD ? ", …" : "");
}

/* ---- Waiting ---- */

#define READ_FIELD(errand, field, ret)                                                                   \
    cli_process_read((errand)->process->pid, (errand)->addr + offsetof(struct rdf_errand, field), (ret), \
                     sizeof *(ret))

static bool set(const struct errand *errand, size_t offset)
{
    const uint32_t on = 1;
    return cli_process_write(errand->process->pid, errand->addr + offset, &on, sizeof on);
}

/* What keeps it, as far as its stage tells. */
static bool fail_overdue(const struct errand *errand, uint32_t stage)
{
    char step[RDF_ERRAND_STEP_BYTES] = "", state[32];
    const char *doing = step, *why;
    uint32_t applying = 0;
    pid_t pid = errand->process->pid;
    (void)set(errand, offsetof(struct rdf_errand, cancelled));
    (void)READ_FIELD(errand, applying, &applying);
    (void)READ_FIELD(errand, step, &step);
    step[sizeof step - 1] = '\0';
    if (applying)
        return cli_process_fail(
            errand->process,
            "has been %s for %d s and is still at it: it runs on; redefine status %d tells what came of it",
            step, PATIENCE_MS / 1000, (int)pid);
    if (cli_process_status_text(pid, pid, "State:", state, sizeof state) && state[0] == 'T')
        return cli_process_fail(errand->process,
                                "was stopped in the middle of it: nothing was changed, nor will be when "
                                "it goes on");
    if (stage < RDF_ERRAND_LOADING) {
        doing = "beginning";
        why = "the thread that was made for it does not come to its work, as where the process is frozen";
    } else if (stage == RDF_ERRAND_LOADING) {
        doing = "loading the agent";
        why = "another thread holds the loader's lock: the process' own dlopen waits, and all else of it "
              "runs on";
    } else if (!*step) {
        doing = "waiting for another redefine";
        why = "that does not come to an end, and the process runs on";
    } else {
        why = "what is loaded does not come back from its constructors, or another thread holds the loader's "
              "lock: the process' own dlopen waits, and all else of it runs on";
    }
    return cli_process_fail(errand->process,
                            "has been %s for %d s: %s; nothing was changed, nor will be when it goes on; "
                            "until then a thread more is in it",
                            doing, PATIENCE_MS / 1000, why);
}

/* Until it is done, or nothing has moved for too long, or the process has ended. */
static bool await(const struct errand *errand, uint32_t *ret_stage)
{
    uint64_t moved_ms = rdf_now_ms(), before = 0;
    for (;;) {
        uint64_t done = 0, total = 0;
        if (errand->kept_tid)
            (void)rdf_borrow_drive(errand->kept_tid);
        if (!READ_FIELD(errand, stage, ret_stage) || !READ_FIELD(errand, done, &done) ||
            !READ_FIELD(errand, total, &total))
            return cli_process_fail(errand->process,
                                    "has ended, or become another program, before it was done");
        if (*ret_stage >= RDF_ERRAND_DONE)
            return true;
        rdf_progress(errand->what, (size_t)done, (size_t)(total > done ? total : 0));
        if (done + *ret_stage != before)
            moved_ms = rdf_now_ms();
        before = done + *ret_stage;
        if (rdf_now_ms() - moved_ms > PATIENCE_MS)
            return fail_overdue(errand, *ret_stage);
        pause_ms(PAUSE_MS);
    }
}

static void say_answer(const struct errand *errand, uint32_t stage)
{
    static char answer[RDF_ERRAND_ANSWER_BYTES];
    char *rest = NULL;
    if (!READ_FIELD(errand, answer, &answer))
        return;
    answer[sizeof answer - 1] = '\0';
    if (stage == RDF_ERRAND_FAILED) {
        cli_say("the agent does not load in process %d (%s): %s; nothing was changed",
                (int)errand->process->pid, errand->process->name, answer);
        return;
    }
    for (char *line = strtok_r(answer, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        cli_say("%s", line);
}

/* The thread that was kept would stop again with all the others before it has cleaned up. */
static void see_off(const struct errand *errand)
{
    enum { LONG_MS = 2000 };
    uint64_t begun_ms = rdf_now_ms();
    while (errand->kept_tid && rdf_borrow_drive(errand->kept_tid) && rdf_now_ms() - begun_ms < LONG_MS)
        pause_ms(1);
}

static bool carry_out(const struct errand *errand)
{
    uint32_t stage = RDF_ERRAND_SENT;
    int32_t status = 1;
    (void)set(errand, offsetof(struct rdf_errand, go));
    bool is_done = await(errand, &stage);
    rdf_progress(errand->what, 1, 1);
    if (!is_done) {
        (void)set(errand, offsetof(struct rdf_errand, read)); /* the thread may go when it can */
        return false;
    }
    bool is_read = READ_FIELD(errand, status, &status);
    say_answer(errand, stage);
    (void)set(errand, offsetof(struct rdf_errand, read));
    see_off(errand);
    return is_read && stage == RDF_ERRAND_DONE && status == 0;
}

bool cli_errand_run(const struct cli_process *process, const char *what, const char *agent,
                    const char *request)
{
    struct errand errand = {.process = process, .what = what};
    errand.order.agent = agent;
    errand.order.entry = "redefine_agent_errand";
    errand.order.request = request;
    if (!rdf_borrow_is_known()) {
        cli_say("a process that runs is changed on x86-64 alone: how a thread is led back from a call that "
                "it did not make is written for that CPU only; start the program with redefine run instead");
        return false;
    }
    bool done = look_at(&errand) && send(&errand) && carry_out(&errand);
    cli_target_close(&errand.target);
    return done;
}
