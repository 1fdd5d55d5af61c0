/* SPDX-License-Identifier: MIT */
#include "support/program.h"

#include <elf.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint64_t program_base = UINT64_C(0x7f1000000000);
static const uint64_t far_base = UINT64_C(0x7e0000000000);

#define BYTES(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})
#define INT3(n)    (const uint8_t[]){TEN(0xcc), 0xcc, 0xcc}, n

#define TEN(x)   x, x, x, x, x, x, x, x, x, x
#define FIFTY(x) TEN(x), TEN(x), TEN(x), TEN(x), TEN(x)
#define MANY(x)  FIFTY(x), FIFTY(x), TEN(x), TEN(x), TEN(x)

/* 130 times nop; the branch is at 133 and leads to 0. */
static const uint8_t far_loop[] = {0x48, 0xff, 0xcf, MANY(0x90), 0x0f, 0x85, 0x75, 0xff, 0xff, 0xff, 0xc3};
static const uint8_t long_code[1500] = {0xb8, 0x2a, 0x00, 0x00, 0x00, [5 ... 1498] = 0x90, [1499] = 0xc3};

/* One of each kind that the planner treats differently. */
static const struct memory_function shape_x86_64[] = {
    /* push %rbp; mov %rsp,%rbp; sub $16,%rsp; xor %eax,%eax; leave; ret */
    {.code = (const uint8_t[]){0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10, 0x31, 0xc0, 0xc9, 0xc3},
     .len_bytes = 12,
     .padding = BYTES(0xcc, 0xcc, 0xcc, 0xcc)},
    /* endbr64; lea 0x100(%rip),%rax; ret: a landing pad, and an operand to be re-encoded */
    {.code = (const uint8_t[]){0xf3, 0x0f, 0x1e, 0xfa, 0x48, 0x8d, 0x05, 0x00, 0x01, 0x00, 0x00, 0xc3},
     .len_bytes = 12,
     .padding = BYTES(0xcc, 0xcc, 0xcc, 0xcc)},
    /* mov $42,%eax; ret: the window is one instruction */
    {.code = (const uint8_t[]){0xb8, 0x2a, 0x00, 0x00, 0x00, 0xc3}, .len_bytes = 6, .padding = INT3(10)},
    /* xor %eax,%eax; ret: the jump's tail lies in padding */
    {.code = (const uint8_t[]){0x31, 0xc0, 0xc3}, .len_bytes = 3, .padding = INT3(5)},
    /* dec %rdi; jne .-3; ret: a loop whose head is the entry */
    {.code = (const uint8_t[]){0x48, 0xff, 0xcf, 0x75, 0xfb, 0xc3}, .len_bytes = 6, .padding = INT3(10)},
    /* xor %eax,%eax; ret with a neighbour right behind: a short jump into padding elsewhere */
    {.code = (const uint8_t[]){0x31, 0xc0, 0xc3}, .len_bytes = 3},
    /* five no-operations, left there to be overwritten; ret */
    {.code = (const uint8_t[]){0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3}, .len_bytes = 6, .padding = INT3(10)},
    /* dec %rdi; …; jne to the entry from far away; ret: the branch is made to lead into the trampoline */
    {.code = far_loop, .len_bytes = sizeof far_loop},
    /* ret, and no padding anywhere near: a trap */
    {.code = (const uint8_t[]){0xc3}, .len_bytes = 1},
    /* mov $42,%eax; …; ret: keeps padding away from its neighbour, and spreads the functions over pages */
    {.code = long_code, .len_bytes = sizeof long_code, .padding = INT3(12)},
};

static const struct memory_function shape_aarch64[] = {
    /* stp x29,x30,[sp,#-16]!; mov x29,sp; ldp x29,x30,[sp],#16; ret */
    {.code = (const uint8_t[]){0xfd, 0x7b, 0xbf, 0xa9, 0xfd, 0x03, 0x00, 0x91, 0xfd, 0x7b, 0xc1, 0xa8, 0xc0,
                               0x03, 0x5f, 0xd6},
     .len_bytes = 16},
    /* bti c; adr x0,.+16; ret */
    {.code = (const uint8_t[]){0x5f, 0x24, 0x03, 0xd5, 0x80, 0x00, 0x00, 0x10, 0xc0, 0x03, 0x5f, 0xd6},
     .len_bytes = 12,
     .padding = BYTES(0x1f, 0x20, 0x03, 0xd5)},
    /* ret */
    {.code = (const uint8_t[]){0xc0, 0x03, 0x5f, 0xd6}, .len_bytes = 4},
};

static const struct memory_function plain_x86_64 = {
    /* mov $1,%eax; ret */
    .code = (const uint8_t[]){0xb8, 0x01, 0x00, 0x00, 0x00, 0xc3},
    .len_bytes = 6,
    .padding = INT3(10)};
static const struct memory_function plain_aarch64 = {
    /* mov w0,#1; ret */
    .code = (const uint8_t[]){0x20, 0x00, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6},
    .len_bytes = 8};

/* Owners are told apart by their address alone. */
static const char owner_mark[PROGRAM_OWNERS];

static const void *owner_key(int owner)
{
    return owner ? &owner_mark[owner] : NULL;
}

static const struct memory_function *shape_of(bool is_x86, size_t i)
{
    size_t x86_count = sizeof shape_x86_64 / sizeof shape_x86_64[0];
    size_t aarch64_count = sizeof shape_aarch64 / sizeof shape_aarch64[0];
    return is_x86 ? &shape_x86_64[i % x86_count] : &shape_aarch64[i % aarch64_count];
}

/* Targets, the even replacements and the aliases in one object; the odd replacements in another, which no
 * jump reaches. */
static void add_code(struct program *program, const struct rdf_arch *arch)
{
    static char name[PROGRAM_FUNCTIONS][24];
    struct memory_function near[PROGRAM_FUNCTIONS], far[PROGRAM_REPLACEMENTS];
    uint64_t near_addr[PROGRAM_FUNCTIONS], far_addr[PROGRAM_REPLACEMENTS];
    size_t near_count = 0, far_count = 0;
    bool is_x86 = arch->elf_machine == EM_X86_64;
    for (size_t i = 0; i < PROGRAM_FUNCTIONS; i++) {
        bool is_target = i < PROGRAM_TARGETS;
        bool is_alias = i >= PROGRAM_TARGETS + PROGRAM_REPLACEMENTS;
        bool is_far = !is_target && !is_alias && (i - PROGRAM_TARGETS) % 2;
        struct memory_function *function = is_far ? &far[far_count++] : &near[near_count++];
        *function = is_target ? *shape_of(is_x86, i) : is_x86 ? plain_x86_64 : plain_aarch64;
        (void)snprintf(name[i], sizeof name[i], "%s%zu",
                       is_target  ? "target"
                       : is_alias ? "alias"
                                  : "replacement",
                       i);
        function->name = name[i];
        function->is_ifunc = is_alias;
    }
    memory_os_add_image(program->os, arch->elf_machine, program_base, "/test/program", near, near_count,
                        near_addr);
    memory_os_add_image(program->os, arch->elf_machine, far_base, "/test/far", far, far_count, far_addr);
    memcpy(program->target, near_addr, sizeof program->target);
    for (size_t i = 0; i < PROGRAM_REPLACEMENTS; i++)
        program->replacement[i] = i % 2 ? far_addr[i / 2] : near_addr[PROGRAM_TARGETS + i / 2];
    memcpy(program->alias, near_addr + PROGRAM_TARGETS + PROGRAM_REPLACEMENTS / 2, sizeof program->alias);
}

static struct program *new_program(const struct rdf_arch *arch, bool forgetful)
{
    struct program *program = calloc(1, sizeof *program);
    program->os = memory_os_new();
    program->os->own_start = (uint64_t)(uintptr_t)program->original;
    program->os->own_end = program->os->own_start + sizeof program->original;
    add_code(program, arch);
    program->engine = calloc(1, sizeof *program->engine);
    rdf_engine_init(program->engine, &program->os->space, arch, &program->os->pages,
                    forgetful ? &program->os->pages : &rdf_snapshot_pages);
    return program;
}

struct program *program_new(const struct rdf_arch *arch)
{
    return new_program(arch, false);
}

struct program *program_new_forgetful(const struct rdf_arch *arch)
{
    return new_program(arch, true);
}

void program_free(struct program *program)
{
    if (!program)
        return;
    rdf_arena_free(&program->engine->registry.arena);
    rdf_snapshot_drop(&program->engine->snapshot);
    /* The engine gives back whatever it took, but for detours that a thread may be on. */
    assert_true(program->os->page_live == 0 || program->engine->detours);
    memory_os_free(program->os);
    free(program->engine);
    free(program);
}

/* ---- batches and the model ---- */

static void add(struct program *program, struct batch *batch, enum rdf_change_kind kind, int target,
                uint64_t replacement, int owner)
{
    assert_true(batch->count < sizeof batch->change / sizeof batch->change[0]);
    size_t i = batch->count++;
    batch->change[i] = (struct rdf_change){.kind = kind,
                                           .target = program->target[target],
                                           .replacement = replacement,
                                           .owner = owner_key(owner),
                                           .original = &program->original[target][owner]};
    batch->owner[i] = owner;
    batch->target[i] = target;
}

void batch_redefine(struct program *program, struct batch *batch, int target, int replacement, int owner)
{
    add(program, batch, RDF_CHANGE_REDEFINE, target, program->replacement[replacement], owner);
}

void batch_restore(struct program *program, struct batch *batch, int target, int owner)
{
    add(program, batch, RDF_CHANGE_RESTORE, target, 0, owner);
}

void batch_restore_everything(struct program *program, struct batch *batch)
{
    for (int i = 0; i < PROGRAM_TARGETS; i++)
        for (size_t j = 0; j < program->model[i].count; j++)
            batch_restore(program, batch, i, program->model[i].layer[j].owner);
}

static void model_change(struct model_function *function, const struct rdf_change *change, int owner)
{
    size_t at = 0;
    while (at < function->count && function->layer[at].owner != owner)
        at++;
    if (change->kind == RDF_CHANGE_REDEFINE) {
        if (at == function->count)
            function->count++;
        function->layer[at] = (struct model_layer){owner, change->replacement};
    } else if (at < function->count) {
        function->count--;
        memmove(&function->layer[at], &function->layer[at + 1],
                (function->count - at) * sizeof function->layer[0]);
    }
}

redefine_status program_commit(struct program *program, const struct batch *batch)
{
    program->err = (struct rdf_error){0};
    redefine_status status = rdf_engine_commit(program->engine, batch->change, batch->count, 0,
                                               &program->err);
    if (status != program->err.status)
        fail_msg("status %d, and yet: %s", (int)status, program->err.sentence);
    for (size_t i = 0; status == REDEFINE_OK && i < batch->count; i++)
        model_change(&program->model[batch->target[i]], &batch->change[i], batch->owner[i]);
    for (size_t i = 0; status == REDEFINE_OK && i < batch->count; i++) {
        struct model_function *function = &program->model[batch->target[i]];
        const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry,
                                                          program->target[batch->target[i]]);
        if (redef && !function->trampoline)
            function->trampoline = rdf_redef_trampoline(redef);
    }
    return status;
}

void program_redefine(struct program *program, int target, int replacement, int owner)
{
    struct batch batch = {.count = 0};
    batch_redefine(program, &batch, target, replacement, owner);
    if (program_commit(program, &batch) != REDEFINE_OK)
        fail_msg("redefine target %d: %s", target, program->err.sentence);
}

void program_restore(struct program *program, int target, int owner)
{
    struct batch batch = {.count = 0};
    batch_restore(program, &batch, target, owner);
    if (program_commit(program, &batch) != REDEFINE_OK)
        fail_msg("restore target %d: %s", target, program->err.sentence);
}

/* ---- what is there ---- */

static bool decode_at(const struct program *program, uint64_t addr, struct rdf_insn *ret)
{
    const uint8_t *bytes = memory_os_at(program->os, addr);
    return bytes && program->engine->arch->decode((struct rdf_span){bytes, 16}, addr, ret);
}

uint64_t program_runs(const struct program *program, uint64_t addr)
{
    struct rdf_insn insn;
    if (!decode_at(program, addr, &insn))
        return 0;
    uint64_t at = insn.role == RDF_ROLE_LANDING ? addr + insn.len_bytes : addr;
    if (!decode_at(program, at, &insn))
        return 0;
    if (insn.role == RDF_ROLE_TRAP)
        insn.target = program->os->trap_where ? program->os->trap_where(program->os->trap_ctx, at) : 0;
    else if (insn.flow != RDF_FLOW_JUMP)
        return addr;
    /* Perhaps a jump in padding; then the relay: one or two instructions, the first loads from the slot. Or
     * straight to the replacement. */
    at = insn.target;
    if (decode_at(program, at, &insn) && insn.flow == RDF_FLOW_JUMP)
        at = insn.target;
    if (!decode_at(program, at, &insn) || !insn.has_ref || !insn.ref_is_load)
        return at;
    return memory_os_word(program->os, insn.ref);
}

/* The trampoline holds what relocating the window gives; no-operations need none. */
static void check_trampoline(const struct program *program, const struct rdf_redef *redef)
{
    uint64_t trampoline = rdf_redef_trampoline(redef);
    if (redef->strategy == RDF_STRATEGY_SLED) {
        assert_int_equal(trampoline, redef->entry + redef->window_bytes);
        return;
    }
    struct rdf_relocate_request request = {
        .window = {rdf_redef_bytes(redef), redef->window_bytes},
        .window_addr = redef->entry,
        .patched_start = rdf_redef_edit(redef),
        .patched_end = rdf_redef_edit(redef) + redef->edit_bytes,
        .trampoline_addr = trampoline,
    };
    struct rdf_relocated relocated;
    struct rdf_pc_pair pcs[RDF_WINDOW_INSNS_MAX];
    assert_int_equal(program->engine->arch->relocate(&request, &relocated, NULL), REDEFINE_OK);
    const uint8_t *there = memory_os_at(program->os, trampoline);
    assert_non_null(there);
    if (memcmp(there, relocated.code, relocated.len_bytes) != 0)
        fail_msg("the trampoline at 0x%" PRIx64 " of 0x%" PRIx64 " holds other code", trampoline,
                 redef->entry);
    assert_int_equal(rdf_redef_pcs(redef, pcs), relocated.pc_count);
    for (size_t i = 0; i < relocated.pc_count; i++) {
        assert_int_equal(pcs[i].old_off, relocated.pcs[i].old_off);
        assert_int_equal(pcs[i].new_off, relocated.pcs[i].new_off);
    }
}

static void check_function(const struct program *program, size_t i)
{
    const struct model_function *model = &program->model[i];
    const struct rdf_redef *redef = rdf_registry_find(&program->engine->registry, program->target[i]);
    uint64_t expected = model->count ? model->layer[model->count - 1].replacement : program->target[i];
    if (program_runs(program, program->target[i]) != expected)
        fail_msg("target %zu runs 0x%" PRIx64 " instead of 0x%" PRIx64, i,
                 program_runs(program, program->target[i]), expected);
    if (!redef) {
        assert_int_equal(model->count, 0);
        return;
    }
    assert_int_equal(rdf_redef_trampoline(redef), model->trampoline);
    check_trampoline(program, redef);
    uint64_t asked_original = model->count ? rdf_redef_trampoline(redef) : 0;
    uint64_t asked_replacement = 0;
    struct rdf_layer room;
    const struct rdf_layer *layer = rdf_redef_top(redef, &room);
    for (size_t j = model->count; j-- > 0; layer = layer->below) {
        int owner = model->layer[j].owner;
        uint64_t original = j ? model->layer[j - 1].replacement : rdf_redef_trampoline(redef);
        assert_non_null(layer);
        assert_ptr_equal(layer->owner, owner_key(owner));
        assert_int_equal(layer->replacement, model->layer[j].replacement);
        if ((uint64_t)(uintptr_t)program->original[i][owner] != original)
            fail_msg("target %zu: the original of owner %d is %p instead of 0x%" PRIx64, i, owner,
                     (void *)(uintptr_t)program->original[i][owner], original);
        if (owner == 0) {
            asked_original = original;
            asked_replacement = layer->replacement;
        }
    }
    assert_null(layer);
    assert_int_equal(redef->asked_original, asked_original);
    assert_int_equal(rdf_engine_replacement(program->engine, redef), asked_replacement);
    assert_int_equal(redef->is_active, model->count != 0);
}

static void check_rules(const struct program *program)
{
    if (program->os->fault[0]) {
        memory_os_print(program->os);
        fail_msg("%s", program->os->fault);
    }
    for (size_t i = 0; i < program->os->region_count; i++) {
        const struct memory_region *region = &program->os->region[i];
        if (region->ino && memcmp(region->prot, region->own_prot, (region->end - region->start) / 4096) != 0)
            fail_msg("a page of %s was left with another protection", region->path);
    }
    for (size_t i = 0; i < program->engine->near.chunk_count; i++)
        assert_false(program->engine->near.chunk[i].fresh);
}

void program_check(const struct program *program)
{
    check_rules(program);
    for (size_t i = 0; i < PROGRAM_TARGETS; i++)
        check_function(program, i);
}

void program_check_pristine(const struct program *program)
{
    check_rules(program);
    const struct memory_os *os = program->os;
    struct memory_os *fresh = memory_os_new();
    struct program copy = {.os = fresh};
    add_code(&copy, program->engine->arch);
    for (size_t i = 0; i < fresh->region_count; i++) {
        const struct memory_region *region = &fresh->region[i];
        assert_memory_equal(memory_os_at(os, region->start), region->bytes, region->end - region->start);
    }
    memory_os_free(fresh);
}

/* ---- before and after ---- */

struct memory_snapshot *program_take(const struct program *program)
{
    struct memory_snapshot *snapshot = memory_os_take(program->os);
    const struct rdf_near *near = &program->engine->near;
    for (size_t i = 0; i < near->chunk_count; i++) {
        const struct rdf_near_chunk *chunk = &near->chunk[i];
        memory_snapshot_ignore(snapshot, chunk->code_addr + chunk->code_used,
                               chunk->code_addr + chunk->code_bytes);
        memory_snapshot_ignore(snapshot, chunk->slot_addr + 8 * chunk->slot_used,
                               chunk->slot_addr + 8 * chunk->slot_count);
    }
    return snapshot;
}

static void describe_redef(FILE *out, const struct rdf_redef *redef)
{
    const uint8_t *byte = (const uint8_t *)redef;
    fprintf(out, " %p:", (const void *)redef);
    for (size_t i = 0; i < offsetof(struct rdf_redef, tail) + redef->window_bytes; i++)
        fprintf(out, " %02x", byte[i]);
    struct rdf_layer room;
    for (const struct rdf_layer *layer = rdf_redef_top(redef, &room); layer; layer = layer->below)
        fprintf(out, " layer %p: owner %p replacement 0x%" PRIx64 "+%u original %p\n",
                layer == &room ? NULL : (const void *)layer, layer->owner, layer->replacement,
                layer->replacement_bytes, (void *)layer->original);
}

char *program_describe(const struct program *program)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    const struct rdf_engine *engine = program->engine;
    const struct rdf_registry *registry = &engine->registry;
    fprintf(out, "registry table %p pending %p %zu selectors %p\n", (const void *)registry->table,
            (const void *)registry->pending, registry->count, (const void *)registry->selectors);
    for (const struct rdf_layer *spare = registry->spare_layers; spare; spare = spare->below)
        fprintf(out, "spare %p\n", (const void *)spare);
    const struct rdf_redef *redef;
    for (size_t at = 0; (redef = rdf_table_next(registry->table, &at)) != NULL;)
        describe_redef(out, redef);
    for (size_t i = 0; i < PROGRAM_TARGETS; i++) {
        fprintf(out, "target %zu %p\n", i, (void *)rdf_registry_find(registry, program->target[i]));
        for (size_t j = 0; j < PROGRAM_OWNERS; j++)
            fprintf(out, " original %p\n", (void *)(uintptr_t)program->original[i][j]);
    }
    for (size_t i = 0; i < PROGRAM_ALIASES; i++)
        fprintf(out, "alias %zu %p\n", i, (void *)rdf_registry_find(registry, program->alias[i]));
    fprintf(out, "near mode %d chunks %zu\n", (int)engine->near.mode, engine->near.chunk_count);
    for (size_t i = 0; i < engine->near.chunk_count; i++)
        fprintf(out, " chunk 0x%" PRIx64 " code %u slots %u full %d\n", engine->near.chunk[i].code_addr,
                engine->near.chunk[i].code_used, engine->near.chunk[i].slot_used, engine->near.chunk[i].full);
    fprintf(out, "registry bytes %zu\n", rdf_arena_bytes(&registry->arena));
    (void)fclose(out);
    return text;
}
