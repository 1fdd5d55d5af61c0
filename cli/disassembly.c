/* SPDX-License-Identifier: MIT */
#include "disassembly.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BYTES_SHOWN = 7, /* in one line */
    INSNS_SHOWN = 64,
    COLUMNS = 80,
    LANES = 4, /* arrows side by side; the shorter, the nearer to the text */
    CELLS = LANES + 1,
};

struct line {
    uint64_t addr;
    size_t len_bytes;
    size_t to; /* where its arrow leads: another line */
    int lane;
    bool has_arrow;
};

/* What is drawn in one place: the directions in which a line leaves it. */
enum { UP = 1, DOWN = 2, LEFT = 4, RIGHT = 8, HEAD = 16 };

static const char *glyph(unsigned cell)
{
    if (cell & HEAD)
        return "▸";
    switch (cell) {
    case UP:
    case DOWN:
    case UP | DOWN: return "│";
    case LEFT:
    case RIGHT:
    case LEFT | RIGHT: return "─";
    case DOWN | RIGHT: return "╭";
    case UP | RIGHT: return "╰";
    case UP | DOWN | RIGHT: return "├";
    case UP | LEFT | RIGHT: return "┴";
    case DOWN | LEFT | RIGHT: return "┬";
    case UP | DOWN | LEFT | RIGHT: return "┼";
    default: return " ";
    }
}

const char *cli_paint(const struct cli_view *view, const char *code)
{
    return view->has_colour ? code : "";
}

static size_t length_at(const struct cli_view *view, uint64_t addr, struct rdf_span code, char *ret_text,
                        size_t text_bytes)
{
    size_t len = view->arch->format(code, addr, ret_text, text_bytes);
    size_t unit = view->arch->insn_align_bytes;
    return len ? len : code.len_bytes < unit ? code.len_bytes : unit;
}

static size_t print_line(const struct cli_view *view, uint64_t addr, struct rdf_span code, const char *mark,
                         const char *colour, const unsigned cells[CELLS], const char *note)
{
    char text[160];
    size_t len = length_at(view, addr, code, text, sizeof text);
    char bytes[3 * BYTES_SHOWN + 1] = "";
    for (size_t i = 0; i < len && i < BYTES_SHOWN; i++)
        (void)snprintf(bytes + 3 * i, 4, "%02x ", code.data[i]);
    printf("%s%s %12" PRIx64 "  %-*s%s", cli_paint(view, colour), mark, addr, 3 * BYTES_SHOWN, bytes,
           cli_paint(view, "\033[0m"));
    if (cells) {
        printf("%s", cli_paint(view, "\033[36m"));
        for (int i = 0; i < CELLS; i++)
            printf("%s", glyph(cells[i]));
        printf(" %s", cli_paint(view, "\033[0m"));
    }
    int digits = addr >> 48 ? 16 : 12;
    size_t column = 4 + (size_t)digits + 3 * BYTES_SHOWN + (cells ? CELLS + 1 : 0);
    bool is_note_apart = note[0] && column + strlen(text) + 5 + strlen(note) > COLUMNS;
    printf("%s%s%s%s%s\n", cli_paint(view, colour), text, note[0] && !is_note_apart ? "   ; " : "",
           is_note_apart ? "" : note, cli_paint(view, "\033[0m"));
    if (is_note_apart)
        printf("%s%s %*s; %s%s\n", cli_paint(view, colour), mark, (int)column - 2, "", note,
               cli_paint(view, "\033[0m"));
    for (size_t at = BYTES_SHOWN; at < len; at += BYTES_SHOWN) {
        printf("%s%s %12s  ", cli_paint(view, colour), mark, "");
        for (size_t i = at; i < len && i < at + BYTES_SHOWN; i++)
            printf("%02x ", code.data[i]);
        printf("%s\n", cli_paint(view, "\033[0m"));
    }
    return len;
}

size_t cli_print_insn(const struct cli_view *view, uint64_t addr, struct rdf_span code, const char *mark,
                      const char *colour, const char *note)
{
    return print_line(view, addr, code, mark, colour, NULL, note);
}

/* ---- Arrows ---- */

static size_t low_end(const struct line *lines, size_t i)
{
    return lines[i].to < i ? lines[i].to : i;
}

static size_t high_end(const struct line *lines, size_t i)
{
    return lines[i].to < i ? i : lines[i].to;
}

/* Arrows to the same place may share a lane. */
static bool is_lane_free(const struct line *lines, size_t count, size_t arrow, int lane)
{
    for (size_t i = 0; i < count; i++)
        if (i != arrow && lines[i].has_arrow && lines[i].lane == lane && lines[i].to != lines[arrow].to &&
            low_end(lines, i) <= high_end(lines, arrow) && low_end(lines, arrow) <= high_end(lines, i))
            return false;
    return true;
}

/* The shortest first; what finds no lane is not drawn. */
static void assign_lanes(struct line *lines, size_t count)
{
    for (size_t i = 0; i < count; i++)
        lines[i].lane = -1;
    for (size_t span = 0; span < count; span++)
        for (size_t i = 0; i < count; i++) {
            if (!lines[i].has_arrow || high_end(lines, i) - low_end(lines, i) != span)
                continue;
            for (int lane = 0; lane < LANES && lines[i].lane < 0; lane++)
                if (is_lane_free(lines, count, i, lane))
                    lines[i].lane = lane;
        }
}

static void draw(const struct line *lines, size_t count, size_t row, unsigned ret_cells[CELLS])
{
    for (int i = 0; i < CELLS; i++)
        ret_cells[i] = 0;
    for (size_t i = 0; i < count; i++) {
        size_t low = low_end(lines, i), high = high_end(lines, i);
        if (!lines[i].has_arrow || lines[i].lane < 0 || row < low || row > high)
            continue;
        int column = LANES - 1 - lines[i].lane;
        ret_cells[column] |= (row > low ? UP : 0) | (row < high ? DOWN : 0);
        if (row != i && row != lines[i].to)
            continue;
        ret_cells[column] |= RIGHT;
        for (int j = column + 1; j < LANES; j++)
            ret_cells[j] |= LEFT | RIGHT;
        ret_cells[CELLS - 1] |= row == lines[i].to ? HEAD : LEFT;
    }
}

static size_t read_lines(const struct cli_view *view, uint64_t start, struct rdf_span code,
                         struct line lines[INSNS_SHOWN])
{
    size_t count = 0;
    for (size_t off = 0; off < code.len_bytes && count < INSNS_SHOWN; count++) {
        char text[160];
        struct rdf_span at = rdf_span_slice(code, off, code.len_bytes - off);
        lines[count] = (struct line){.addr = start + off,
                                     .len_bytes = length_at(view, start + off, at, text, sizeof text),
                                     .lane = -1};
        off += lines[count].len_bytes;
    }
    for (size_t i = 0; i < count; i++) {
        struct rdf_insn insn;
        size_t off = (size_t)(lines[i].addr - start);
        if (!view->arch->decode(rdf_span_slice(code, off, code.len_bytes - off), lines[i].addr, &insn) ||
            (insn.flow != RDF_FLOW_JUMP && insn.flow != RDF_FLOW_BRANCH))
            continue;
        for (size_t j = 0; j < count && !lines[i].has_arrow; j++)
            if (lines[j].addr == insn.target) {
                lines[i].has_arrow = true;
                lines[i].to = j;
            }
    }
    assign_lanes(lines, count);
    return count;
}

void cli_print_code(const struct cli_view *view, uint64_t start, struct rdf_span code, uint64_t marked_end)
{
    struct line lines[INSNS_SHOWN];
    size_t count = read_lines(view, start, code, lines);
    uint64_t end = start;
    for (size_t i = 0; i < count; i++) {
        unsigned cells[CELLS];
        bool is_marked = lines[i].addr < marked_end;
        size_t off = (size_t)(lines[i].addr - start);
        draw(lines, count, i, cells);
        (void)print_line(view, lines[i].addr, rdf_span_slice(code, off, code.len_bytes - off),
                         is_marked ? "|" : " ", is_marked ? "\033[33m" : "", cells, "");
        end = lines[i].addr + lines[i].len_bytes;
    }
    if (end < start + code.len_bytes)
        printf("  … %" PRIu64 " more bytes, up to %" PRIx64 "\n", start + code.len_bytes - end,
               start + code.len_bytes);
}

json_t *cli_json_code(const struct cli_view *view, uint64_t start, struct rdf_span code, uint64_t marked_end)
{
    json_t *array = json_array();
    for (size_t off = 0; off < code.len_bytes;) {
        char text[160], bytes[2 * 16 + 1] = "";
        struct rdf_insn insn;
        struct rdf_span at = rdf_span_slice(code, off, code.len_bytes - off);
        uint64_t addr = start + off;
        size_t len = length_at(view, addr, at, text, sizeof text);
        for (size_t i = 0; i < len && i < 16; i++)
            (void)snprintf(bytes + 2 * i, 3, "%02x", at.data[i]);
        json_t *object = json_pack("{s:I, s:s, s:s, s:b}", "address", (json_int_t)addr, "bytes", bytes,
                                   "text", text, "marked", addr < marked_end);
        if (view->arch->decode(at, addr, &insn) && insn.has_target)
            (void)json_object_set_new(object, "target", json_integer((json_int_t)insn.target));
        (void)json_array_append_new(array, object);
        off += len;
    }
    return array;
}
