/* SPDX-License-Identifier: MIT
 *
 * What the files of this room share.
 */
#ifndef RDF_DEBUG_INTERNAL_H
#define RDF_DEBUG_INTERNAL_H

#include "debug/debug.h"

/* Undo zlib's compression; false when `in` is damaged or does not give exactly `out_bytes`. */
bool rdf_debug_inflate(struct rdf_span in, uint8_t *out_data, size_t out_bytes);

/* ---- Texts ---- */

static inline bool rdf_debug_same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static inline size_t rdf_debug_len(const char *text)
{
    size_t len = 0;
    while (text[len])
        len++;
    return len;
}

/* ---- One ELF file ---- */

enum dwarf_section {
    SECTION_INFO,
    SECTION_TYPES,
    SECTION_ABBREV,
    SECTION_STR,
    SECTION_LINE,
    SECTION_LINE_STR,
    SECTION_STR_OFFSETS,
    SECTION_ADDR,
    SECTION_RANGES,
    SECTION_RNGLISTS,
    SECTION_LOC,
    SECTION_LOCLISTS,
    SECTION_CU_INDEX,
    SECTION_TU_INDEX,
    SECTIONS,
};

struct abbrev {
    uint32_t tag;
    uint32_t first_attr; /* in the table */
    uint16_t attr_count;
    bool has_children;
    bool is_fixed;        /* every attribute has a length that does not depend on its bytes: … */
    uint16_t fixed_bytes; /* … together this one, for the unit's sizes */
};

struct attr {
    uint16_t name;
    uint16_t form;
    int64_t implicit;
};

struct abbrev_table {
    struct abbrev_table *next; /* in its bucket */
    uint64_t off;
    uint16_t version;
    uint8_t offset_bytes, address_bytes;
    const struct abbrev *abbrev; /* by code − 1 where codes count up by one, else searched */
    const uint64_t *code;
    size_t count;
    bool is_dense;
    const struct attr *attr;
};

enum { BUCKETS = 1024, WORK_MAX = 1 << 28 };

struct unit;

struct debug_file {
    const char *path;
    struct rdf_span file; /* empty: a part of another one (a package) */
    struct rdf_span section[SECTIONS];
    uint32_t packed; /* sections that are unpacked when first asked for: a bit each */
    struct rdf_span build_id;
    const char *debuglink;
    uint32_t debuglink_crc;
    const char *altlink;
    struct rdf_span alt_id;
    bool is_split;          /* its names end in .dwo */
    bool is_relocatable;    /* an object file that was not linked: its numbers are not final */
    struct debug_file *alt; /* where its references to a shared file lead */
    struct unit *unit;      /* in the order of their offsets */
    size_t unit_count;
    size_t info_count; /* the first of them: of .debug_info; the rest are types */
    struct abbrev_table **bucket;
    struct unit **lines_bucket; /* units whose source files have been read */
    /* What may still be read: tables that overlap would never end. */
    uint64_t abbrev_budget, source_budget;
};

/* A source file: its name, and its folder where that is not the one the compiler ran in. */
struct source {
    const char *dir, *name;
    const char *path; /* both, once it was asked for */
};

struct unit {
    struct debug_file *file;
    enum dwarf_section section;
    uint64_t off, die, end;
    uint16_t version;
    uint8_t kind; /* DW_UT_* */
    uint8_t offset_bytes, address_bytes;
    uint64_t abbrev_off;
    const struct abbrev_table *abbrevs;
    uint64_t id; /* of a split unit and its skeleton, or a type's signature */
    uint64_t type_die;
    /* What the unit's own entry says. */
    bool is_opened;
    const char *name, *comp_dir, *dwo_name;
    uint64_t line_off; /* UINT64_MAX: none */
    uint64_t str_base, addr_base, ranges_base, rnglists_base, loclists_base, low_pc;
    uint32_t language;
    struct unit *skeleton; /* of a split unit: whose addresses and lines it uses */
    struct unit *split;    /* of a skeleton, once it was found */
    /* Names of its source files, read when first asked for. */
    struct source *source;
    size_t source_count;
    bool has_sources;
    struct unit *next_lines; /* in its bucket */
};

/* An attribute's value as it stands in the file. */
struct value {
    uint16_t form;
    uint64_t number;       /* offsets, indices, constants */
    struct rdf_span block; /* blocks, expressions, and strings in place */
};

struct rdf_debug {
    struct rdf_space *space;
    struct rdf_arena *arena;
    struct rdf_error *err; /* of the call under way */
    const char *object_path;
    struct debug_file *main;
    struct debug_file *package; /* of split units */
    bool looked_for_package;
    struct opened_file *opened;
    bool only_notes; /* leave the sections alone */
    uint64_t work;   /* entries that may still be passed over while types are read */
};

/* ---- elf.c ---- */

/* The sections of an ELF file; ret->path is set already. False: debug->err says why. */
bool rdf_debug_read_elf(struct rdf_debug *debug, struct rdf_span file, struct debug_file *ret);
/* Unpack a section that reading the file has left as it is: large, and seldom asked for. */
bool rdf_debug_unpack(struct rdf_debug *debug, struct debug_file *file, enum dwarf_section section);
uint32_t rdf_debug_crc32(struct rdf_span file);

/* ---- open.c ---- */

/* The split unit that belongs to a skeleton; null: debug->err says where it was looked for. */
struct unit *rdf_debug_split_of(struct rdf_debug *debug, struct unit *skeleton);

/* ---- abbrev.c ---- */

bool rdf_debug_read_abbrevs(struct rdf_debug *debug, struct unit *unit);
const struct abbrev *rdf_debug_abbrev(const struct unit *unit, uint64_t code);

/* ---- unit.c ---- */

bool rdf_debug_read_units(struct rdf_debug *debug, struct debug_file *file);
bool rdf_debug_open_unit(struct rdf_debug *debug, struct unit *unit);
bool rdf_debug_read_value(const struct unit *unit, const struct attr *attr, uint64_t *off, struct value *ret);
struct unit *rdf_debug_unit_at(struct debug_file *file, uint64_t off);

/* One entry: where its attributes begin, and what they look like. */
struct die {
    struct unit *unit;
    uint64_t off;
    uint64_t attrs_off;
    const struct abbrev *abbrev; /* null: the end of a list of children */
};
bool rdf_debug_die_at(struct rdf_debug *debug, struct unit *unit, uint64_t off, struct die *ret);
bool rdf_debug_attr(const struct die *die, uint16_t name, struct value *ret);
bool rdf_debug_skip_attrs(const struct die *die, uint64_t *ret_off);
/* The next sibling of `die`; die->abbrev null at the end. False: damaged. */
bool rdf_debug_next(struct rdf_debug *debug, const struct die *die, struct die *ret);
bool rdf_debug_child(struct rdf_debug *debug, const struct die *die, struct die *ret);

const char *rdf_debug_string(const struct unit *unit, const struct value *value);
/* The index'th address of the unit's table. */
bool rdf_debug_indexed_address(const struct unit *unit, uint64_t index, uint64_t *ret);
bool rdf_debug_address(const struct unit *unit, const struct value *value, uint64_t *ret);
bool rdf_debug_refer(struct rdf_debug *debug, const struct unit *unit, const struct value *value,
                     struct die *ret);
/* Where a range list begins: its first address. */
bool rdf_debug_first_range(const struct unit *unit, const struct value *value, uint64_t *ret);

bool rdf_debug_damaged(struct rdf_debug *debug, const struct unit *unit, uint64_t off, const char *what);

/* ---- type.c ---- */

/* Follow a reference; false: there is none, or it leads out of what can be read. */
bool rdf_debug_follow(struct rdf_debug *debug, const struct die *from, uint16_t name, struct die *ret);
/* The entry at `off` of the file that holds the function, or one of its bodies. */
bool rdf_debug_find_die(struct rdf_debug *debug, const struct rdf_debug_function *function, uint64_t off,
                        struct die *ret);

/* ---- line.c ---- */

const char *rdf_debug_source(struct rdf_debug *debug, struct unit *unit, uint64_t index);

/* What is said at the beginning of a unit's line table. */
struct line_head {
    struct rdf_span span; /* up to the table's end */
    uint16_t version;
    uint8_t offset_bytes, insn_bytes, line_range, opcodes;
    int8_t line_base;
    uint64_t lengths_off; /* how many operands each opcode has that the standard names */
    uint64_t lists_off;   /* folders and files */
    uint64_t program_off; /* that makes the lines */
};
bool rdf_debug_line_head(struct rdf_span section, uint64_t off, struct line_head *ret);

#endif
