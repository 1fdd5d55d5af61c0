/* SPDX-License-Identifier: MIT
 *
 * All or nothing: whatever fails, and whenever, a commit that is refused leaves everything as it was, and
 * can be repeated.
 *
 * Each batch is carried out again and again in a new program. Operation number 1 of the system fails, then
 * number 2, until none does, once for each errno value (big batches: with one value after the other); then
 * the same with the source of pages.
 */

/* Every piece of memory is asked for by itself, so that each can be refused. In a test program the
 * archive's own arena.c is then not linked. */
#define RDF_ARENA_CHUNK_BYTES 16
#include "base/arena.c"

#include "support/program.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- batches ---- */

typedef void make_batch(struct program *program, struct batch *batch, int count);

struct scenario {
    const char *name;
    make_batch *before;   /* what was there already; null: nothing */
    make_batch *restored; /* … and was then taken off again */
    make_batch *batch;
};

static void redefine_all(struct program *program, struct batch *batch, int count)
{
    for (int i = 0; i < count; i++)
        batch_redefine(program, batch, i, i, 0);
}

static void restore_all(struct program *program, struct batch *batch, int count)
{
    for (int i = 0; i < count; i++)
        batch_restore(program, batch, i, 0);
}

static void redefine_even(struct program *program, struct batch *batch, int count)
{
    for (int i = 0; i < count; i += 2)
        batch_redefine(program, batch, i, i, 0);
}

/* What is redefined comes off and the other way round; a few functions beyond are touched too. */
static void toggle(struct program *program, struct batch *batch, int count)
{
    for (int i = 0; i < count; i++)
        if (i % 2)
            batch_redefine(program, batch, i, i + 1, 0);
        else
            batch_restore(program, batch, i, 0);
}

static void replace_all(struct program *program, struct batch *batch, int count)
{
    for (int i = 0; i < count; i++)
        batch_redefine(program, batch, i, i + 1, 0);
}

static void stack_two(struct program *program, struct batch *batch, int count)
{
    for (int i = 0; i < count; i++) {
        batch_redefine(program, batch, i, i, 1);
        batch_redefine(program, batch, i, i + 2, i % 2 ? 0 : 3);
    }
}

/* One function each: an owner more, one less, another replacement below, all of them off. */
static void shuffle_layers(struct program *program, struct batch *batch, int count)
{
    for (int i = 0; i < count; i++)
        switch (i % 4) {
        case 0: batch_redefine(program, batch, i, i + 3, 2); break;
        case 1: batch_restore(program, batch, i, 1); break;
        case 2: batch_redefine(program, batch, i, i + 4, 1); break;
        default:
            batch_restore(program, batch, i, 1);
            batch_restore(program, batch, i, 0);
            break;
        }
}

static void take_off_top(struct program *program, struct batch *batch, int count)
{
    for (int i = 0; i < count; i++)
        batch_restore(program, batch, i, i % 2 ? 0 : 3);
}

/* Under another name, the first four at least: IFUNCs, whose addresses the registry learns. Each has its
 * own answer only while there is one of them, so only the first. */
static void through_alias(struct program *program, struct batch *batch, int count)
{
    program->os->resolver_answer = program->target[0];
    redefine_all(program, batch, count);
    batch->change[0].target = program->alias[0];
}

static void nothing(struct program *program, struct batch *batch, int count)
{
    (void)program, (void)batch, (void)count;
}

static const struct scenario scenario[] = {
    {"redefine", NULL, NULL, redefine_all},
    {"restore", redefine_all, NULL, restore_all},
    {"mixed", redefine_even, NULL, toggle},
    {"replace the replacement", redefine_all, NULL, replace_all},
    {"layers on new functions", NULL, NULL, stack_two},
    {"layers on layers", stack_two, NULL, shuffle_layers},
    {"the top layer off", stack_two, NULL, take_off_top},
    {"once more", redefine_all, restore_all, redefine_all},
    {"once more beside others", redefine_all, toggle, replace_all},
    {"through an alias", NULL, NULL, through_alias},
    {"restore what is not redefined", NULL, NULL, restore_all},
    {"nothing at all", redefine_all, NULL, nothing},
};

/* What the system allows. */
struct setting {
    const char *name;
    size_t threads;
    bool no_tracer, no_self_mem;
    size_t counts; /* how many of `counts`: where settings differ little, the big batch is tried in one of
                      them */
    bool with_pages;
    bool no_views;
    unsigned ops; /* bit per memory_op that is made to fail; 0: all */
};

static const struct setting setting[] = {
    {"alone", 0, false, false, 3, true, false, 0},
    {"alone, mprotect only", 0, false, true, 3, false, false, 0},
    {"with threads", 3, false, false, 2, false, false, 0},
    {"with threads, mprotect only", 3, true, true, 3, false, false, 0},
    /* As in another process. */
    {"without views, reading", 3, false, false, 2, false, true, 1u << MEMORY_READ},
};

static void use_setting(struct program *program, const struct setting *s)
{
    struct memory_os *os = program->os;
    os->no_views = s->no_views;
    if (s->no_tracer)
        os->denied[MEMORY_WRITE + RDF_WRITE_TRACER_MEM] = os->denied[MEMORY_WRITE + RDF_WRITE_TRACER_POKE] =
            EIO;
    if (s->no_self_mem)
        os->denied[MEMORY_WRITE + RDF_WRITE_SELF_MEM] = EPERM;
    for (size_t i = 0; i < s->threads; i++)
        (void)memory_os_add_thread(os, program->replacement[i]);
}

static struct program *prepare(const struct scenario *s, const struct setting *how, int count, bool of_pages)
{
    struct program *program = (of_pages ? program_new_forgetful : program_new)(&rdf_arch_x86_64);
    use_setting(program, how);
    make_batch *const steps[] = {s->before, s->restored};
    for (size_t i = 0; i < 2; i++) {
        struct batch batch = {.count = 0};
        if (steps[i])
            steps[i](program, &batch, count);
        if (batch.count && program_commit(program, &batch) != REDEFINE_OK)
            fail_msg("%s, preparing: %s", s->name, program->err.sentence);
    }
    memory_os_reset(program->os);
    return program;
}

/* ---- one failure ---- */

static size_t tried, refused, carried_out;

struct before {
    struct memory_snapshot *memory;
    char *engine;
};

static struct before remember(const struct program *program)
{
    return (struct before){program_take(program), program_describe(program)};
}

static void check_unchanged(const struct program *program, const struct before *before, const char *what)
{
    const char *difference = memory_os_difference(program->os, before->memory);
    char *engine = program_describe(program);
    if (difference || strcmp(engine, before->engine) != 0) {
        memory_os_print(program->os);
        printf("# before:\n%s# after:\n%s", before->engine, engine);
        fail_msg("%s (%s): %s", what, program->err.sentence,
                 difference ? difference : "the engine's records differ");
    }
    free(engine);
    program_check(program);
}

static void forget(struct before *before)
{
    memory_snapshot_free(before->memory);
    free(before->engine);
}

static bool is_wordy(const char *sentence)
{
    return strlen(sentence) > 20 && strchr(sentence, ' ');
}

/* After a failure: nothing has changed, then the same batch works, then everything comes off. */
static void check_refusal(struct program *program, const struct batch *batch, const struct before *before,
                          redefine_status status, const char *what)
{
    if (status == REDEFINE_EROLLBACK)
        fail_msg("%s: %s", what, program->err.sentence);
    if (!is_wordy(program->err.sentence))
        fail_msg("%s: no sentence: \"%s\"", what, program->err.sentence);
    check_unchanged(program, before, what);
    memory_os_reset(program->os);
    if (program_commit(program, batch) != REDEFINE_OK)
        fail_msg("%s, once more without failure: %s", what, program->err.sentence);
}

static void check_end(struct program *program)
{
    program_check(program);
    struct batch off = {.count = 0};
    batch_restore_everything(program, &off);
    memory_os_reset(program->os);
    if (program_commit(program, &off) != REDEFINE_OK)
        fail_msg("restoring everything: %s", program->err.sentence);
    program_check(program);
    program_check_pristine(program);
}

/* True: the failure came to pass, so there may be a later one. */
static bool try_failure(const struct scenario *s, const struct setting *how, int count, size_t at, int err,
                        bool of_pages)
{
    struct program *program = prepare(s, how, count, of_pages);
    struct batch batch = {.count = 0};
    s->batch(program, &batch, count);
    struct before before = remember(program);
    struct memory_failure failure = {.at = at, .err = err, .ops = how->ops};
    *(of_pages ? &program->os->page_failure : &program->os->failure) = failure;
    redefine_status status = program_commit(program, &batch);
    bool happened = of_pages ? program->os->page_failed : program->os->failed;
    char what[160];
    (void)snprintf(what, sizeof what, "%s, %d changes, %s: %s %zu fails with %d", s->name, count, how->name,
                   of_pages ? "allocation" : "operation", at, err);
    if (status != REDEFINE_OK && !happened)
        fail_msg("%s: %s", what, program->err.sentence);
    if (status != REDEFINE_OK)
        check_refusal(program, &batch, &before, status, what);
    tried += happened;
    refused += happened && status != REDEFINE_OK;
    carried_out += happened && status == REDEFINE_OK; /* another way was found */
    check_end(program);
    forget(&before);
    program_free(program);
    return happened;
}

static const int counts[] = {1, 3, 40};

static void sweep_scenario(const struct scenario *s, const struct setting *how, int count, bool of_pages)
{
    static const int errs[] = {EPERM, ENOMEM, EFAULT, EIO};
    bool one_value = of_pages || count > 3;
    for (size_t i = 0; i < (one_value ? 1 : sizeof errs / sizeof errs[0]); i++)
        for (size_t at = 1; try_failure(s, how, count, at, errs[one_value ? at % 4 : i], of_pages); at++)
            ;
}

static void sweep(const struct setting *how, bool of_pages)
{
    tried = refused = carried_out = 0;
    for (size_t i = 0; i < sizeof scenario / sizeof scenario[0]; i++) {
        /* Symbols that cannot be read are taken as absent (src/image), so an IFUNC for a plain function. */
        if (how->no_views && scenario[i].batch == through_alias)
            continue;
        for (size_t j = 0; j < how->counts; j++)
            sweep_scenario(&scenario[i], how, counts[j], of_pages);
    }
    printf("# %s: %zu failures of %s: %zu refused, %zu got round\n", how->name, tried,
           of_pages ? "the page source" : "the system", refused, carried_out);
    assert_true(refused > 50);
}

static void each_operation_fails(void **state)
{
    const struct setting *how = *state;
    sweep(how, false);
}

static void each_allocation_fails(void **state)
{
    const struct setting *how = *state;
    sweep(how, true);
}

/* ---- when putting back fails too ---- */

/* From operation `at` on every write and every change of protection fails. EROLLBACK exactly when
 * something is not what it was; the sentence says so. */
static bool try_lasting(const struct scenario *s, const struct setting *how, int count, size_t at,
                        unsigned ops, size_t *ret_broken)
{
    struct program *program = prepare(s, how, count, false);
    struct batch batch = {.count = 0};
    s->batch(program, &batch, count);
    struct before before = remember(program);
    program->os->failure = (struct memory_failure){.at = at, .err = EPERM, .lasting = true, .ops = ops};
    redefine_status status = program_commit(program, &batch);
    bool happened = program->os->failed;
    const char *difference = memory_os_difference(program->os, before.memory);
    char what[160];
    (void)snprintf(what, sizeof what, "%s, %d changes, %s: everything fails from %zu on", s->name, count,
                   how->name, at);
    if (status == REDEFINE_EROLLBACK) {
        if (!strstr(program->err.sentence, "COULD NOT BE PUT BACK"))
            fail_msg("%s: the sentence hides it: %s", what, program->err.sentence);
        if (!difference)
            fail_msg("%s: nothing differs, and yet: %s", what, program->err.sentence);
        ++*ret_broken;
    } else if (status != REDEFINE_OK) {
        if (difference)
            memory_os_print(program->os);
        if (difference)
            fail_msg("%s: %s, and yet: %s", what, difference, program->err.sentence);
        check_refusal(program, &batch, &before, status, what);
        check_end(program);
    } else {
        program_check(program);
    }
    tried += happened;
    forget(&before);
    program_free(program);
    return happened;
}

static void undo_fails(void **state)
{
    const struct setting *how = *state;
    /* Chunks come and go by map and unmap, which go on working: what is left behind is then code. */
    unsigned ops = 1u << MEMORY_PROTECT | 1u << MEMORY_SET_PC;
    for (int i = 0; i < RDF_WRITE_METHODS; i++)
        ops |= 1u << (MEMORY_WRITE + i);
    size_t broken = 0;
    tried = 0;
    for (size_t i = 0; i < sizeof scenario / sizeof scenario[0]; i++)
        for (size_t j = 0; j < how->counts; j++)
            for (size_t at = 1; try_lasting(&scenario[i], how, counts[j], at, ops, &broken); at++)
                ;
    printf("# %s: %zu lasting failures, %zu of them left something behind and said so\n", how->name, tried,
           broken);
    assert_true(broken > 0 || how->counts < 3); /* one page is written in one go: nothing to undo */
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    struct CMUnitTest test[12];
    size_t count = 0;
    static char name[12][80];
    for (size_t i = 0; i < sizeof setting / sizeof setting[0]; i++) {
        static const struct {
            const char *name;
            CMUnitTestFunction function;
        } kind[] = {{"each operation fails", each_operation_fails},
                    {"each allocation fails", each_allocation_fails},
                    {"the undo fails", undo_fails}};
        for (size_t j = 0; j < 3; j++) {
            if ((kind[j].function == each_allocation_fails && !setting[i].with_pages) ||
                (kind[j].function == undo_fails && setting[i].ops))
                continue;
            (void)snprintf(name[count], sizeof name[count], "%s: %s", setting[i].name, kind[j].name);
            test[count] = (struct CMUnitTest){.name = name[count],
                                              .test_func = kind[j].function,
                                              .initial_state = (void *)&setting[i]};
            count++;
        }
    }
    return _cmocka_run_group_tests("commit", test, count, NULL, NULL);
}
