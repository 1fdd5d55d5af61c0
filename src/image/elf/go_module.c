/* SPDX-License-Identifier: MIT
 *
 * The two tables from which everything else hangs: the pclntab, found by its section's name or by its magic
 * number, and runtime.moduledata, found as the only place that points to the pclntab and agrees with it in
 * every number that both have.
 *
 * Source: runtime/symtab.go (pcHeader, moduledata, moduledataverify1) of Go 1.19 to 1.27.
 */
#include "base/order.h"
#include "image/elf/go_internal.h"

#include <string.h>

static const struct rdf_go_layout layouts[] = {
    {
        .first_minor = 19,
        .last_minor = 19,
        .magic = 0xfffffff0,
        .func_bytes = 40,
        .inlined_bytes = RDF_GO_OLD_INLINED_BYTES,
        .word_types = 35,
        .word_etypes = 36,
        .word_gofunc = 38,
        .word_textsectmap = 39,
        .map_bytes = 88,
    },
    {
        .first_minor = 20, /* covctrs and ecovctrs in moduledata; startLine in _func */
        .last_minor = 23,
        .magic = 0xfffffff1,
        .func_bytes = 44,
        .inlined_bytes = 16,
        .word_types = 37,
        .word_etypes = 38,
        .word_gofunc = 40,
        .word_textsectmap = 41,
        .map_bytes = 88,
    },
    {
        .first_minor = 24, /* another sort of map */
        .last_minor = 25,
        .magic = 0xfffffff1,
        .func_bytes = 44,
        .inlined_bytes = 16,
        .word_types = 37,
        .word_etypes = 38,
        .word_gofunc = 40,
        .word_textsectmap = 41,
        .map_bytes = 112,
    },
    {
        .first_minor = 26, /* epclntab; the header's textStart is zero */
        .last_minor = 26,
        .magic = 0xfffffff1,
        .func_bytes = 44,
        .inlined_bytes = 16,
        .word_types = 37,
        .word_etypes = 38,
        .word_gofunc = 40,
        .word_textsectmap = 42,
        .map_bytes = 112,
    },
    {
        .first_minor = 27, /* two words more, and another sort of map */
        .last_minor = 27,
        .magic = 0xfffffff1,
        .func_bytes = 44,
        .inlined_bytes = 16,
        .word_types = 37,
        .word_etypes = 39,
        .word_gofunc = 43,
        .word_textsectmap = 45,
        .map_bytes = 136,
    },
};

static const struct rdf_go_layout *layout_of(unsigned minor)
{
    for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
        if (minor >= layouts[i].first_minor && minor <= layouts[i].last_minor)
            return &layouts[i];
    return NULL;
}

/* ---- pclntab ---- */

enum { HEADER_FUNCS = 8, HEADER_OFFSETS = 32, OFFSETS = 5, FUNCS_MAX = 1 << 26, HEADERS_TRIED = 8 };

struct header {
    uint64_t addr;
    uint64_t func_count;
    uint64_t off[OFFSETS]; /* funcnametab, cutab, filetab, pctab, pclntable */
    uint8_t pc_quantum;
};

static bool read_header(struct rdf_span bytes, uint32_t magic, uint64_t addr, struct header *ret)
{
    uint32_t found, sizes;
    if (bytes.len_bytes < RDF_GO_PCHEADER_BYTES || !rdf_span_u32(bytes, 0, &found) || found != magic ||
        !rdf_span_u32(bytes, 4, &sizes))
        return false;
    ret->addr = addr;
    ret->pc_quantum = (uint8_t)(sizes >> 16);
    if ((sizes & 0xffff) || sizes >> 24 != 8 ||
        (ret->pc_quantum != 1 && ret->pc_quantum != 2 && ret->pc_quantum != 4))
        return false;
    (void)rdf_span_u64(bytes, HEADER_FUNCS, &ret->func_count);
    uint64_t before = RDF_GO_PCHEADER_BYTES;
    for (unsigned i = 0; i < OFFSETS; i++) {
        (void)rdf_span_u64(bytes, HEADER_OFFSETS + i * 8, &ret->off[i]);
        if (ret->off[i] < before || ret->off[i] > bytes.len_bytes)
            return false;
        before = ret->off[i];
    }
    return ret->func_count && ret->func_count < FUNCS_MAX;
}

/* ---- relocations ---- */

static size_t relocation_at_or_behind(const struct rdf_go *go, uint64_t addr)
{
    return RDF_FIRST_FROM(go->relocation, go->relocation_count, addr, addr);
}

static bool comes_before(const void *a, const void *b)
{
    return ((const struct rdf_go_relocation *)a)->addr < ((const struct rdf_go_relocation *)b)->addr;
}

/* A position-independent program that no loader has touched has zeros where it points to itself; what the
 * loader would put there is in its table of relocations. The relative ones have no symbol. */
static bool read_relocations(struct rdf_images *images, struct rdf_image *image, struct rdf_go *go)
{
    const struct rdf_dynamic *dynamic = rdf_image_dynamic(images, image);
    struct rdf_span table = {NULL, 0};
    if (dynamic->rela)
        table = rdf_image_bytes(images, image, dynamic->rela, dynamic->rela_bytes);
    size_t count = table.len_bytes / sizeof(Elf64_Rela), kept = 0;
    struct rdf_go_relocation *list = count ? rdf_arena_alloc(images->arena, count * sizeof *list) : NULL;
    if (count && !list)
        images->out_of_memory = true;
    for (size_t i = 0; list && i < count; i++) {
        Elf64_Rela entry;
        memcpy(&entry, table.data + i * sizeof entry, sizeof entry);
        if (ELF64_R_SYM(entry.r_info) == 0 && entry.r_addend)
            list[kept++] = (struct rdf_go_relocation){entry.r_offset + image->object.bias,
                                                      (uint64_t)entry.r_addend + image->object.bias};
    }
    rdf_sort(list, kept, sizeof *list, comes_before);
    go->relocation = list;
    go->relocation_count = kept;
    return kept > 0;
}

bool rdf_go_pointer(struct rdf_images *images, const struct rdf_go *go, uint64_t addr, uint64_t *ret)
{
    size_t at = relocation_at_or_behind(go, addr);
    if (at < go->relocation_count && go->relocation[at].addr == addr) {
        *ret = go->relocation[at].value;
        return true;
    }
    return rdf_span_u64(rdf_image_bytes(images, go->image, addr, 8), 0, ret);
}

/* ---- moduledata ---- */

struct search {
    struct rdf_images *images;
    struct rdf_image *image;
    struct rdf_go *go;
    struct header header;
    bool saw_header;
    unsigned headers_left; /* each costs a search of all data: a hostile file may have many */
};

static bool is_slice(const struct rdf_go *go, unsigned word, uint64_t addr)
{
    return go->words[word] == addr && go->words[word + 1] <= go->words[word + 2];
}

static struct rdf_span slice_bytes(struct search *search, unsigned word, uint64_t unit_bytes)
{
    const struct rdf_go *go = search->go;
    if (go->words[word + 1] > UINT32_MAX)
        return (struct rdf_span){NULL, 0};
    return rdf_image_bytes(search->images, search->image, go->words[word], go->words[word + 1] * unit_bytes);
}

/* What moduledata and the header say of the same things must be the same. */
static bool agrees(struct search *search)
{
    enum {
        FUNCNAMETAB = 1,
        CUTAB = 4,
        FILETAB = 7,
        PCTAB = 10,
        PCLNTABLE = 13,
        FTAB = 16,
        MINPC = 20,
        MAXPC
    };
    static const uint8_t first_word[OFFSETS] = {FUNCNAMETAB, CUTAB, FILETAB, PCTAB, PCLNTABLE};
    struct rdf_go *go = search->go;
    const struct header *header = &search->header;
    const uint64_t *word = go->words;
    for (unsigned i = 0; i < OFFSETS; i++)
        if (!is_slice(go, first_word[i], header->addr + header->off[i]))
            return false;
    if (!is_slice(go, FTAB, header->addr + header->off[OFFSETS - 1]) ||
        word[FTAB + 1] != header->func_count + 1)
        return false;
    go->funcnametab = slice_bytes(search, FUNCNAMETAB, 1);
    go->cutab = slice_bytes(search, CUTAB, 4);
    go->filetab = slice_bytes(search, FILETAB, 1);
    go->pctab = slice_bytes(search, PCTAB, 1);
    go->pclntable = slice_bytes(search, PCLNTABLE, 1);
    go->text = word[RDF_GO_WORD_TEXT];
    go->etext = word[RDF_GO_WORD_ETEXT];
    uint32_t first = 0, last = 0;
    if (!go->funcnametab.data || !go->filetab.data || !go->pctab.data ||
        !rdf_span_u32(go->pclntable, 0, &first) ||
        !rdf_span_u32(go->pclntable, header->func_count * 8, &last) || go->text >= go->etext)
        return false;
    return word[MINPC] == go->text + first && word[MAXPC] == go->text + last && first < last &&
           word[MAXPC] <= go->etext && rdf_image_is_code(search->image, go->text) &&
           rdf_image_segment(search->image, go->text) == rdf_image_segment(search->image, go->etext - 1);
}

static bool check_module(struct search *search, uint64_t addr)
{
    struct rdf_go *go = search->go;
    const struct rdf_go_layout *layout = go->layout;
    for (unsigned i = 0; i < RDF_GO_MODULE_WORDS; i++)
        if (!rdf_go_pointer(search->images, go, addr + i * 8, &go->words[i]))
            return false;
    if (!agrees(search))
        return false;
    go->types = go->words[layout->word_types];
    go->etypes = go->words[layout->word_etypes];
    go->gofunc = go->words[layout->word_gofunc];
    /* A program may have no types to speak of, but the section is there. */
    if (go->types > go->etypes || !rdf_image_segment(search->image, go->types) ||
        !rdf_image_segment(search->image, go->gofunc))
        return false;
    go->type_bytes = rdf_image_bytes(search->images, search->image, go->types, go->etypes - go->types);
    go->gofunc_bytes = rdf_image_tail(search->images, search->image, go->gofunc);
    go->moduledata = addr;
    go->pclntab = search->header.addr;
    go->pcln_addr = search->header.addr + search->header.off[OFFSETS - 1];
    go->func_count = (uint32_t)search->header.func_count;
    go->pc_quantum = search->header.pc_quantum;
    return go->type_bytes.data != NULL;
}

/* Every aligned word outside of code that holds the pclntab's address. */
static bool find_module(struct search *search)
{
    struct rdf_image *image = search->image;
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct rdf_segment *segment = &image->segment[i];
        if (segment->flags & PF_X)
            continue;
        struct rdf_span bytes = rdf_image_tail(search->images, image, segment->start);
        for (uint64_t off = (8 - segment->start % 8) % 8; off + 8 <= bytes.len_bytes; off += 8) {
            uint64_t word;
            memcpy(&word, bytes.data + off, sizeof word);
            if (word == search->header.addr && check_module(search, segment->start + off))
                return true;
        }
    }
    if (!search->go->relocation && !read_relocations(search->images, image, search->go))
        return false;
    for (size_t i = 0; i < search->go->relocation_count; i++)
        if (search->go->relocation[i].value == search->header.addr &&
            check_module(search, search->go->relocation[i].addr))
            return true;
    return false;
}

static bool try_header(struct search *search, uint64_t addr)
{
    struct rdf_span bytes = rdf_image_tail(search->images, search->image, addr);
    if (!search->headers_left || !read_header(bytes, search->go->layout->magic, addr, &search->header))
        return false;
    search->headers_left--;
    search->saw_header = true;
    return find_module(search);
}

/* ".gopclntab", ".data.rel.ro.gopclntab" */
static bool is_pclntab_name(const char *name)
{
    static const char wanted[] = ".gopclntab";
    size_t len = rdf_text_len(name), wanted_len = sizeof wanted - 1;
    return len >= wanted_len && rdf_text_same(name + len - wanted_len, wanted);
}

static bool find_by_section(struct search *search)
{
    Elf64_Shdr section;
    const char *name;
    for (size_t i = 1; rdf_image_section(search->images, search->image, i, &section, &name); i++)
        if (is_pclntab_name(name) && try_header(search, section.sh_addr + search->image->object.bias))
            return true;
    return false;
}

static bool find_by_magic(struct search *search)
{
    struct rdf_image *image = search->image;
    for (size_t i = 0; i < image->segment_count; i++) {
        const struct rdf_segment *segment = &image->segment[i];
        struct rdf_span bytes = rdf_image_tail(search->images, image, segment->start);
        for (uint64_t off = (8 - segment->start % 8) % 8; off + 8 <= bytes.len_bytes; off += 8) {
            uint32_t word;
            memcpy(&word, bytes.data + off, sizeof word);
            if (word == search->go->layout->magic && try_header(search, segment->start + off))
                return true;
        }
    }
    return false;
}

redefine_status rdf_go_read_module(struct rdf_images *images, struct rdf_image *image, struct rdf_go *go,
                                   struct rdf_error *err)
{
    const char *object = rdf_image_short_name(image);
    struct search search = {.images = images, .image = image, .go = go, .headers_left = HEADERS_TRIED};
    go->layout = layout_of(go->minor);
    if (!go->layout)
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "%s was built by %.64s, whose tables are not known here: Go 1.%u to 1.%u are", object,
                        go->version, layouts[0].first_minor,
                        layouts[sizeof layouts / sizeof layouts[0] - 1].last_minor);
    bool found = find_by_section(&search) || find_by_magic(&search);
    if (images->out_of_memory)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to read the Go tables of %s", object);
    if (!found)
        return rdf_fail(
            err, REDEFINE_EUNSUPPORTED,
            search.saw_header
                ? "%s was built by %.64s and has its function table, but no runtime.moduledata "
                  "that agrees with it: the file is damaged, or that release was changed"
                : "%s was built by %.64s, but the function table of that release is not in it: the "
                  "file is damaged, or it was changed after linking",
            object, go->version);
    /* Entries are offsets from the one text; only CPUs with short calls split it. */
    if (go->words[go->layout->word_textsectmap + 1] > 1)
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "the Go code of %s lies in %llu sections; only one is supported", object,
                        (unsigned long long)go->words[go->layout->word_textsectmap + 1]);
    return REDEFINE_OK;
}
