/* SPDX-License-Identifier: MIT
 *
 * What of a function leads back into its first bytes: its branches, and the jump tables that it uses.
 *
 * A position-independent jump table is a row of four-byte distances from the table itself:
 *
 *     lea table(%rip), %rdx ; movslq (%rdx,%rax,4), %rax ; add %rdx, %rax ; jmp *%rax
 *
 * Only the lea tells where it lies, and nothing tells where it ends. Every address that the function takes is
 * read as if a table were there, up to the next one or to where its words lead nowhere into the function any
 * more (a few may lead to a part that the compiler split off): what looks like a way into the first bytes
 * counts as one.
 */
#include "core/plan.h"

#include "base/bytes.h"

enum { TABLE_BYTES_MAX = 1 << 16, OUTSIDE_MAX = 64, FIRST_ROOM = 8 };

struct reader {
    struct rdf_images *images;
    struct rdf_arena *arena;
    const struct rdf_function *function;
    struct rdf_leads *leads;
    bool has_tables;
    size_t branch_room;
    uint64_t *ref; /* addresses that the function takes */
    size_t ref_count;
    size_t ref_room;
    uint64_t code_start, code_end; /* what is executable around the function */
};

/* Room for one more of what an arena holds `count` of; null: no memory. */
static void *one_more(struct rdf_arena *arena, void *array, size_t count, size_t *room, size_t bytes_each)
{
    if (count < *room)
        return array;
    *room = *room ? 2 * *room : FIRST_ROOM;
    void *more = rdf_arena_alloc(arena, *room * bytes_each);
    if (more)
        rdf_bytes_copy(more, array, count * bytes_each);
    return more;
}

static bool add_branch(struct reader *reader, const struct rdf_insn *insn)
{
    struct rdf_leads *leads = reader->leads;
    struct rdf_branch *branch = one_more(reader->arena, leads->branch, leads->branch_count,
                                         &reader->branch_room, sizeof *branch);
    if (!branch)
        return false;
    leads->branch = branch;
    leads->branch[leads->branch_count++] = (struct rdf_branch){.addr = insn->addr, .target = insn->target};
    return true;
}

/* In ascending order; most functions take few addresses. */
static bool add_ref(struct reader *reader, uint64_t ref)
{
    uint64_t *list = one_more(reader->arena, reader->ref, reader->ref_count, &reader->ref_room, sizeof *list);
    if (!list)
        return false;
    size_t at = reader->ref_count++;
    for (; at > 0 && list[at - 1] > ref; at--)
        list[at] = list[at - 1];
    list[at] = ref;
    reader->ref = list;
    return true;
}

static int32_t load_i32(const uint8_t *at)
{
    return (int32_t)((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
}

static void read_table(struct reader *reader, uint64_t base, uint64_t end)
{
    struct rdf_images *images = reader->images;
    const struct rdf_function *function = reader->function;
    const struct rdf_map *map = base % 4 == 0 ? rdf_maps_find(&images->maps, base) : NULL;
    if (!map || !(map->prot & RDF_PROT_READ) || rdf_images_at(images, base) != function->image)
        return;
    end = end < map->end ? end : map->end;
    size_t len = end - base < TABLE_BYTES_MAX ? (size_t)(end - base) : TABLE_BYTES_MAX;
    const uint8_t *table = rdf_images_loaded_bytes(images, base, len);
    size_t outside = 0;
    for (size_t off = 0; table && off + 4 <= len && outside < OUTSIDE_MAX; off += 4) {
        uint64_t target = base + (uint64_t)(int64_t)load_i32(table + off);
        if (target < reader->code_start || target >= reader->code_end)
            return;
        outside = target >= function->start && target < function->end ? 0 : outside + 1;
        rdf_byte_set_add(&reader->leads->tables, target);
    }
}

static bool note(struct reader *reader, const struct rdf_insn *insn)
{
    if (insn->has_ref && !insn->ref_is_load)
        return !reader->has_tables || add_ref(reader, insn->ref);
    bool is_branch = insn->flow == RDF_FLOW_BRANCH || insn->flow == RDF_FLOW_JUMP;
    return !is_branch || insn->target - reader->function->start >= RDF_WINDOW_BYTES_MAX ||
           add_branch(reader, insn);
}

static void note_one(void *ctx, uint64_t branch_addr, uint64_t target)
{
    (void)branch_addr, (void)target;
    bool *is_there = ctx;
    *is_there = true;
}

/* Whether a branch may lead into the first bytes: without decoding, which for long functions is most of what
 * planning them costs. */
static bool may_branch_back(const struct rdf_arch *arch, uint64_t start, struct rdf_span code)
{
    uint8_t bits[RDF_WINDOW_BYTES_MAX / 8];
    const struct rdf_byte_set set = {start, RDF_WINDOW_BYTES_MAX, bits};
    bool is_there = false;
    for (size_t i = 0; i < sizeof bits; i++)
        bits[i] = 0xff;
    arch->scan_branches(code, start, &set, note_one, &is_there);
    return is_there;
}

redefine_status rdf_plan_leads(struct rdf_images *images, struct rdf_arena *arena,
                               const struct rdf_function *function, struct rdf_span code,
                               struct rdf_leads *ret, struct rdf_error *err)
{
    const struct rdf_arch *arch = images->arch;
    *ret = (struct rdf_leads){.tables = {function->start, RDF_WINDOW_BYTES_MAX, ret->table_bits}};
    /* Where the entry jump is one instruction, no table leads behind the entry. */
    bool has_tables = arch->jump_bytes > arch->insn_align_bytes && arch->may_compute_jump(code);
    if (!has_tables && !may_branch_back(arch, function->start, code))
        return REDEFINE_OK;
    const struct rdf_map *map = rdf_maps_find(&images->maps, function->start);
    struct reader reader = {.images = images,
                            .arena = arena,
                            .function = function,
                            .leads = ret,
                            .has_tables = has_tables,
                            .code_start = map ? map->start : 0,
                            .code_end = map ? map->end : 0};
    for (size_t off = 0; off < code.len_bytes;) {
        struct rdf_insn insn;
        if (!arch->decode(rdf_span_slice(code, off, code.len_bytes - off), function->start + off, &insn)) {
            off += arch->insn_align_bytes; /* data between the instructions */
            continue;
        }
        off += insn.len_bytes;
        if (!note(&reader, &insn))
            return rdf_fail(err, REDEFINE_ENOMEM, "no memory to note what leads where in a function");
    }
    for (size_t i = 0; i < reader.ref_count; i++) {
        bool is_same = i > 0 && reader.ref[i] == reader.ref[i - 1];
        size_t next = i + 1;
        while (next < reader.ref_count && reader.ref[next] == reader.ref[i])
            next++;
        if (!is_same)
            read_table(&reader, reader.ref[i], next < reader.ref_count ? reader.ref[next] : UINT64_MAX);
    }
    return REDEFINE_OK;
}
