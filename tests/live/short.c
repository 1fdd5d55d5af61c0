/* SPDX-License-Identifier: MIT
 *
 * Entries that other libraries refuse or break: the shortest bodies with a neighbour right behind, with
 * padding, landing pads, sleds, loops back to the entry from near and far. Each is redefined, called, its
 * original called, restored, and the neighbours are called all the while. <cpu>/short_cases.h has them.
 */
#include "live.h"

static int tests, failed;

static void check(int ok, const char *name, const char *what)
{
    tests++;
    failed += !ok;
    printf("%sok %d - %s: %s\n", ok ? "" : "not ", tests, name, what);
    fflush(stdout);
}

struct short_case {
    const char *name;
    int(ENTRY_ABI *function)(int);
    int expected; /* of a call with 5 */
    const char *strategy;
    int(ENTRY_ABI *neighbour)(int);
    int neighbour_expected;
};

#include "short_cases.h"

static int ENTRY_ABI replacement(int argument)
{
    return 1000 + argument;
}

/* A batch that fails leaves signal handlers as they were, also when it had planned the first trap. */
static void check_handlers(void)
{
    void *before = live_trap_handler();
    redefine_batch *batch = redefine_batch_new();
    void *other = (void *)(uintptr_t)replacement;
    redefine_batch_add(batch, (void *)(uintptr_t)crowded1, other);
    redefine_batch_add(batch, (void *)(uintptr_t)no_code, other);
    check(redefine_batch_commit(batch) == REDEFINE_EUNSUPPORTED, "a trap and no code", redefine_explain());
    redefine_batch_free(batch);
    check(before == live_trap_handler(), "a trap and no code", "SIGTRAP is handled as before");
}

#ifdef ENTRY_OF_A_TABLE
/* Its loop would arrive at the replacement: that is said, and nothing is changed. */
static void check_table_to_entry(void)
{
    redefine_status status = redefine(ENTRY_OF_A_TABLE, replacement);
    check(status == REDEFINE_EUNSUPPORTED &&
              strstr(redefine_explain(), "a jump table leads to entry_offsets+0"),
          "a table of offsets to the entry", redefine_explain());
    check(call(ENTRY_OF_A_TABLE, 5) == 12, "a table of offsets to the entry", "it is as it was");
}
#endif

int main(void)
{
    check_handlers();
#ifdef ENTRY_OF_A_TABLE
    check_table_to_entry();
#endif
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *name = cases[i].name;
        unsigned char before[512], after[512];
        memcpy(before, (const void *)near_before, sizeof before);
        check(call(cases[i].function, 5) == cases[i].expected, name, "as it is");
        redefine_status status = redefine(cases[i].function, replacement);
        check(status == REDEFINE_OK, name, status == REDEFINE_OK ? "redefined" : redefine_explain());
        if (status != REDEFINE_OK)
            continue;
        const char *how = redefine_describe((void *)(uintptr_t)cases[i].function);
        check(strncmp(how, cases[i].strategy, strlen(cases[i].strategy)) == 0, name, how);
        check(call(cases[i].function, 5) == 1005, name, "the replacement runs");
        int(ENTRY_ABI * original)(int) = redefine_original(cases[i].function);
        check(call(original, 5) == cases[i].expected, name, "the original computes the same");
        check(call(cases[i].neighbour, 5) == cases[i].neighbour_expected, name, "the neighbour is as it was");
        check(redefine_restore(cases[i].function) == REDEFINE_OK, name, "restored");
        memcpy(after, (const void *)near_before, sizeof after);
        check(memcmp(before, after, sizeof before) == 0, name, "every byte is as before");
        check(call(cases[i].function, 5) == cases[i].expected && call(original, 5) == cases[i].expected, name,
              "it and the kept original work");
    }
    printf("1..%d\n", tests);
    return failed != 0;
}
