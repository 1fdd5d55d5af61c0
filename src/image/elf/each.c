/* SPDX-License-Identifier: MIT
 *
 * Every function that has a name: .dynsym and .symtab of every image, and Go's own table, by address, each
 * address once, whichever of its names is wanted; and every name.
 */
#include "image/elf/go_internal.h"

/* Parts that the compiler split off are entered in the middle of their parent, not called. */
static bool is_part(const char *name)
{
    return rdf_cxx_contains(name, ".cold");
}

struct walk {
    struct rdf_images *images;
    struct rdf_image *image;
    struct rdf_demangler *demangler;
    const char *glob;
    rdf_image_visit *visit;
    void *ctx;
};

/* The names of one address that are still to be looked at, in one table. */
struct row {
    const struct rdf_symbols *symbols;
    uint32_t next; /* in by_addr; all before it are at lower addresses */
};

static bool read_next(const struct walk *walk, const struct row *row, struct rdf_symbol *ret)
{
    Elf64_Sym raw;
    uint32_t index = row->next < row->symbols->by_addr_count ? row->symbols->by_addr[row->next] : 0;
    if (row->next >= row->symbols->by_addr_count || !rdf_symbols_raw(row->symbols, index, &raw))
        return false;
    rdf_symbol_fill(walk->image, row->symbols, index, &raw, ret);
    return true;
}

/* As it is in the table; a C++ one that is not wanted so, as people write it. */
static enum rdf_visit offer(const struct walk *walk, const struct rdf_symbol *symbol)
{
    bool is_ifunc = symbol->type == STT_GNU_IFUNC;
    char readable[RDF_IMAGE_NAME_MAX];
    enum rdf_visit answer = RDF_VISIT_OTHER;
    if ((symbol->type != STT_FUNC && !is_ifunc) || !symbol->name[0] || is_part(symbol->name) ||
        rdf_go_at(walk->images, symbol->addr))
        return answer;
    if (rdf_image_glob(walk->glob, symbol->name))
        answer = walk->visit(walk->ctx, walk->image, symbol->name, NULL, symbol->addr, is_ifunc);
    if (answer == RDF_VISIT_OTHER && rdf_demangle(walk->demangler, symbol->name, readable, sizeof readable) &&
        rdf_image_glob(walk->glob, readable))
        answer = walk->visit(walk->ctx, walk->image, symbol->name, readable, symbol->addr, is_ifunc);
    return answer;
}

/* The best name first, then the others in the order of their tables, until one is taken. */
static enum rdf_visit offer_names(const struct walk *walk, struct row row[2], uint64_t addr)
{
    struct rdf_near near;
    struct rdf_symbol symbol;
    rdf_image_near(walk->images, walk->image, addr, &near);
    enum rdf_visit answer = near.has_at ? offer(walk, &near.at) : RDF_VISIT_OTHER;
    for (size_t table = 0; table < 2; table++)
        for (; read_next(walk, &row[table], &symbol) && symbol.addr == addr; row[table].next++)
            if (answer == RDF_VISIT_OTHER && !(near.has_at && rdf_text_same(symbol.name, near.at.name)))
                answer = offer(walk, &symbol);
    return answer;
}

static bool walk_image(const struct walk *walk)
{
    struct rdf_symbols *dynsym = rdf_image_dynsym(walk->images, walk->image);
    struct rdf_symbols *symtab = rdf_image_symtab(walk->images, walk->image);
    struct row row[2] = {{dynsym, 0}, {symtab, 0}};
    if (!rdf_symbols_sort(walk->images, walk->image, dynsym) ||
        !rdf_symbols_sort(walk->images, walk->image, symtab))
        walk->images->out_of_memory = true;
    for (;;) {
        struct rdf_symbol first, second;
        bool has_first = read_next(walk, &row[0], &first);
        bool has_second = read_next(walk, &row[1], &second);
        if (!has_first && !has_second)
            return true;
        bool is_first = has_first && (!has_second || first.addr - walk->image->object.bias <=
                                                         second.addr - walk->image->object.bias);
        if (offer_names(walk, row, is_first ? first.addr : second.addr) == RDF_VISIT_STOP)
            return false;
    }
}

/* The table of Go functions is complete: symbols in its code were left out above. */
static bool walk_go(const struct walk *walk)
{
    const struct rdf_go *go;
    if (!rdf_go_is_go(walk->images, walk->image) ||
        rdf_go_open(walk->images, walk->image, &go, NULL) != REDEFINE_OK)
        return true;
    for (uint32_t i = 0; i < rdf_go_func_count(go); i++) {
        const char *name = rdf_go_func_name(go, i);
        if (i && rdf_go_func_entry(go, i) == rdf_go_func_entry(go, i - 1))
            continue; /* another name of the same C function */
        if (name && *name && rdf_image_glob(walk->glob, name) &&
            walk->visit(walk->ctx, walk->image, name, NULL, rdf_go_func_entry(go, i), false) ==
                RDF_VISIT_STOP)
            return false;
    }
    return true;
}

void rdf_images_each(struct rdf_images *images, const char *glob, rdf_image_visit *visit, void *ctx)
{
    struct rdf_demangler demangler = {0};
    for (size_t i = 0; i < images->count; i++) {
        struct walk walk = {images, images->image[i], &demangler, glob, visit, ctx};
        if (!walk.image->object.is_hidden && (!walk_image(&walk) || !walk_go(&walk)))
            return;
    }
}

static bool each_name(struct rdf_image *image, struct rdf_symbols *symbols, bool is_exported,
                      rdf_named_visit *visit, void *ctx)
{
    const char *file = NULL;
    Elf64_Sym raw;
    for (uint32_t i = 0; rdf_symbols_raw(symbols, i, &raw); i++) {
        struct rdf_symbol symbol;
        unsigned type = ELF64_ST_TYPE(raw.st_info);
        if (type == STT_FILE)
            file = rdf_span_string(symbols->str, raw.st_name);
        if ((type != STT_FUNC && type != STT_GNU_IFUNC) || !rdf_symbol_is_function(image, symbols, &raw))
            continue;
        rdf_symbol_fill(image, symbols, i, &raw, &symbol);
        struct rdf_named named = {.name = symbol.name,
                                  .file = symbol.bind == STB_LOCAL ? file : NULL,
                                  .addr = symbol.addr,
                                  .size_bytes = symbol.size_bytes,
                                  .is_local = symbol.bind == STB_LOCAL,
                                  .is_weak = symbol.bind == STB_WEAK,
                                  .is_exported = is_exported};
        if (!visit(ctx, &named))
            return false;
    }
    return true;
}

void rdf_image_each_name(struct rdf_images *images, struct rdf_image *image, rdf_named_visit *visit,
                         void *ctx)
{
    if (each_name(image, rdf_image_symtab(images, image), false, visit, ctx))
        (void)each_name(image, rdf_image_dynsym(images, image), true, visit, ctx);
}
