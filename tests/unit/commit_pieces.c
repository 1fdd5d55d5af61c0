/* SPDX-License-Identifier: MIT
 *
 * Batches so big that pages are written whole, put together before the world stands still: 70 functions in
 * six pages, some of which lie in two. Each operation of the system fails, or all from one on; the task that
 * writes is killed behind each write; writes lie; somebody else writes to a page between planning and
 * stopping. Whatever happens: all is changed, or nothing is.
 */
#include "support/memory_os.h"

#include "core/engine.h"
#include "core/write_parts.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PAGE = 4096, APART = 304, FUNCTIONS = 70, CODE_BYTES = 13, JUMP_BYTES = 5, ATTEMPTS_MAX = 2000 };

/* nop twelve times; ret */
static const uint8_t code[CODE_BYTES] = {[0 ... 11] = 0x90, [12] = 0xc3};
/* xor %eax,%eax; ret: a short jump, and padding elsewhere that holds the long one */
static const uint8_t short_code[] = {0x31, 0xc0, 0xc3};
static const uint8_t padding[PAGE] = {[0 ... PAGE - 1] = 0xcc};

enum kind { REDEFINED, RESTORED, TOGGLED };

struct many {
    struct memory_os *os;
    struct rdf_engine *engine;
    uint64_t addr[FUNCTIONS + 1]; /* the last one is the replacement */
    bool is_changed[FUNCTIONS];
    struct memory_snapshot *pristine;
    struct rdf_error err;
};

struct setting {
    const char *name;
    size_t threads;
    unsigned denied; /* bit per rdf_write_method */
    bool no_stops;
    bool has_short; /* the last one has its jump in padding: no pieces */
    bool may_go;    /* the object is not the program */
};

static const struct setting setting[] = {
    {"alone", 0, 0, false, false, false},
    {"with threads", 2, 0, false, false, false},
    {"with threads, no tracer's writes", 2, 1u << RDF_WRITE_TRACER_MEM | 1u << RDF_WRITE_TRACER_POKE, false,
     false, false},
    {"with threads, by POKETEXT", 2, 1u << RDF_WRITE_TRACER_MEM | 1u << RDF_WRITE_SELF_MEM, false, false,
     false},
    {"with threads, and padding", 2, 0, false, true, false},
    {"with threads, in an object that may go", 2, 0, false, false, true},
    {"no stops", 2, 0, true, false, false}, /* these two last */
    {"no stops, in an object that may go", 2, 0, true, false, true},
};
enum { SETTINGS = sizeof setting / sizeof setting[0] };

/* Where each function is written by itself, hundreds of times the same: one of eleven. */
static size_t next_of(size_t at)
{
    enum { DIFFERENT = 50, STRIDE = 11 };
    return at < DIFFERENT ? at + 1 : at + STRIDE;
}

static struct many *many_new(const struct setting *how)
{
    struct many *many = calloc(1, sizeof *many);
    struct memory_function function[FUNCTIONS + 1] = {0};
    uint64_t at = 0;
    for (size_t i = 0; i <= FUNCTIONS; i++) {
        bool is_short = how->has_short && i == FUNCTIONS - 1;
        function[i] = (struct memory_function){.code = is_short ? short_code : code,
                                               .len_bytes = is_short ? sizeof short_code : CODE_BYTES,
                                               .padding = padding};
        /* Each tenth begins so near the end of a page that its jump lies in both. */
        uint64_t next = at + APART;
        if (i % 10 == 8 && !how->has_short)
            next = (at + CODE_BYTES + JUMP_BYTES + PAGE - 1) / PAGE * PAGE - 1 - i / 10 % 4;
        /* The short one ends with its page, so that its padding lies in the next. */
        if (i == FUNCTIONS - 2 && how->has_short)
            next = (at + CODE_BYTES + PAGE) / PAGE * PAGE - sizeof short_code;
        if (next < at + CODE_BYTES || next - at - CODE_BYTES > sizeof padding)
            next = at + APART;
        /* The short one has its neighbour right behind. */
        function[i].padding_bytes = is_short ? 0 : next - at - CODE_BYTES;
        at = is_short ? at + sizeof short_code : next;
    }
    many->os = memory_os_new();
    if (how->may_go)
        memory_os_add_image(many->os, EM_X86_64, UINT64_C(0x7f0000000000), "/test/program",
                            &(struct memory_function){.code = code, .len_bytes = CODE_BYTES}, 1,
                            &(uint64_t){0});
    memory_os_add_image(many->os, EM_X86_64, UINT64_C(0x7f1000000000), "/test/many", function, FUNCTIONS + 1,
                        many->addr);
    for (size_t i = 0; i < how->threads; i++)
        (void)memory_os_add_thread(many->os, many->addr[FUNCTIONS]);
    for (int i = 0; i < RDF_WRITE_METHODS; i++)
        many->os->denied[MEMORY_WRITE + i] = how->denied & 1u << i ? EPERM : 0;
    many->os->may_be_wx = how->no_stops; /* under running threads, where /proc/self/mem fails */
    if (how->no_stops)
        memory_os_deny_stops(many->os);
    many->engine = calloc(1, sizeof *many->engine);
    rdf_engine_init(many->engine, &many->os->space, &rdf_arch_x86_64, &many->os->pages, &many->os->pages);
    many->pristine = memory_os_take(many->os);
    return many;
}

static void many_free(struct many *many)
{
    rdf_arena_free(&many->engine->registry.arena);
    rdf_snapshot_drop(&many->engine->snapshot);
    assert_true(many->os->page_live == 0 || many->engine->detours);
    memory_snapshot_free(many->pristine);
    memory_os_free(many->os);
    free(many->engine);
    free(many);
}

/* Every so manieth function. */
static redefine_status commit_each(struct many *many, enum kind kind, size_t stride)
{
    struct rdf_change change[FUNCTIONS];
    bool is_changed[FUNCTIONS];
    size_t count = 0;
    memcpy(is_changed, many->is_changed, sizeof is_changed);
    for (size_t i = 0; i < FUNCTIONS; i += stride) {
        is_changed[i] = kind == TOGGLED ? !many->is_changed[i] : kind == REDEFINED;
        change[count++] = (struct rdf_change){.kind = is_changed[i] ? RDF_CHANGE_REDEFINE
                                                                    : RDF_CHANGE_RESTORE,
                                              .target = many->addr[i],
                                              .replacement = is_changed[i] ? many->addr[FUNCTIONS] : 0};
    }
    many->err = (struct rdf_error){0};
    redefine_status status = rdf_engine_commit(many->engine, change, count, 0, &many->err);
    if (status == REDEFINE_OK)
        memcpy(many->is_changed, is_changed, sizeof is_changed);
    return status;
}

static redefine_status commit(struct many *many, enum kind kind)
{
    return commit_each(many, kind, 1);
}

/* Where a call goes that comes to function `i`. */
static uint64_t leads_to(const struct many *many, size_t i)
{
    struct rdf_insn insn;
    uint64_t at = many->addr[i];
    uint8_t bytes[16];
    do {
        for (size_t j = 0; j < sizeof bytes; j++)
            bytes[j] = *memory_os_at(many->os, at + j);
        assert_true(rdf_arch_x86_64.decode((struct rdf_span){bytes, sizeof bytes}, at, &insn));
        at = insn.flow == RDF_FLOW_JUMP ? insn.target : at;
    } while (insn.flow == RDF_FLOW_JUMP && insn.target);
    return at;
}

static void check(const struct many *many, const char *what)
{
    bool is_anything_changed = false;
    if (many->os->fault[0])
        fail_msg("%s: %s", what, many->os->fault);
    for (size_t i = 0; i < FUNCTIONS; i++) {
        is_anything_changed |= many->is_changed[i];
        uint64_t to = leads_to(many, i);
        bool is_direct = to == many->addr[FUNCTIONS];
        bool is_short = to != many->addr[i] && i == FUNCTIONS - 1; /* through a relay */
        bool is = is_direct || is_short || *memory_os_at(many->os, many->addr[i]) == 0xcc;
        if (is != many->is_changed[i])
            fail_msg("%s: function %zu is%s redefined (%s)", what, i, is ? "" : " not", many->err.sentence);
    }
    /* What trampolines need may stay mapped. */
    const char *difference = is_anything_changed ? NULL : memory_os_difference(many->os, many->pristine);
    if (difference && !strstr(difference, "mappings differ"))
        fail_msg("%s: %s (%s)", what, difference, many->err.sentence);
}

/* A program in which the change is due: `kind` of TOGGLED begins with every other one redefined. */
static struct many *prepare(const struct setting *how, enum kind kind)
{
    struct many *many = many_new(how);
    if (kind == RESTORED)
        assert_int_equal(commit(many, REDEFINED), REDEFINE_OK);
    if (kind == TOGGLED)
        assert_int_equal(commit_each(many, REDEFINED, 2), REDEFINE_OK);
    check(many, "prepared");
    memory_os_reset(many->os);
    return many;
}

/* The rest of its life works. */
static void end(struct many *many, enum kind kind, const char *what)
{
    memory_os_reset(many->os);
    if (commit(many, kind) != REDEFINE_OK || commit(many, RESTORED) != REDEFINE_OK)
        fail_msg("%s, afterwards: %s", what, many->err.sentence);
    check(many, what);
    many_free(many);
}

static bool is_refusal(redefine_status status)
{
    return status != REDEFINE_OK && status != REDEFINE_EROLLBACK;
}

/* ---- failures ---- */

static void each_operation_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETTINGS; i++)
        for (enum kind kind = REDEFINED; kind <= TOGGLED; kind++) {
            size_t at = 1, refused = 0;
            for (bool happened = true; happened; at = next_of(at)) {
                struct many *many = prepare(&setting[i], kind);
                many->os->failure = (struct memory_failure){.at = at, .err = at % 2 ? EIO : EPERM};
                redefine_status status = commit(many, kind);
                happened = many->os->failed;
                char what[120];
                (void)snprintf(what, sizeof what, "%s, change %d: operation %zu fails", setting[i].name,
                               (int)kind, at);
                if (status == REDEFINE_EROLLBACK || (status != REDEFINE_OK && !happened))
                    fail_msg("%s: %s", what, many->err.sentence);
                refused += status != REDEFINE_OK;
                check(many, what);
                end(many, kind, what);
                assert_true(at < ATTEMPTS_MAX);
            }
            printf("# %s, change %d: up to operation %zu, %zu refusals\n", setting[i].name, (int)kind, at,
                   refused);
        }
}

/* From one write on all fail: what could not be put back is told, and nothing else is. */
static void each_write_fails_from_one_on(void **state)
{
    (void)state;
    unsigned writes = 1u << MEMORY_PROTECT;
    for (int i = 0; i < RDF_WRITE_METHODS; i++)
        writes |= 1u << (MEMORY_WRITE + i);
    for (size_t i = 0; i < SETTINGS; i++) {
        if (setting[i].no_stops) /* tests/unit/commit_unstopped.c */
            continue;
        bool happened = true;
        for (size_t at = 1; happened; at = next_of(at)) {
            struct many *many = prepare(&setting[i], TOGGLED);
            many->os->failure =
                (struct memory_failure){.at = at, .err = EPERM, .lasting = true, .ops = writes};
            redefine_status status = commit(many, TOGGLED);
            happened = many->os->failed;
            if (is_refusal(status)) {
                check(many, setting[i].name);
                end(many, TOGGLED, setting[i].name);
                continue;
            }
            if (status == REDEFINE_EROLLBACK)
                assert_non_null(strstr(many->err.sentence, "COULD NOT BE PUT BACK"));
            else
                check(many, setting[i].name);
            assert_string_equal(many->os->fault, "");
            many_free(many);
            assert_true(at < ATTEMPTS_MAX);
        }
    }
}

static void writes_that_lie(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETTINGS && !setting[i].no_stops; i++)
        for (int lie = MEMORY_STORES_NOTHING; lie <= MEMORY_STORES_HALF; lie++)
            for (int liar = 0; liar < RDF_WRITE_METHODS; liar++) {
                struct many *many = prepare(&setting[i], TOGGLED);
                many->os->lie[liar] = (uint8_t)lie;
                redefine_status status = commit(many, TOGGLED);
                many->os->lie[liar] = MEMORY_HONEST;
                assert_true(status == REDEFINE_OK || (setting[i].denied && status == REDEFINE_EROLLBACK) ||
                            (setting[i].denied && is_refusal(status)));
                if (status == REDEFINE_EROLLBACK) {
                    many_free(many);
                    continue;
                }
                check(many, setting[i].name);
                end(many, TOGGLED, setting[i].name);
            }
}

/* ---- the helper is killed ---- */

static uint64_t short_addr; /* 0: there is none */

/* What threads run on between two stops: who takes the short jump finds the long one. */
static void check_short(struct memory_os *os)
{
    const uint8_t *bytes = short_addr ? memory_os_at(os, short_addr) : NULL;
    if (bytes && bytes[0] == 0xeb)
        assert_int_not_equal(*memory_os_at(os, short_addr + 2 + bytes[1]), padding[0]);
}

static void killed_behind_each_write(void **state)
{
    (void)state;
    for (size_t i = 1; i < SETTINGS && !setting[i].no_stops; i++)
        for (enum kind kind = REDEFINED; kind <= TOGGLED; kind++) {
            int behind = 0;
            for (bool was_killed = true; was_killed; behind = (int)next_of((size_t)behind)) {
                struct many *many = prepare(&setting[i], kind);
                many->os->kill_helper = 1;
                many->os->kill_behind = behind;
                many->os->before_stop = check_short;
                short_addr = setting[i].has_short ? many->addr[FUNCTIONS - 1] : 0;
                redefine_status status = commit(many, kind);
                was_killed = many->os->kill_helper == 0;
                char what[120];
                (void)snprintf(what, sizeof what, "%s, change %d: killed behind write %d", setting[i].name,
                               (int)kind, behind + 1);
                if (was_killed ? status != REDEFINE_EBUSY : status != REDEFINE_OK)
                    fail_msg("%s: status %d: %s", what, (int)status, many->err.sentence);
                many->os->kill_helper = 0;
                many->os->before_stop = NULL;
                check(many, what);
                end(many, kind, what);
                assert_true(behind < ATTEMPTS_MAX);
            }
            printf("# %s, change %d: killed behind up to %d writes\n", setting[i].name, (int)kind, behind);
        }
}

/* ---- somebody else writes there ---- */

static uint64_t poked; /* where a debugger puts its breakpoint, at the last moment */

static void poke(struct memory_os *os)
{
    *memory_os_at(os, poked) = 0xcc ^ 0x5a;
}

static void a_page_changes_before_the_stop(void **state)
{
    (void)state;
    for (size_t i = 1; i < SETTINGS && !setting[i].no_stops; i++)
        for (size_t function = 0; function < FUNCTIONS; function += 7)
            for (int is_ours = 0; is_ours < 2; is_ours++) {
                struct many *many = prepare(&setting[i], TOGGLED);
                poked = many->addr[function] + (is_ours ? 1 : CODE_BYTES - 1);
                if (setting[i].has_short && function == FUNCTIONS - 1)
                    continue;
                uint8_t was = *memory_os_at(many->os, poked);
                many->os->before_stop = poke;
                redefine_status status = commit(many, TOGGLED);
                many->os->before_stop = NULL;
                assert_int_equal(status, is_ours ? REDEFINE_EBUSY : REDEFINE_OK);
                assert_int_equal(*memory_os_at(many->os, poked), 0xcc ^ 0x5a);
                *memory_os_at(many->os, poked) = was;
                check(many, setting[i].name);
                end(many, TOGGLED, setting[i].name);
            }
}

/* ---- somebody closes the object ---- */

static struct memory_region *closed_region(struct memory_os *os)
{
    size_t i = 0;
    while (poked < os->region[i].start || poked >= os->region[i].end)
        i++;
    return &os->region[i];
}

/* Another one lies there, with the same bytes. */
static void load_other(struct memory_os *os)
{
    closed_region(os)->ino++;
}

static void unload(struct memory_os *os)
{
    struct memory_region *region = closed_region(os);
    memset(region->prot, 0, (size_t)(region->end - region->start) / PAGE);
}

/* For each way in which it is seen: by what is mapped, and where that is not told by what can be read. */
static void the_object_is_gone_before_the_stop(void **state)
{
    (void)state;
    void (*const ways[])(struct memory_os * os) = {load_other, unload, unload};
    for (size_t i = 1; i < SETTINGS && !setting[i].no_stops; i++)
        for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++)
            for (size_t stride = 1; setting[i].may_go && stride < FUNCTIONS; stride += 7) {
                struct many *many = prepare(&setting[i], REDEFINED);
                poked = many->addr[0];
                struct memory_region was = *closed_region(many->os);
                many->os->before_stop = ways[way];
                many->os->denied[MEMORY_MAPS_AT] = way == 2 ? ENOTTY : 0;
                assert_int_equal(commit_each(many, REDEFINED, stride), REDEFINE_EBUSY);
                assert_non_null(strstr(many->err.sentence, "/test/many was unloaded while"));
                many->os->before_stop = NULL;
                many->os->denied[MEMORY_MAPS_AT] = 0;
                closed_region(many->os)->ino = was.ino;
                memcpy(was.prot, was.own_prot, (size_t)(was.end - was.start) / PAGE);
                check(many, setting[i].name);
                end(many, REDEFINED, setting[i].name);
            }
}

/* It is gone for one look, and there again for the next. Who is told that all is changed when it went behind
 * the last look has what was closed after it was redefined: no more is asked of that. */
static void the_object_is_gone_for_a_moment(void **state)
{
    (void)state;
    for (size_t i = 1; i < SETTINGS; i++)
        for (size_t stride = 1; setting[i].may_go && stride < FUNCTIONS; stride += 23) {
            size_t at = 1, refused = 0;
            for (bool happened = true; happened; at++) {
                struct many *many = prepare(&setting[i], REDEFINED);
                many->os->gone_at = at;
                redefine_status status = commit_each(many, REDEFINED, stride);
                happened = many->os->op_count[MEMORY_MAPS_AT] >= at;
                many->os->gone_at = 0;
                if (status != REDEFINE_OK && status != REDEFINE_EBUSY)
                    fail_msg("%s, question %zu: %s", setting[i].name, at, many->err.sentence);
                assert_true(at < ATTEMPTS_MAX);
                if (status == REDEFINE_OK && setting[i].no_stops) {
                    many_free(many);
                    continue;
                }
                refused += status == REDEFINE_EBUSY;
                check(many, setting[i].name);
                end(many, REDEFINED, setting[i].name);
            }
            printf("# %s: %zu questions, %zu refusals\n", setting[i].name, at, refused);
            assert_true(refused > 0);
        }
}

/* Where the system writes nothing by force, each item is stored by itself; that it does not is found out
 * once. */
static void force_is_tried_once(void **state)
{
    (void)state;
    const struct setting how = {"no stops, no force", 2, 1u << RDF_WRITE_SELF_MEM, true, false, true};
    struct many *many = prepare(&how, REDEFINED);
    size_t tries = 0;
    assert_int_equal(commit(many, REDEFINED), REDEFINE_OK);
    assert_true(many->os->call_count < MEMORY_CALLS_MAX);
    for (size_t i = 0; i < many->os->call_count; i++)
        tries += many->os->call[i].op == MEMORY_READ &&
                 many->os->call[i].addr == (uint64_t)(uintptr_t)&rdf_store_is;
    assert_int_equal(tries, 1);
    check(many, how.name);
    end(many, REDEFINED, how.name);
}

/* Pages that could not be closed again are no sign that the object is gone. */
static void a_page_stays_open(void **state)
{
    (void)state;
    const struct setting how = {"no stops, no force", 2, 1u << RDF_WRITE_SELF_MEM, true, false, true};
    bool happened = true;
    size_t left_open = 0;
    for (size_t at = 1; happened; at = next_of(at)) {
        struct many *many = prepare(&how, REDEFINED);
        many->os->failure =
            (struct memory_failure){.at = at, .err = EPERM, .lasting = true, .ops = 1u << MEMORY_PROTECT};
        redefine_status status = commit(many, REDEFINED);
        happened = many->os->failed;
        left_open += status == REDEFINE_EROLLBACK;
        if (is_refusal(status))
            check(many, how.name);
        assert_string_equal(many->os->fault, "");
        many_free(many);
    }
    assert_true(left_open > 10);
}

int main(void)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_operation_fails),
        cmocka_unit_test(each_write_fails_from_one_on),
        cmocka_unit_test(writes_that_lie),
        cmocka_unit_test(killed_behind_each_write),
        cmocka_unit_test(a_page_changes_before_the_stop),
        cmocka_unit_test(the_object_is_gone_before_the_stop),
        cmocka_unit_test(the_object_is_gone_for_a_moment),
        cmocka_unit_test(force_is_tried_once),
        cmocka_unit_test(a_page_stays_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
