/* SPDX-License-Identifier: MIT
 *
 * Functions of a Go module, and what is known of each of their instructions.
 *
 * `pclntable` begins with pairs (entry, record), as offsets from the text and from the table, ascending; the
 * last has an entry only: the end. A record, runtime._func, is followed by offsets of its tables by PC and
 * of its function data. A table by PC is a list of pairs of varints: how the value changes, for how many
 * units of code. The list covers the function exactly, which gives its end without the padding behind it.
 *
 * Source: runtime/symtab.go (funcInfo, pcvalue, step, funcdata) and cmd/internal/obj/pcln.go.
 */
#include "image/elf/go_internal.h"

enum {
    FUNC_NAME = 4,
    FUNC_ARGS = 8,
    FUNC_DEFERRETURN = 12,
    FUNC_PCSP = 16,
    FUNC_PCFILE = 20,
    FUNC_PCLN = 24,
    FUNC_NPCDATA = 28,
    FUNC_CU = 32,
    FUNC_START_LINE = 36, /* where the release has it; the last four bytes follow */
    NO_FUNCDATA = -1,
    TEXT_BYTES_MAX = 8192, /* of a name, instantiations written out; of a path */
};

static struct rdf_span record_bytes(const struct rdf_go *go, uint32_t index)
{
    uint32_t off = UINT32_MAX;
    (void)rdf_span_u32(go->pclntable, (uint64_t)index * 8 + 4, &off);
    return off < go->pclntable.len_bytes ? rdf_span_slice(go->pclntable, off, go->pclntable.len_bytes - off)
                                         : (struct rdf_span){NULL, 0};
}

static uint32_t u32_or(struct rdf_span span, uint64_t off, uint32_t otherwise)
{
    uint32_t value = otherwise;
    (void)rdf_span_u32(span, off, &value);
    return value;
}

uint32_t rdf_go_func_count(const struct rdf_go *go)
{
    return go->func_count;
}

uint64_t rdf_go_func_entry(const struct rdf_go *go, uint32_t index)
{
    return go->text + u32_or(go->pclntable, (uint64_t)index * 8, UINT32_MAX);
}

/* Not farther than names get: a table without any end of a name is looked at for every function. */
static const char *short_string(struct rdf_span span, uint64_t off)
{
    if (off >= span.len_bytes)
        return NULL;
    uint64_t rest = span.len_bytes - off;
    return rdf_span_string(rdf_span_slice(span, off, rest < TEXT_BYTES_MAX ? rest : TEXT_BYTES_MAX), 0);
}

const char *rdf_go_name_at(const struct rdf_go *go, uint32_t name_off)
{
    return short_string(go->funcnametab, name_off);
}

const char *rdf_go_func_name(const struct rdf_go *go, uint32_t index)
{
    return rdf_go_name_at(go, u32_or(record_bytes(go, index), FUNC_NAME, UINT32_MAX));
}

/* ---- tables by PC ---- */

/* Where the table starts in pctab; 0 when the function has none. */
static uint32_t table_off(const struct rdf_go_func *func, enum rdf_go_table table)
{
    struct rdf_span record = record_bytes(func->go, func->index);
    switch (table) {
    case RDF_GO_SP: return u32_or(record, FUNC_PCSP, 0);
    case RDF_GO_FILE: return u32_or(record, FUNC_PCFILE, 0);
    case RDF_GO_LINE: return u32_or(record, FUNC_PCLN, 0);
    default: break;
    }
    uint32_t index = (uint32_t)table - RDF_GO_UNSAFE_POINT;
    if (index >= u32_or(record, FUNC_NPCDATA, 0))
        return 0;
    return u32_or(record, func->go->layout->func_bytes + (uint64_t)index * 4, 0);
}

struct steps {
    struct rdf_span bytes;
    uint64_t off, start, end;
    uint64_t limit; /* no table goes on behind it */
    uint64_t quantum;
    int32_t value;
    bool first;
    bool damaged;
};

static struct steps begin_steps(const struct rdf_go *go, uint32_t off, uint64_t entry, uint64_t limit)
{
    return (struct steps){.bytes = go->pctab,
                          .off = off,
                          .start = entry,
                          .end = entry,
                          .limit = limit,
                          .quantum = go->pc_quantum,
                          .value = -1,
                          .first = true,
                          .damaged = !off};
}

/* The next range; false behind the last one, or when the table is damaged. */
static bool step(struct steps *steps)
{
    uint64_t value_delta, pc_delta;
    if (steps->damaged)
        return false;
    steps->damaged = !rdf_span_uleb(steps->bytes, &steps->off, &value_delta) || value_delta > UINT32_MAX;
    if (steps->damaged || (!value_delta && !steps->first))
        return false;
    steps->damaged = !rdf_span_uleb(steps->bytes, &steps->off, &pc_delta) || !pc_delta ||
                     pc_delta > (steps->limit - steps->end) / steps->quantum;
    if (steps->damaged)
        return false;
    uint32_t zigzag = (uint32_t)value_delta;
    uint32_t change = zigzag & 1 ? ~(zigzag >> 1) : zigzag >> 1;
    steps->value = (int32_t)((uint32_t)steps->value + change);
    steps->start = steps->end;
    steps->end += pc_delta * steps->quantum;
    steps->first = false;
    return true;
}

/* The last function may be followed by padding up to the next one's entry, never by less than its tables. */
static uint64_t extent(const struct rdf_go *go, uint32_t index, uint64_t entry, uint64_t next)
{
    struct rdf_span record = record_bytes(go, index);
    static const uint8_t tables[] = {FUNC_PCLN, FUNC_PCFILE, FUNC_PCSP};
    for (unsigned i = 0; i < sizeof tables; i++) {
        struct steps steps = begin_steps(go, u32_or(record, tables[i], 0), entry, next);
        while (step(&steps))
            ;
        if (!steps.damaged && steps.end > entry)
            return steps.end;
    }
    return next;
}

bool rdf_go_each_range(const struct rdf_go_func *func, enum rdf_go_table table, rdf_go_range_visit *visit,
                       void *ctx)
{
    struct steps steps = begin_steps(func->go, table_off(func, table), func->entry, func->end);
    while (step(&steps))
        if (!visit(ctx, steps.start, steps.end, steps.value))
            return true;
    return !steps.damaged;
}

bool rdf_go_value(const struct rdf_go_func *func, enum rdf_go_table table, uint64_t pc, int32_t *ret)
{
    struct steps steps = begin_steps(func->go, table_off(func, table), func->entry, func->end);
    while (step(&steps)) {
        if (pc < steps.start || pc >= steps.end)
            continue;
        *ret = steps.value;
        return true;
    }
    return false;
}

const char *rdf_go_file(const struct rdf_go_func *func, int32_t file)
{
    const struct rdf_go *go = func->go;
    uint32_t unit = u32_or(record_bytes(go, func->index), FUNC_CU, UINT32_MAX), off = UINT32_MAX;
    if (file < 0 || unit == UINT32_MAX)
        return NULL;
    (void)rdf_span_u32(go->cutab, ((uint64_t)unit + (uint32_t)file) * 4, &off);
    return short_string(go->filetab, off);
}

bool rdf_go_line(const struct rdf_go_func *func, uint64_t pc, const char **ret_file, uint32_t *ret_line)
{
    int32_t file, line;
    if (!rdf_go_value(func, RDF_GO_FILE, pc, &file) || !rdf_go_value(func, RDF_GO_LINE, pc, &line))
        return false;
    const char *name = rdf_go_file(func, file);
    if (!name)
        return false;
    *ret_file = name;
    *ret_line = line > 0 ? (uint32_t)line : 0;
    return true;
}

uint64_t rdf_go_funcdata(const struct rdf_go_func *func, unsigned index)
{
    const struct rdf_go *go = func->go;
    struct rdf_span record = record_bytes(go, func->index);
    uint8_t count = 0;
    (void)rdf_span_u8(record, go->layout->func_bytes - 1u, &count);
    if (index >= count)
        return 0;
    uint64_t at = go->layout->func_bytes + ((uint64_t)u32_or(record, FUNC_NPCDATA, 0) + index) * 4;
    uint32_t off = u32_or(record, at, (uint32_t)NO_FUNCDATA);
    return off == (uint32_t)NO_FUNCDATA ? 0 : go->gofunc + off;
}

/* ---- functions ---- */

/* The first entry behind this one's: C code that Go's linker took in has several names at one entry. */
static uint64_t next_entry(const struct rdf_go *go, uint32_t index)
{
    enum { NAMES_MAX = 64 };
    uint64_t entry = rdf_go_func_entry(go, index), next = entry;
    for (uint32_t i = 1; next == entry && i <= NAMES_MAX && i <= go->func_count - index; i++)
        next = rdf_go_func_entry(go, index + i);
    return next;
}

bool rdf_go_func(const struct rdf_go *go, uint32_t index, struct rdf_go_func *ret)
{
    if (index >= go->func_count)
        return false;
    struct rdf_span record = record_bytes(go, index);
    struct rdf_go_func func = {.go = go, .index = index, .entry = rdf_go_func_entry(go, index)};
    uint64_t next = next_entry(go, index);
    uint8_t fixed = go->layout->func_bytes;
    func.name = rdf_go_func_name(go, index);
    if (!func.name || record.len_bytes < fixed || go->text + u32_or(record, 0, 0) != func.entry ||
        next <= func.entry || next > go->etext)
        return false;
    func.args_bytes = (int32_t)u32_or(record, FUNC_ARGS, 0);
    func.deferreturn = u32_or(record, FUNC_DEFERRETURN, 0);
    func.start_line = fixed > FUNC_START_LINE + 4 ? u32_or(record, FUNC_START_LINE, 0) : 0;
    func.func_id = record.data[fixed - 4];
    func.flags = record.data[fixed - 3];
    func.is_foreign = !u32_or(record, FUNC_PCLN, 0);
    func.is_wrapper = func.func_id == go->wrapper_id;
    func.record_addr = go->pcln_addr + (uint64_t)(record.data - go->pclntable.data);
    func.end = extent(go, index, func.entry, next);
    *ret = func;
    return true;
}

/* The index of the last function that starts at or before `pc`; false when there is none. */
static bool index_at(const struct rdf_go *go, uint64_t pc, uint32_t *ret)
{
    uint32_t low = 0, high = go->func_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (rdf_go_func_entry(go, middle) <= pc)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low)
        return false;
    *ret = low - 1;
    return true;
}

bool rdf_go_func_at(const struct rdf_go *go, uint64_t pc, struct rdf_go_func *ret)
{
    struct rdf_go_func func;
    uint32_t index;
    if (!index_at(go, pc, &index) || !rdf_go_func(go, index, &func) || pc < func.entry || pc >= func.end)
        return false;
    *ret = func;
    return true;
}

/* ---- names ---- */

/* Behind the bracket that closes the one at `name`; null when none does. */
static const char *behind_brackets(const char *name)
{
    unsigned depth = 0;
    for (; *name; name++) {
        if (*name == '[')
            depth++;
        else if (*name == ']' && --depth == 0)
            return name + 1;
    }
    return NULL;
}

/* The linker writes a dot in the last element of an import path as %2e. */
bool rdf_go_name_matches(const char *wanted, const char *name)
{
    while (*wanted) {
        if (*name == '[' && rdf_text_starts(wanted, "[...]")) {
            name = behind_brackets(name);
            if (!name)
                return false;
            wanted += sizeof "[...]" - 1;
        } else if (*wanted == *name) {
            wanted++;
            name++;
        } else if (*wanted == '.' && rdf_text_starts(name, "%2e")) {
            wanted++;
            name += sizeof "%2e" - 1;
        } else {
            return false;
        }
    }
    return !*name;
}

bool rdf_go_func_named(const struct rdf_go *go, const char *name, uint32_t from, struct rdf_go_func *ret)
{
    for (uint32_t i = from; i < go->func_count; i++) {
        const char *found = rdf_go_func_name(go, i);
        if (found && rdf_go_name_matches(name, found) && rdf_go_func(go, i, ret))
            return true;
    }
    return false;
}

/* The number changes from release to release, but has always been the last one: next to it is this
 * function's. */
uint8_t rdf_go_learn_wrapper_id(const struct rdf_go *go)
{
    struct rdf_go_func func;
    bool found = rdf_go_func_named(go, "runtime.systemstack_switch", 0, &func) && func.func_id;
    return found ? (uint8_t)(func.func_id + 1) : UINT8_MAX;
}

struct rdf_symbol rdf_go_symbol(const struct rdf_go_func *func)
{
    return (struct rdf_symbol){.addr = func->entry,
                               .size_bytes = func->end - func->entry,
                               .name = func->name,
                               .index = func->index,
                               .type = STT_FUNC,
                               .bind = STB_LOCAL};
}

bool rdf_go_near(const struct rdf_go *go, uint64_t addr, struct rdf_near *ret)
{
    struct rdf_go_func func;
    uint32_t index = 0;
    uint64_t next = UINT64_MAX;
    if (addr < go->text || addr >= go->etext)
        return false;
    *ret = (struct rdf_near){0};
    bool has_before = index_at(go, addr, &index);
    uint64_t behind = has_before ? next_entry(go, index) : rdf_go_func_entry(go, 0);
    if (behind > addr && behind < go->etext)
        next = behind;
    ret->next_function = ret->next_global = ret->next_any = next;
    if (!has_before || !rdf_go_func(go, index, &func) || addr >= func.end)
        return true;
    if (func.entry == addr) {
        ret->has_at = true;
        ret->at = rdf_go_symbol(&func);
        ret->longest_bytes = ret->at.size_bytes;
    } else {
        ret->has_around = true;
        ret->around = rdf_go_symbol(&func);
    }
    return true;
}
