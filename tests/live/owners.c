/* SPDX-License-Identifier: MIT
 *
 * Several owners of one function, and redefinitions of what the engine itself might call.
 */
#include "live.h"

#include <pthread.h>

#include "calls.h" /* SYSTEM, VARIADIC, NOTHING, work_the_system: what this system has */

/* ---- Two patches, three layers ---- */

TARGET int target(int x)
{
    return x + 1;
}

TARGET int other(int x)
{
    return x + 2;
}

/* Owners are addresses; none of these lies in an object whose names would be hidden then. */
static char *owner_a, *owner_b;
static void (*original_a)(void), (*original_b)(void);

static int patch_a(int x)
{
    return ((int (*)(int))original_a)(x)*2;
}

static int patch_b(int x)
{
    return ((int (*)(int))original_b)(x) + 100;
}

static int own(int x)
{
    return ((int (*)(int))redefine_func_original(ADDRESS(target)))(x)*1000;
}

static void apply(const void *owner, int (*replacement)(int), void (**original)(void))
{
    struct redefine_patch_change change = {.name = "target",
                                           .replacement = ADDRESS(replacement),
                                           .original = original};
    CHECK_OK(redefine_patch_apply(owner, &change, 1));
    CHECK(change.target == ADDRESS(target));
}

static void make_owners(void)
{
    owner_a = mmap(NULL, 2, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                   0); /* malloc's may be the program's */
    owner_b = owner_a + 1;
}

/* The order of two applications, and of two removals. */
static void two_patches(bool b_first, bool remove_b_first)
{
    make_owners();
    static struct live_world before, now;
    apply(owner_a, patch_a, &original_a); /* mappings of the engine exist from here on */
    CHECK_OK(redefine_patch_remove(owner_a));
    live_world_take(&before);
    CHECK_INT(target(1), 2);
    for (int round = 0; round < 3; round++) {
        if (b_first)
            apply(owner_b, patch_b, &original_b);
        apply(owner_a, patch_a, &original_a);
        if (!b_first)
            apply(owner_b, patch_b, &original_b);
        CHECK_INT(target(1), b_first ? (2 + 100) * 2 : 2 * 2 + 100);
        CHECK_OK(redefine_patch_remove(remove_b_first ? owner_b : owner_a));
        CHECK_INT(target(1), remove_b_first ? 2 * 2 : 2 + 100);
        CHECK_OK(redefine_patch_remove(remove_b_first ? owner_b : owner_a)); /* again: nothing of it */
        CHECK_INT(target(1), remove_b_first ? 2 * 2 : 2 + 100);
        CHECK_OK(redefine_patch_remove(remove_b_first ? owner_a : owner_b));
        CHECK_INT(target(1), 2);
    }
    live_world_take(&now);
    const char *difference = live_world_difference(&before, &now, true);
    CHECK(!difference || live_shares_process());
}

static void first_in_last_out(void)
{
    two_patches(false, true);
}

static void first_in_first_out(void)
{
    two_patches(false, false);
}

static void the_other_first_in_last_out(void)
{
    two_patches(true, false);
}

static void the_other_first_in_first_out(void)
{
    two_patches(true, true);
}

/* Layers a, b and the in-process calls come on in one order and off in any of the six; what each says is
 * compared with a model. */
static int model(const char *layers, int x)
{
    int value = x + 1;
    for (; *layers; layers++)
        value = *layers == 'a' ? value * 2 : *layers == 'b' ? value + 100 : value * 1000;
    return value;
}

static void put_on(char kind)
{
    if (kind == 'a')
        apply(owner_a, patch_a, &original_a);
    else if (kind == 'b')
        apply(owner_b, patch_b, &original_b);
    else
        CHECK_OK(redefine_func(ADDRESS(target), ADDRESS(own)));
}

static void take_off(char kind)
{
    if (kind == 'o')
        CHECK_OK(redefine_func_restore(ADDRESS(target)));
    else
        CHECK_OK(redefine_patch_remove(kind == 'a' ? owner_a : owner_b));
}

static void three_layers_in_every_order(void)
{
    static const char *const orders[] = {"abo", "aob", "bao", "boa", "oab", "oba"};
    make_owners();
    for (size_t on = 0; on < LIVE_COUNT(orders); on++)
        for (size_t off = 0; off < LIVE_COUNT(orders); off++) {
            char layers[4] = "";
            for (int i = 0; i < 3; i++) {
                put_on(orders[on][i]);
                layers[i] = orders[on][i];
                CHECK_INT(target(5), model(layers, 5));
            }
            for (int i = 0; i < 3; i++) {
                take_off(orders[off][i]);
                char *gone = strchr(layers, orders[off][i]);
                memmove(gone, gone + 1, strlen(gone));
                CHECK_INT(target(5), model(layers, 5));
            }
        }
}

static void restore_all_leaves_patches(void)
{
    make_owners();
    apply(owner_a, patch_a, &original_a);
    CHECK_OK(redefine_func(ADDRESS(target), ADDRESS(own)));
    CHECK_OK(redefine_func(ADDRESS(other), ADDRESS(own)));
    CHECK_OK(redefine_restore_all());
    CHECK_INT(target(1), 4);
    CHECK_INT(other(1), 3);
    CHECK_OK(redefine_patch_remove(owner_a));
    CHECK_INT(target(1), 2);
}

static void applied_again_keeps_its_place(void)
{
    make_owners();
    apply(owner_a, patch_a, &original_a);
    apply(owner_b, patch_b, &original_b);
    apply(owner_a, patch_a, &original_a);
    CHECK_INT(target(1), 2 * 2 + 100);
    CHECK_OK(redefine_patch_remove(owner_a));
    CHECK_OK(redefine_patch_remove(owner_b));
    CHECK_INT(target(1), 2);
}

/* ---- What the engine itself might call ---- */

/* Every one of these counts and calls its original. */
#define LIBRARY(X)                                                                \
    X(void *, memcpy, (void *to, const void *from, size_t len), (to, from, len))  \
    X(void *, memmove, (void *to, const void *from, size_t len), (to, from, len)) \
    X(void *, memset, (void *to, int byte, size_t len), (to, byte, len))          \
    X(int, memcmp, (const void *a, const void *b, size_t len), (a, b, len))       \
    X(void *, malloc, (size_t len), (len))                                        \
    X(void, free, (void *memory), (memory))                                       \
    X(void *, calloc, (size_t count, size_t len), (count, len))                   \
    X(void *, realloc, (void *old, size_t len), (old, len))                       \
    X(size_t, strlen, (const char *text), (text))                                 \
    X(int, strcmp, (const char *a, const char *b), (a, b))                        \
    SYSTEM(X)

#define DEFINE(result, name, params, args)  \
    static result(*original_##name) params; \
    static volatile long calls_##name;      \
    static result new_##name params         \
    {                                       \
        calls_##name = calls_##name + 1;    \
        return original_##name args;        \
    }
LIBRARY(DEFINE)

struct library {
    const char *name;
    void *target, *replacement;
    void *original; /* where it is kept: a pointer to a function, seen as one to an object */
    volatile long *calls;
};

#define ROW(result, name, params, args) \
    {#name, ADDRESS(name), ADDRESS(new_##name), (void *)&original_##name, &calls_##name},
static const struct library library[] = {LIBRARY(ROW) VARIADIC(ROW)};

/* Addresses that lie in no object, one for each. */
static const void *owner_of(const struct library *function)
{
    static char *owners;
    if (!owners)
        owners = mmap(NULL, LIVE_COUNT(library), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return owners + (function - library);
}

/* The original must be known before the first call of the replacement, which may come from anywhere. */
static void redefine_library(const struct library *function)
{
    *(void **)function->original = function->target;
    struct redefine_patch_change change = {.name = function->name,
                                           .replacement = function->replacement,
                                           .original = (void (**)(void))function->original};
    redefine_status status = redefine_patch_apply(owner_of(function), &change, 1);
    if (status != REDEFINE_OK)
        live_fail(__FILE__, __LINE__, "%s: %s", function->name, redefine_explain());
}

static int replacement(int x)
{
    return ((int (*)(int))redefine_func_original(ADDRESS(target)))(x) + 40;
}

/* So that each is called at least once. */
static void work_the_library(void)
{
    char text[64];
    void *volatile memory = malloc(10);
    memory = realloc(memory, 1000);
    free(memory);
    memory = calloc(3, 3);
    volatile size_t len = 9;
    memset(memory, 'x', len);
    memcpy(text, memory, len);
    memmove(text + 1, text, len);
    CHECK(memcmp(text, memory, len) == 0);
    text[len] = 0;
    CHECK_INT(strlen(text), len);
    CHECK(strcmp(text, "y") < 0);
    free(memory);
    CHECK(snprintf(text, len * 2, "%d", (int)len) == 1);
    work_the_system();
}

/* Everything that the engine does, while something that it might need is redefined. */
static void work_the_engine(void)
{
    void *found = NULL;
    for (int round = 0; round < LIVE_ROUNDS(3); round++) {
        CHECK_OK(redefine_func(ADDRESS(target), ADDRESS(replacement)));
        CHECK_INT(target(1), 42);
        redefine_batch *batch = redefine_batch_new();
        CHECK_OK(redefine_batch_add(batch, ADDRESS(other), ADDRESS(own)));
        CHECK_OK(redefine_batch_restore(batch, ADDRESS(target)));
        CHECK_OK(redefine_batch_commit(batch));
        redefine_batch_free(batch);
        CHECK_INT(target(1), 2);
        CHECK_OK(redefine_find("target", &found));
        CHECK(found == ADDRESS(target));
        CHECK_STATUS(redefine_find("no_such_function", &found), REDEFINE_ENOTFOUND);
        CHECK_STATUS(redefine_func(ADDRESS(target), ADDRESS(target)), REDEFINE_EINVAL);
        CHECK(strlen(redefine_describe(ADDRESS(target))) > 10);
        CHECK_OK(redefine_restore_all());
        CHECK_INT(other(1), 3);
    }
}

static volatile bool stop;

static void *run_beside(void *unused)
{
    while (!stop) {
        void *volatile memory = malloc(100);
        memset(memory, 0, 100);
        free(memory);
        (void)getpid();
    }
    return unused;
}

static void each_function_of_the_library(bool with_thread)
{
    pthread_t thread;
    if (with_thread)
        CHECK_INT(pthread_create(&thread, NULL, run_beside, NULL), 0);
    for (size_t i = 0; i < LIVE_COUNT(library); i++) {
        redefine_library(&library[i]);
        work_the_engine();
        work_the_library();
        if (*library[i].calls == 0)
            live_fail(__FILE__, __LINE__, "%s was not called", library[i].name);
        if (redefine_patch_remove(owner_of(&library[i])) != REDEFINE_OK)
            live_fail(__FILE__, __LINE__, "%s: %s", library[i].name, redefine_explain());
        long calls = *library[i].calls;
        work_the_engine();
        work_the_library();
        if (*library[i].calls != calls && !with_thread)
            live_fail(__FILE__, __LINE__, "%s still runs its replacement", library[i].name);
    }
    stop = true;
    if (with_thread)
        CHECK_INT(pthread_join(thread, NULL), 0);
}

static void alone(void)
{
    each_function_of_the_library(false);
}

static void beside_a_thread(void)
{
    live_needs_stopped_threads();
    each_function_of_the_library(true);
}

static void all_at_once(void)
{
    for (size_t i = 0; i < LIVE_COUNT(library); i++)
        redefine_library(&library[i]);
    work_the_engine();
    work_the_library();
    for (size_t i = 0; i < LIVE_COUNT(library); i++)
        if (redefine_patch_remove(owner_of(&library[i * 7 % LIVE_COUNT(library)])) != REDEFINE_OK)
            live_fail(__FILE__, __LINE__, "%s: %s", library[i].name, redefine_explain());
    work_the_engine();
    work_the_library();
}

/* By the in-process calls; also all in one batch. While that is made known here, one function after the
 * other, every replacement has an original already: that of a redefinition before, which stays callable. */
static void by_the_calls(void)
{
    for (size_t i = 0; i < LIVE_COUNT(library); i++) {
        *(void **)library[i].original = library[i].target; /* until the next but one line nothing calls it */
        CHECK_OK(redefine_func(library[i].target, library[i].replacement));
        *(void **)library[i].original = redefine_func_original(library[i].target);
        CHECK_OK(redefine_func_restore(library[i].target));
    }
    redefine_batch *batch = redefine_batch_new();
    for (size_t i = 0; i < LIVE_COUNT(library); i++)
        CHECK_OK(redefine_batch_add(batch, library[i].target, library[i].replacement));
    CHECK_OK(redefine_batch_commit(batch));
    redefine_batch_free(batch);
    work_the_library();
    /* Two names of one function (memcpy and memmove): the later replacement is in force. */
    for (size_t i = 0; i < LIVE_COUNT(library); i++)
        if (*library[i].calls == 0 && redefine_func_replacement(library[i].target) == library[i].replacement)
            live_fail(__FILE__, __LINE__, "%s was not called", library[i].name);
    CHECK_OK(redefine_restore_all());
    work_the_library();
}

/* Replacements that do none of their functions' work; the system's are with its calls. */
static void *no_memory(size_t len)
{
    (void)len;
    return NULL;
}

static void *no_copy(void *to, const void *from, size_t len)
{
    (void)from, (void)len;
    return to;
}

static void replacements_that_do_nothing(void)
{
#define NOTHING_ROW(name, replacement) {ADDRESS(name), ADDRESS(replacement)},
    void *const nothing[][2] = {NOTHING_ROW(malloc, no_memory) NOTHING_ROW(memcpy, no_copy)
                                    NOTHING(NOTHING_ROW)};
    for (size_t i = 0; i < LIVE_COUNT(nothing); i++) {
        CHECK_OK(redefine_func(nothing[i][0], nothing[i][1]));
        CHECK_OK(redefine_func(ADDRESS(target), ADDRESS(replacement)));
        CHECK_INT(target(1), 42);
        CHECK_OK(redefine_func_restore(nothing[i][0]));
        CHECK_OK(redefine_func_restore(ADDRESS(target)));
        CHECK_INT(target(1), 2);
    }
    work_the_library();
}

int main(void)
{
    static const struct live_case cases[] = {
        {"two patches: first in, last out", first_in_last_out, 0},
        {"two patches: first in, first out", first_in_first_out, 0},
        {"the other order: first in, last out", the_other_first_in_last_out, 0},
        {"the other order: first in, first out", the_other_first_in_first_out, 0},
        {"two patches and the in-process calls, in every order", three_layers_in_every_order, 0},
        {"redefine_restore_all leaves patches alone", restore_all_leaves_patches, 0},
        {"a patch applied again keeps its place", applied_again_keeps_its_place, 0},
        {"each function that the engine might call", alone, 0},
        {"the same beside a thread that calls them", beside_a_thread, 0},
        {"all of them at once", all_at_once, 0},
        {"by the in-process calls, one by one and in one batch", by_the_calls, 0},
        {"replacements that do none of the work", replacements_that_do_nothing, 0},
    };
    return live_main(cases, LIVE_COUNT(cases));
}
