/* SPDX-License-Identifier: MIT
 *
 * The lines of a unit: a program for a small machine, whose every row is an address and the line that begins
 * there.
 *
 * Source: DWARF 5, 6.2.5; DWARF 4, 6.2.5.
 */
#include "debug/dwarf.h"
#include "debug/index.h"
#include "debug/internal.h"

struct row {
    uint64_t addr, file;
    int64_t line;
};

struct rows {
    struct line_head head;
    uint8_t address_bytes;
    uint64_t off;
    struct row now, last;
    bool has_last; /* a row of the same sequence */
    uint64_t wanted;
    bool is_found; /* it is `last` */
};

static void emit(struct rows *rows)
{
    rows->is_found = rows->has_last && rows->last.addr <= rows->wanted && rows->wanted < rows->now.addr;
    if (rows->is_found)
        return;
    rows->last = rows->now;
    rows->has_last = true;
}

static void begin_sequence(struct rows *rows)
{
    rows->now = (struct row){.file = 1, .line = 1};
    rows->has_last = false;
}

static bool run_extended(struct rows *rows)
{
    uint64_t bytes;
    uint8_t opcode;
    if (!rdf_span_uleb(rows->head.span, &rows->off, &bytes) || bytes == 0 ||
        bytes > rows->head.span.len_bytes - rows->off || !rdf_span_u8(rows->head.span, rows->off, &opcode))
        return false;
    uint64_t operand = rows->off + 1;
    uint32_t narrow;
    rows->off += bytes;
    if (opcode == DW_LNE_end_sequence) {
        emit(rows);
        if (!rows->is_found)
            begin_sequence(rows);
    } else if (opcode == DW_LNE_set_address && bytes == 9) {
        return rdf_span_u64(rows->head.span, operand, &rows->now.addr);
    } else if (opcode == DW_LNE_set_address && bytes == 5) {
        if (!rdf_span_u32(rows->head.span, operand, &narrow))
            return false;
        rows->now.addr = narrow;
    }
    return true;
}

static void advance(struct rows *rows, uint64_t insns)
{
    rows->now.addr += insns * rows->head.insn_bytes;
}

/* Damaged data may lead anywhere: as unsigned numbers add. */
static void move_line(struct rows *rows, int64_t by)
{
    rows->now.line = (int64_t)((uint64_t)rows->now.line + (uint64_t)by);
}

static bool run_standard(struct rows *rows, uint8_t opcode)
{
    struct rdf_span span = rows->head.span;
    uint64_t number = 0;
    int64_t difference;
    uint16_t fixed;
    uint8_t operands;
    switch (opcode) {
    case DW_LNS_copy: emit(rows); return true;
    case DW_LNS_advance_pc:
        if (!rdf_span_uleb(span, &rows->off, &number))
            return false;
        advance(rows, number);
        return true;
    case DW_LNS_advance_line:
        if (!rdf_span_sleb(span, &rows->off, &difference))
            return false;
        move_line(rows, difference);
        return true;
    case DW_LNS_set_file: return rdf_span_uleb(span, &rows->off, &rows->now.file);
    case DW_LNS_const_add_pc: advance(rows, (255u - rows->head.opcodes) / rows->head.line_range); return true;
    case DW_LNS_fixed_advance_pc:
        if (!rdf_span_u16(span, rows->off, &fixed))
            return false;
        rows->off += 2;
        rows->now.addr += fixed;
        return true;
    default: break;
    }
    if (!rdf_span_u8(span, rows->head.lengths_off + opcode - 1, &operands))
        return false;
    for (; operands; operands--)
        if (!rdf_span_uleb(span, &rows->off, &number))
            return false;
    return true;
}

static bool run(struct rows *rows)
{
    uint8_t opcode;
    begin_sequence(rows);
    if (!rows->head.line_range || !rows->head.opcodes)
        return false;
    rows->off = rows->head.program_off;
    while (!rows->is_found && rdf_span_u8(rows->head.span, rows->off, &opcode)) {
        rows->off++;
        if (opcode >= rows->head.opcodes) {
            unsigned by = (unsigned)opcode - rows->head.opcodes;
            advance(rows, by / rows->head.line_range);
            move_line(rows, rows->head.line_base + (int64_t)(by % rows->head.line_range));
            emit(rows);
        } else if (opcode == 0 ? !run_extended(rows) : !run_standard(rows, opcode)) {
            return false;
        }
    }
    return rows->is_found;
}

/* The unit whose code it is: for a split one the skeleton, which has the lines. */
static struct unit *unit_of(struct rdf_debug *debug, const struct rdf_debug_index *index,
                            const struct rdf_debug_entry *entry)
{
    const struct rdf_debug_function *function = &index->function[entry->function];
    bool is_split = function->flags & RDF_DEBUG_SPLIT;
    for (size_t i = 0; is_split && i < debug->main->info_count; i++)
        if (debug->main->unit[i].off == function->unit_off)
            return &debug->main->unit[i];
    return is_split || !entry->body_off ? NULL : rdf_debug_unit_at(debug->main, entry->body_off);
}

static bool find(struct rdf_debug *debug, const struct rdf_debug_index *index, uint64_t start,
                 struct rows *rows, struct unit **ret_unit)
{
    const struct rdf_debug_entry *entry = rdf_index_entry(index, start);
    struct unit *unit = entry ? unit_of(debug, index, entry) : NULL;
    *ret_unit = unit;
    return unit && rdf_debug_open_unit(debug, unit) && unit->line_off != UINT64_MAX &&
           rdf_debug_line_head(unit->file->section[SECTION_LINE], unit->line_off, &rows->head) && run(rows);
}

bool rdf_debug_line(struct rdf_debug *debug, const struct rdf_debug_index *index, uint64_t start,
                    uint64_t addr, const char **ret_file, uint32_t *ret_line)
{
    struct rdf_error ignored = {0};
    struct rows rows = {.wanted = addr};
    struct unit *unit;
    debug->err = &ignored;
    debug->work = WORK_MAX;
    bool is_found = find(debug, index, start, &rows, &unit) && rows.last.line > 0 &&
                    rows.last.line <= UINT32_MAX;
    const char *file = is_found ? rdf_debug_source(debug, unit, rows.last.file) : NULL;
    debug->err = NULL;
    if (!file)
        return false;
    *ret_file = file;
    *ret_line = (uint32_t)rows.last.line;
    return true;
}
