/* SPDX-License-Identifier: MIT
 *
 * The contract of <redefine/redefine.h>, call by call, and what each of them refuses.
 */
#include "entries.h"
#include "live.h"

TARGET int add(int a, int b)
{
    __asm__ volatile("");
    return a + b;
}

TARGET int sub(int a, int b)
{
    __asm__ volatile("");
    return a - b;
}

TARGET int twice(int a)
{
    __asm__ volatile("");
    return 2 * a;
}

static int add_more(int a, int b)
{
    return redefine_original(add)(a, b) + 1000;
}

static int add_yet_more(int a, int b)
{
    return redefine_original(add)(a, b) + 5000;
}

static int sub_more(int a, int b)
{
    return redefine_original(sub)(a, b) + 2000;
}

static int twice_more(int a)
{
    return redefine_original(twice)(a) + 3000;
}

/* Through a pointer that the compiler knows nothing of. */
static int (*volatile call_add)(int, int) = add;

static void typed(void)
{
    live_world_take(&live_before);
    CHECK_OK(redefine(add, add_more));
    CHECK_INT(add(1, 2), 1003);
    CHECK_INT(call_add(1, 2), 1003);
    CHECK_INT(redefine_original(add)(1, 2), 3);
    CHECK(redefine_original(add) != add);
    CHECK_OK(redefine_restore(add));
    CHECK_INT(add(1, 2), 3);
    CHECK(redefine_original(add) == add);
    CHECK_WORLD(&live_before, &live_now, false);
}

static void untyped(void)
{
    void *target = (void *)(uintptr_t)add;
    live_world_take(&live_before);
    CHECK(redefine_func_original(target) == target);
    CHECK(redefine_func_replacement(target) == NULL);
    CHECK_OK(redefine_func(target, (void *)(uintptr_t)add_more));
    CHECK_INT(add(1, 2), 1003);
    CHECK(redefine_func_replacement(target) == (void *)(uintptr_t)add_more);
    CHECK_INT(((int (*)(int, int))(uintptr_t)redefine_func_original(target))(1, 2), 3);
    CHECK_OK(redefine_func_restore(target));
    CHECK(redefine_func_original(target) == target);
    CHECK(redefine_func_replacement(target) == NULL);
    CHECK_WORLD(&live_before, &live_now, false);
}

/* A pointer to the original outlives the restore, and a second redefinition. */
static void kept_original(void)
{
    CHECK_OK(redefine(add, add_more));
    int (*kept)(int, int) = redefine_original(add);
    CHECK_OK(redefine_restore(add));
    CHECK_INT(kept(3, 4), 7);
    CHECK_OK(redefine(add, add_yet_more));
    CHECK_INT(kept(3, 4), 7);
    CHECK(redefine_original(add) == kept);
    CHECK_INT(add(3, 4), 5007);
    CHECK_OK(redefine_restore(add));
    CHECK_INT(kept(3, 4), 7);
}

static void replaced_replacement(void)
{
    CHECK_OK(redefine(add, add_more));
    int (*first)(int, int) = redefine_original(add);
    CHECK_OK(redefine(add, add_yet_more));
    CHECK_INT(add(1, 2), 5003);
    CHECK(redefine_original(add) == first);
    CHECK_INT(redefine_original(add)(1, 2), 3);
    CHECK_OK(redefine(add, add_yet_more)); /* the same one again */
    CHECK_INT(add(1, 2), 5003);
    live_world_take(&live_before);
    CHECK_OK(redefine(add, add_more));
    CHECK_WORLD(&live_before, &live_now, true); /* data changed, no code */
    CHECK_INT(add(1, 2), 1003);
    CHECK_OK(redefine_restore(add)); /* one restore takes all of it back */
    CHECK_INT(add(1, 2), 3);
}

static void restore_of_what_is_not_redefined(void)
{
    static int data;
    live_world_take(&live_before);
    CHECK_OK(redefine_restore(add));
    CHECK_OK(redefine_func_restore((void *)(uintptr_t)sub));
    CHECK_OK(redefine_func_restore(&data));
    CHECK_OK(redefine_func_restore((void *)16));
    CHECK_OK(redefine_restore_all());
    CHECK_OK(redefine(add, add_more));
    CHECK_OK(redefine_restore(add));
    CHECK_OK(redefine_restore(add));
    CHECK_OK(redefine_restore_all());
    CHECK_STATUS(redefine_func_restore(NULL), REDEFINE_EINVAL);
    CHECK_INT(add(1, 2), 3);
    CHECK_WORLD(&live_before, &live_now, false);
}

static void restore_all(void)
{
    live_world_take(&live_before);
    CHECK_OK(redefine(add, add_more));
    CHECK_OK(redefine(sub, sub_more));
    CHECK_OK(redefine(twice, twice_more));
    CHECK_INT(add(1, 2) + sub(5, 3) + twice(4), 1003 + 2002 + 3008);
    CHECK_OK(redefine_restore_all());
    CHECK_INT(add(1, 2) + sub(5, 3) + twice(4), 3 + 2 + 8);
    CHECK_WORLD(&live_before, &live_now, false);
}

/* ---- batches ---- */

static void batch(void)
{
    live_world_take(&live_before);
    redefine_batch *all = redefine_batch_new();
    CHECK(all);
    CHECK_OK(redefine_batch_commit(all)); /* empty */
    CHECK_OK(redefine_batch_add(all, ADDRESS(add), ADDRESS(add_more)));
    CHECK_OK(redefine_batch_add(all, ADDRESS(sub), ADDRESS(sub_more)));
    CHECK_OK(redefine_batch_add(all, ADDRESS(twice), ADDRESS(twice_more)));
    CHECK_INT(add(1, 2) + sub(5, 3) + twice(4), 3 + 2 + 8); /* only noted */
    CHECK_OK(redefine_batch_commit(all));
    CHECK_INT(add(1, 2) + sub(5, 3) + twice(4), 1003 + 2002 + 3008);
    /* Empty again: a second commit does nothing, not the same once more. */
    CHECK_OK(redefine_restore(add));
    CHECK_OK(redefine_batch_commit(all));
    CHECK_INT(add(1, 2), 3);
    /* Both kinds in one, and in order. */
    CHECK_OK(redefine_batch_restore(all, ADDRESS(sub)));
    CHECK_OK(redefine_batch_add(all, ADDRESS(add), ADDRESS(add_more)));
    CHECK_OK(redefine_batch_add(all, ADDRESS(add), ADDRESS(add_yet_more)));
    CHECK_OK(redefine_batch_restore(all, ADDRESS(twice)));
    CHECK_OK(redefine_batch_add(all, ADDRESS(twice), ADDRESS(twice_more)));
    CHECK_OK(redefine_batch_commit(all));
    CHECK_INT(add(1, 2), 5003);
    CHECK_INT(sub(5, 3), 2);
    CHECK_INT(twice(4), 3008);
    /* Redefined and restored within one batch: nothing is left. */
    CHECK_OK(redefine_batch_add(all, ADDRESS(sub), ADDRESS(sub_more)));
    CHECK_OK(redefine_batch_restore(all, ADDRESS(sub)));
    CHECK_OK(redefine_batch_commit(all));
    CHECK_INT(sub(5, 3), 2);
    redefine_batch_free(all);
    CHECK_INT(add(1, 2), 5003); /* what was committed stays */
    redefine_batch_free(NULL);
    CHECK_OK(redefine_restore_all());
    CHECK_WORLD(&live_before, &live_now, false);
}

static void batch_refused(void)
{
    static int data;
    redefine_batch *all = redefine_batch_new();
    CHECK(all);
    CHECK_STATUS(redefine_batch_add(NULL, ADDRESS(add), ADDRESS(add_more)), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_batch_add(all, NULL, ADDRESS(add_more)), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_batch_add(all, ADDRESS(add), NULL), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_batch_restore(all, NULL), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_batch_restore(NULL, ADDRESS(add)), REDEFINE_EINVAL);
    CHECK_STATUS(redefine_batch_commit(NULL), REDEFINE_EINVAL);
    CHECK_OK(redefine_batch_commit(all)); /* the nulls were not noted */

    CHECK_OK(redefine(twice, twice_more));
    CHECK_OK(redefine_batch_add(all, ADDRESS(add), ADDRESS(add_more)));
    CHECK_OK(redefine_batch_restore(all, ADDRESS(twice)));
    CHECK_OK(redefine_batch_add(all, &data, ADDRESS(sub_more)));
    for (int round = 0; round < 3; round++) { /* the batch stays as it was */
        live_world_take(&live_before);
        CHECK_STATUS(redefine_batch_commit(all), REDEFINE_EINVAL);
        CHECK_WORLD(&live_before, &live_now, true);
        CHECK_INT(add(1, 2), 3);
        CHECK_INT(twice(4), 3008);
        CHECK(redefine_original(add) == add);
    }
    redefine_batch_free(all);
}

static void big_batch(void)
{
    redefine_batch *all = redefine_batch_new();
    for (int i = 0; i < 10000; i++) {
        CHECK_OK(redefine_batch_add(all, ADDRESS(add), ADDRESS(i % 2 ? add_more : add_yet_more)));
        CHECK_OK(redefine_batch_restore(all, ADDRESS(sub)));
    }
    CHECK_OK(redefine_batch_commit(all));
    CHECK_INT(add(1, 2), 1003);
    redefine_batch_free(all);
}

/* ---- errors ---- */

/* A function whose first bytes hold a long instruction, for addresses inside it. */
int begins_with_long(void);
__asm__(".text\n" FUNCTION(begins_with_long, ENTRY_LONG));

/* As short as can be, between neighbours that leave no padding. */
int too_short(void);
int ENTRY_ABI before_too_short(int);
int ENTRY_ABI after_too_short(int);
__asm__(".text\n" FUNCTION(before_too_short, ENTRY_PLUS_150) FUNCTION(too_short, ENTRY_SHORT)
            FUNCTION(after_too_short, ENTRY_PLUS_150));

static int longer(void)
{
    return redefine_original(too_short)() + 1000;
}

static void refuse(void *target, void *replacement, int wanted)
{
    live_world_take(&live_before);
    CHECK_STATUS(redefine_func(target, replacement), wanted);
    CHECK(*redefine_explain());
    CHECK(!strchr(redefine_explain(), '\n'));
    CHECK_WORLD(&live_before, &live_now, true);
    CHECK_INT(add(1, 2), 3);
}

static void errors(void)
{
    static int data;
    int local = 0;
    refuse(NULL, ADDRESS(add_more), REDEFINE_EINVAL);
    refuse(ADDRESS(add), NULL, REDEFINE_EINVAL);
    refuse(NULL, NULL, REDEFINE_EINVAL);
    refuse(ADDRESS(add), ADDRESS(add), REDEFINE_EINVAL);
    CHECK_SAYS("add");
    refuse(&data, ADDRESS(add_more), REDEFINE_EINVAL);
    CHECK_SAYS("data");
    refuse(&local, ADDRESS(add_more), REDEFINE_EINVAL);
    refuse((void *)(uintptr_t) "constant", ADDRESS(add_more), REDEFINE_EINVAL);
    refuse((void *)16, ADDRESS(add_more), REDEFINE_EINVAL);
    CHECK_SAYS("not mapped");
    refuse((void *)(uintptr_t)UINT64_C(0x7ffffffff000), ADDRESS(add_more), REDEFINE_EINVAL);
    refuse((void *)(uintptr_t)UINTPTR_MAX, ADDRESS(add_more), REDEFINE_EINVAL);
    refuse((void *)(uintptr_t)UINT64_C(0x8000000000000000), ADDRESS(add_more), REDEFINE_EINVAL);
    refuse(ADDRESS(add), &data, REDEFINE_EINVAL);
    refuse(ADDRESS(add), (void *)16, REDEFINE_EINVAL);
    refuse(ADDRESS(add), (char *)ADDRESS(begins_with_long) + 1, REDEFINE_EINVAL);
    CHECK_SAYS("is inside an instruction of begins_with_long");
    refuse((char *)ADDRESS(begins_with_long) + 5, ADDRESS(add_more), REDEFINE_EINVAL);
    CHECK_SAYS("begins_with_long");
    for (int inside = 1; inside < 5; inside++)
        refuse((char *)ADDRESS(begins_with_long) + inside, ADDRESS(add_more), REDEFINE_EINVAL);
    CHECK_SAYS("begins_with_long");
}

/* Whatever the engine makes of it, the neighbours stay as they are. */
static void short_function(void)
{
    live_world_take(&live_before);
    int status = redefine(too_short, longer);
    if (status == REDEFINE_OK) {
        CHECK_INT(too_short(), 1000);
        CHECK_INT(before_too_short(1) + after_too_short(2), 303);
        CHECK_OK(redefine_restore(too_short));
    } else {
        CHECK_STATUS(status, REDEFINE_ESHORT);
        CHECK_SAYS("too_short");
    }
    CHECK_WORLD(&live_before, &live_now, status != REDEFINE_OK);
    CHECK_INT(too_short(), 0);
    CHECK_INT(before_too_short(1) + after_too_short(2), 303);
}

/* Bytes that no table knows: executable, and nobody says how long they are. */
static void code_without_bounds(void)
{
    uint8_t *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    memset(page, 0x90, 64);
    page[64] = 0xc3;
    CHECK(!mprotect(page, 4096, PROT_READ | PROT_EXEC));
    refuse(page, ADDRESS(add_more), REDEFINE_EUNSUPPORTED);
    /* As a replacement it is fine. */
    CHECK_OK(redefine_func(ADDRESS(twice), page));
    CHECK_OK(redefine_restore_all());
}

/* The bytes were changed by someone else: neither restored nor redefined over. */
static void changed_by_someone_else(void)
{
    CHECK_OK(redefine(add, add_more));
    uint8_t was[16];
    memcpy(was, ADDRESS(add), sizeof was);
    uint8_t trap[16];
    memset(trap, 0xcc, sizeof trap);
    CHECK(live_poke(ADDRESS(add), trap, sizeof trap));
    live_world_take(&live_before);
    CHECK_STATUS(redefine_restore(add), REDEFINE_EBUSY);
    CHECK_STATUS(redefine(add, add_yet_more), REDEFINE_EBUSY);
    CHECK_STATUS(redefine_restore_all(), REDEFINE_EBUSY);
    CHECK_WORLD(&live_before, &live_now, true);
    CHECK(live_poke(ADDRESS(add), was, sizeof was));
    CHECK_INT(add(1, 2), 1003);
    CHECK_OK(redefine_restore(add));
    CHECK_INT(add(1, 2), 3);
}

static void strerror_and_explain(void)
{
    CHECK(!strcmp(redefine_explain(), ""));
    for (int status = -1; status < 40; status++) {
        const char *text = redefine_strerror((redefine_status)status);
        CHECK(text && *text);
        for (int other = 0; other < status && status <= REDEFINE_EROLLBACK; other++)
            CHECK(strcmp(text, redefine_strerror((redefine_status)other)) != 0);
    }
    errno = 1234;
    CHECK_STATUS(redefine_func(NULL, NULL), REDEFINE_EINVAL);
    CHECK(*redefine_explain());
    CHECK_OK(redefine(add, add_more));
    CHECK_INT(add(1, 2), 1003);
    CHECK(*redefine_explain()); /* the last failure, not the last call */
    CHECK_OK(redefine_restore(add));
    CHECK_INT(errno, 1234); /* the program's */
}

/* A replacement that asks the library for things while it runs. */
static int restores_itself(int a)
{
    int original = redefine_original(twice)(a);
    CHECK_OK(redefine_restore(twice));
    return original + redefine_original(twice)(a);
}

static void from_inside_a_replacement(void)
{
    CHECK_OK(redefine(twice, restores_itself));
    CHECK_INT(twice(10), 40);
    CHECK_INT(twice(10), 20);
}

static void toggled_often(void)
{
    for (int i = 0; i < 300; i++) {
        CHECK_OK(redefine(add, i % 2 ? add_more : add_yet_more));
        CHECK_INT(add(1, 2), i % 2 ? 1003 : 5003);
        CHECK_OK(redefine_restore(add));
        CHECK_INT(add(1, 2), 3);
        if (i == 10)
            live_world_take(&live_before);
    }
    CHECK_WORLD(&live_before, &live_now, true); /* it does not grow */
}

/* ---- scopes ---- */

static int scoped_return(int leave_early)
{
    REDEFINE_SCOPED(add, add_more);
    if (leave_early)
        return add(1, 2);
    return -add(1, 2);
}

static void scopes(void)
{
    live_world_take(&live_before);
    CHECK_INT(scoped_return(1), 1003);
    CHECK_INT(add(1, 2), 3);
    CHECK_INT(scoped_return(0), -1003);
    CHECK_INT(add(1, 2), 3);
    {
        REDEFINE_SCOPED(add, add_more);
        CHECK_INT(add(1, 2), 1003);
        {
            REDEFINE_SCOPED(add, add_yet_more);
            REDEFINE_SCOPED(sub, sub_more);
            CHECK_INT(add(1, 2), 5003);
            CHECK_INT(sub(3, 1), 2002);
        }
        CHECK_INT(add(1, 2), 1003);
        CHECK_INT(sub(3, 1), 2);
    }
    CHECK_INT(add(1, 2), 3);
    for (int i = 0; i < 3; i++) {
        REDEFINE_SCOPED(add, add_more);
        CHECK_INT(add(1, 2), 1003);
        if (i == 0)
            continue;
        if (i == 1)
            break;
        CHECK(false);
    }
    CHECK_INT(add(1, 2), 3);
    {
        REDEFINE_SCOPED(add, add_more);
        goto out;
    }
out:
    CHECK_INT(add(1, 2), 3);
    /* An outer redefinition that is not a scope is what comes back. */
    CHECK_OK(redefine(add, add_yet_more));
    CHECK_INT(scoped_return(1), 1003);
    CHECK_INT(add(1, 2), 5003);
    CHECK_OK(redefine_restore_all());
    CHECK_WORLD(&live_before, &live_now, false);
}

static void scope_that_cannot_be_entered(void)
{
    static int data;
    int (*no_function)(int) = (int (*)(int))(uintptr_t)&data;
    fflush(NULL);
    pid_t pid = live_fork();
    if (pid == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        REDEFINE_SCOPED(no_function, twice_more);
        _exit(0);
    }
    int status;
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* A child has its own copy: what it changes, the parent does not see, and the other way round. */
static void fork_has_its_own(void)
{
    CHECK_OK(redefine(add, add_more));
    fflush(NULL);
    pid_t pid = live_fork();
    if (pid == 0) {
        CHECK_INT(add(1, 2), 1003);
        CHECK_OK(redefine(add, add_yet_more));
        CHECK_INT(add(1, 2), 5003);
        CHECK_OK(redefine(sub, sub_more));
        CHECK_OK(redefine_restore(add));
        CHECK_INT(add(1, 2), 3);
        _exit(0);
    }
    int status;
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, 0);
    CHECK_INT(add(1, 2), 1003);
    CHECK_INT(sub(5, 3), 2);
    CHECK_OK(redefine(sub, sub_more));
    CHECK_INT(sub(5, 3), 2002);
}

int main(void)
{
    static const struct live_case cases[] = {
        {"typed: redefine, original, restore", typed, 0},
        {"untyped: redefine_func and its kin", untyped, 0},
        {"a kept original stays callable after a restore", kept_original, 0},
        {"a replacement is replaced: the original stays the first", replaced_replacement, 0},
        {"restoring what is not redefined is no error", restore_of_what_is_not_redefined, 0},
        {"restore_all", restore_all, 0},
        {"batches: add, restore, order, reuse", batch, 0},
        {"batches: one refusal, and nothing is changed", batch_refused, 0},
        {"a batch of 20000 changes", big_batch, 0},
        {"errors: nothing is changed", errors, 0},
        {"a function of three bytes without padding", short_function, 0},
        {"code whose bounds nobody knows", code_without_bounds, 0},
        {"bytes that someone else has changed", changed_by_someone_else, 0},
        {"strerror, explain, errno", strerror_and_explain, 0},
        {"a replacement that restores its own target", from_inside_a_replacement, 0},
        {"300 times there and back leaves nothing", toggled_often, 0},
        {"scopes", scopes, 0},
        {"a scope that cannot be entered aborts", scope_that_cannot_be_entered, 0},
        {"a forked child has its own redefinitions", fork_has_its_own, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
