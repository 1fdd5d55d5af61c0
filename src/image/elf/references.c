/* SPDX-License-Identifier: MIT
 *
 * One pass over an object for all entries that are asked for: its code by the CPU's scan, its data word by
 * word (which holds the addends of relocations too).
 */
#include "base/order.h"
#include "image/calls.h"
#include "image/elf/internal.h"

enum {
    CONFIRMED_MIN =
        64,          /* of each entry, are decoded to make sure: a count of nothing, or of a few, is exact */
    LEAD_BYTES = 64, /* decoding that starts anywhere is in step with the code after a few instructions */
};

struct scan {
    struct rdf_images *images;
    struct rdf_image *image;
    struct rdf_references *ask;
    size_t count;
    bool only_code;
    rdf_reference_visit *visit;
    void *ctx;
    struct rdf_byte_set set;
    struct rdf_span code; /* the segment under way … */
    uint64_t code_addr;   /* … and where it begins */
    uint64_t function;    /* that was decoded last, and … */
    uint64_t decoded_to;  /* … the last instruction's start that was reached: what is looked at ascends */
};

static struct rdf_references *asked_at(const struct scan *scan, uint64_t addr)
{
    size_t i = RDF_FIRST_FROM(scan->ask, scan->count, start, addr);
    return i < scan->count && scan->ask[i].start == addr ? &scan->ask[i] : NULL;
}

/* The instruction that holds `field_addr`, decoded from the start of its function; from a little before it
 * where nothing knows one. */
static bool instruction_at(struct scan *scan, uint64_t field_addr, struct rdf_insn *ret)
{
    const struct rdf_arch *arch = scan->images->arch;
    uint64_t start = rdf_images_start_of(scan->images, field_addr);
    uint64_t at = start ? start : field_addr - LEAD_BYTES / arch->insn_align_bytes * arch->insn_align_bytes;
    if (at < scan->code_addr || at > field_addr)
        at = scan->code_addr;
    else if (start && start == scan->function && scan->decoded_to <= field_addr)
        at = scan->decoded_to;
    scan->function = start;
    while (at <= field_addr) {
        size_t off = (size_t)(at - scan->code_addr);
        struct rdf_span code = {scan->code.data + off, scan->code.len_bytes - off};
        scan->decoded_to = at;
        if (!arch->decode(code, at, ret)) {
            at += arch->insn_align_bytes;
            continue;
        }
        if (field_addr < at + ret->len_bytes)
            return true;
        at += ret->len_bytes;
    }
    return false;
}

/* Whether the bytes that look like a reference are one. */
static bool is_confirmed(struct scan *scan, uint64_t field_addr, uint64_t target, enum rdf_reference kind,
                         uint64_t *ret_addr)
{
    struct rdf_insn insn;
    if (!instruction_at(scan, field_addr, &insn))
        return kind == RDF_REFERENCE_VALUE; /* a literal between functions */
    *ret_addr = insn.addr;
    /* Where it takes two instructions, the room has read both, and by itself the second may lead anywhere. */
    bool is_second = scan->images->arch->read_jump && field_addr == insn.addr;
    switch (kind) {
    case RDF_REFERENCE_CALL:
        return (insn.flow == RDF_FLOW_CALL && insn.target == target) ||
               (is_second && insn.flow == RDF_FLOW_CALL_INDIRECT);
    case RDF_REFERENCE_JUMP:
        return ((insn.flow == RDF_FLOW_JUMP || insn.flow == RDF_FLOW_BRANCH) && insn.target == target) ||
               (is_second && insn.flow == RDF_FLOW_JUMP_INDIRECT);
    case RDF_REFERENCE_VALUE: break;
    }
    /* A displacement that is one leads there; what leads elsewhere only looks like an address. */
    return (!insn.has_ref || insn.ref == target) && (!insn.has_target || insn.target == target);
}

/* Words before relocation are addresses in the file; after it they are those at run time. Where the object
 * is not position independent nothing lists them, so they may lie anywhere. */
static uint64_t step_of_words(const struct scan *scan)
{
    return scan->image->type == ET_EXEC ? 1 : 8;
}

/* Whether what looks like a reference of code is a word that lies beside it, which scan_words counts. */
static bool is_word(const struct scan *scan, uint64_t field_addr, uint64_t target)
{
    Elf64_Shdr section;
    uint64_t value;
    return !scan->only_code && field_addr % step_of_words(scan) == 0 &&
           rdf_span_u64(scan->code, field_addr - scan->code_addr, &value) && value == target &&
           !(rdf_image_section_at(scan->images, scan->image, field_addr, &section, NULL) &&
             section.sh_flags & SHF_EXECINSTR);
}

static void note(void *ctx, uint64_t field_addr, uint64_t target, enum rdf_reference kind)
{
    struct scan *scan = ctx;
    struct rdf_references *ask = asked_at(scan, target);
    if (!ask || (field_addr >= ask->start && field_addr < ask->end))
        return;
    if (kind == RDF_REFERENCE_VALUE && is_word(scan, field_addr, target))
        return;
    uint64_t addr = field_addr;
    bool is_visited = scan->visit && kind != RDF_REFERENCE_VALUE;
    bool is_exact = is_visited || ask->calls + ask->jumps + ask->addresses < CONFIRMED_MIN;
    if (is_exact && !is_confirmed(scan, field_addr, target, kind, &addr))
        return;
    if (kind == RDF_REFERENCE_VALUE)
        ask->addresses++;
    else if (kind == RDF_REFERENCE_CALL)
        ask->calls++;
    else
        ask->jumps++;
    if (is_visited)
        scan->visit(scan->ctx, (size_t)(ask - scan->ask), addr, kind);
}

static void scan_code(void *ctx, uint64_t start, uint64_t end)
{
    struct scan *scan = ctx;
    scan->code = rdf_image_bytes(scan->images, scan->image, start, end - start);
    if (!scan->code.data) /* its end is not from the file */
        scan->code = rdf_image_tail(scan->images, scan->image, start);
    scan->code_addr = start;
    if (scan->code.data)
        scan->images->arch->scan_references(scan->code, start, &scan->set, note, scan);
}

static void note_word(struct scan *scan, uint64_t value)
{
    struct rdf_references *ask = rdf_byte_set_has(&scan->set, value) ? asked_at(scan, value) : NULL;
    if (!ask)
        return;
    ask->addresses++;
    ask->words++;
}

static void scan_words(struct scan *scan, uint64_t start, uint64_t end)
{
    struct rdf_span bytes = start < end ? rdf_image_bytes(scan->images, scan->image, start, end - start)
                                        : (struct rdf_span){NULL, 0};
    uint64_t bias = scan->image->object.bias;
    uint64_t step = step_of_words(scan);
    uint64_t value;
    for (uint64_t off = step == 8 ? -start & 7 : 0; rdf_span_u64(bytes, off, &value); off += step) {
        note_word(scan, value);
        if (bias)
            note_word(scan, value + bias);
    }
}

/* Addends of relocations that are not carried out, as in a file: their places do not hold the address yet. */
static void scan_relocations(struct scan *scan)
{
    const struct rdf_dynamic *dynamic = rdf_image_dynamic(scan->images, scan->image);
    struct rdf_span rela = dynamic->rela ? rdf_image_bytes(scan->images, scan->image, dynamic->rela,
                                                           dynamic->rela_bytes)
                                         : (struct rdf_span){NULL, 0};
    uint64_t place, addend, value, bias = scan->image->object.bias;
    for (uint64_t off = 0; rdf_span_u64(rela, off, &place) && rdf_span_u64(rela, off + 16, &addend);
         off += sizeof(Elf64_Rela)) {
        if (!rdf_byte_set_has(&scan->set, addend + bias))
            continue;
        struct rdf_span at = rdf_image_bytes(scan->images, scan->image, place + bias, 8);
        if (!rdf_span_u64(at, 0, &value) || (value != addend && value != addend + bias))
            note_word(scan, addend + bias);
    }
}

/* Tables that list functions without calling them. */
static bool is_table(const char *name)
{
    static const char *const names[] = {".eh_frame",
                                        ".eh_frame_hdr",
                                        ".gcc_except_table",
                                        ".gopclntab",
                                        ".data.rel.ro.gopclntab",
                                        ".dynsym",
                                        "__patchable_function_entries",
                                        "__mcount_loc",
                                        ".orc_unwind_ip"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (rdf_text_same(name, names[i]))
            return true;
    return false;
}

/* Data, but for such tables. Some linkers put constants into the segment of the code. */
static void scan_part(void *ctx, uint64_t start, uint64_t end)
{
    struct scan *scan = ctx;
    const struct rdf_dynamic *dynamic = rdf_image_dynamic(scan->images, scan->image);
    struct rdf_symbols *dynsym = rdf_image_dynsym(scan->images, scan->image);
    uint64_t symbols_end = dynamic->symtab + (uint64_t)dynsym->count * sizeof(Elf64_Sym);
    for (uint64_t at = start; at < end;) {
        uint64_t stop = end, resume = end; /* the next table, or code: [stop, resume) */
        if (dynamic->symtab >= at && dynamic->symtab < stop && symbols_end > at) {
            stop = dynamic->symtab;
            resume = symbols_end;
        }
        if (dynamic->rela >= at && dynamic->rela < stop && dynamic->rela_bytes) {
            stop = dynamic->rela;
            resume = dynamic->rela_bytes < end - stop ? stop + dynamic->rela_bytes : end;
        }
        Elf64_Shdr section;
        const char *name;
        for (size_t i = 1; rdf_image_section(scan->images, scan->image, i, &section, &name); i++) {
            uint64_t addr = section.sh_addr + scan->image->object.bias;
            if (section.sh_flags & SHF_ALLOC && section.sh_size && addr >= at && addr < stop &&
                (section.sh_flags & SHF_EXECINSTR || is_table(name))) {
                stop = addr;
                resume = section.sh_size < end - addr ? addr + section.sh_size : end;
            }
        }
        scan_words(scan, at, stop);
        at = resume > at ? resume : end;
    }
}

redefine_status rdf_image_references(struct rdf_images *images, struct rdf_image *image,
                                     struct rdf_references *ask, size_t count, bool only_code,
                                     rdf_reference_visit *visit, void *ctx, struct rdf_error *err)
{
    if (count == 0)
        return REDEFINE_OK;
    uint64_t low = ask[0].start, high = ask[count - 1].start + 1;
    struct rdf_arena arena;
    rdf_arena_init(&arena, &rdf_os_pages); /* not the snapshot's: that one is kept */
    uint8_t *bits = rdf_arena_alloc(&arena, (size_t)((high - low) / 8 + 1));
    if (!bits)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to look for the callers of %zu functions", count);
    struct scan scan = {.images = images,
                        .image = image,
                        .ask = ask,
                        .count = count,
                        .only_code = only_code,
                        .visit = visit,
                        .ctx = ctx};
    scan.set = (struct rdf_byte_set){low, (size_t)(high - low), bits};
    for (size_t i = 0; i < count; i++) {
        struct rdf_near near;
        rdf_symbols_near(images, image, rdf_image_dynsym(images, image), ask[i].start, &near);
        ask[i].calls = ask[i].jumps = ask[i].addresses = ask[i].words = 0;
        ask[i].is_exported = near.has_at && near.at.bind != STB_LOCAL;
        rdf_byte_set_add(&scan.set, ask[i].start);
    }
    rdf_image_each_code(images, image, scan_code, &scan);
    if (!only_code) {
        rdf_image_each_part(images, image, scan_part, &scan);
        scan_relocations(&scan);
    }
    rdf_arena_free(&arena);
    return images->out_of_memory
               ? rdf_fail(err, REDEFINE_ENOMEM, "no memory to read %s", rdf_image_name(image))
               : REDEFINE_OK;
}
