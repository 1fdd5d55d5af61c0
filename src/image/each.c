/* SPDX-License-Identifier: MIT
 *
 * Every function that has a name: .dynsym and .symtab of every image, each address once.
 */
#include "image/internal.h"

/* "*" stands for any text, "?" for one character, as in a shell without brackets. Without recursion: only
 * the last star can matter. */
bool rdf_image_glob(const char *pattern, const char *text)
{
    const char *star = NULL;
    const char *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            resume = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}

/* Parts that the compiler split off are entered in the middle of their parent, not called. */
static bool is_part(const char *name)
{
    return rdf_cxx_contains(name, ".cold");
}

struct walk {
    struct rdf_images *images;
    struct rdf_image *image;
    const char *glob;
    rdf_image_visit *visit;
    void *ctx;
};

/* An address that an earlier symbol of either table has: by_addr order puts equal ones side by side, but the
 * tables are walked in their own order, so the first one in that order speaks for the address. */
static bool is_first(const struct walk *walk, const struct rdf_symbols *symbols,
                     const struct rdf_symbol *symbol)
{
    struct rdf_near near;
    rdf_image_near(walk->images, walk->image, symbol->addr, &near);
    return near.has_at && near.at.addr == symbol->addr && rdf_text_same(near.at.name, symbol->name) &&
           (near.at.index == symbol->index || symbols == &walk->image->dynsym);
}

static bool walk_table(const struct walk *walk, struct rdf_symbols *symbols, bool skip_exported)
{
    for (uint32_t i = 0; i < symbols->count; i++) {
        Elf64_Sym raw;
        struct rdf_symbol symbol, exported;
        if (!rdf_symbols_raw(symbols, i, &raw) || !rdf_symbol_is_function(walk->image, symbols, &raw) ||
            (ELF64_ST_TYPE(raw.st_info) != STT_FUNC && ELF64_ST_TYPE(raw.st_info) != STT_GNU_IFUNC))
            continue;
        rdf_symbol_fill(walk->image, symbols, i, &raw, &symbol);
        bool is_exported = skip_exported && ELF64_ST_BIND(raw.st_info) != STB_LOCAL &&
                           rdf_image_exported(walk->images, walk->image, symbol.name,
                                              rdf_text_len(symbol.name), NULL, 0, &exported);
        if (is_exported || is_part(symbol.name) || !rdf_image_glob(walk->glob, symbol.name) ||
            !is_first(walk, symbols, &symbol))
            continue;
        if (!walk->visit(walk->ctx, walk->image, symbol.name, symbol.addr, symbol.type == STT_GNU_IFUNC))
            return false;
    }
    return true;
}

void rdf_images_each(struct rdf_images *images, const char *glob, rdf_image_visit *visit, void *ctx)
{
    for (size_t i = 0; i < images->count; i++) {
        struct walk walk = {images, images->image[i], glob, visit, ctx};
        if (walk.image->hidden)
            continue;
        if (!walk_table(&walk, rdf_image_dynsym(images, walk.image), false) ||
            !walk_table(&walk, rdf_image_symtab(images, walk.image), true))
            return;
    }
}
