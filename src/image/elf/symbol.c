/* SPDX-License-Identifier: MIT
 *
 * Symbols by address and by name.
 *
 * By address: the first few questions are answered by walking the table, which is faster than sorting
 * it; whoever asks more often gets an index. By name: the hash tables that the dynamic loader uses,
 * so that it costs what dlsym costs.
 *
 * Source: System V gABI, chapter 5 (DT_HASH); LSB Core, "Symbol Versioning"; DT_GNU_HASH as in
 * binutils and glibc (dl-lookup.c), which is its only description.
 */
#include "image/elf/internal.h"

#include <string.h>

enum { QUESTIONS_BEFORE_INDEX = 3, WALK_BACK_MAX = 64 };

bool rdf_symbols_raw(const struct rdf_symbols *symbols, uint32_t index, Elf64_Sym *ret)
{
    if (index >= symbols->count)
        return false;
    memcpy(ret, symbols->sym.data + (size_t)index * sizeof *ret, sizeof *ret);
    return true;
}

static bool is_defined(const Elf64_Sym *raw)
{
    return raw->st_shndx != SHN_UNDEF && raw->st_shndx != SHN_ABS && raw->st_shndx != SHN_COMMON;
}

static char first_letter(const struct rdf_symbols *symbols, const Elf64_Sym *raw)
{
    return raw->st_name < symbols->str.len_bytes ? (char)symbols->str.data[raw->st_name] : 0;
}

/* Any name for a place in code. "$x" and "$d" are aarch64's marks for code and data (AAELF64, 5.5.4). */
static bool is_code_symbol(const struct rdf_image *image, const struct rdf_symbols *symbols,
                           const Elf64_Sym *raw)
{
    unsigned type = ELF64_ST_TYPE(raw->st_info);
    return is_defined(raw) &&
           (type == STT_FUNC || type == STT_GNU_IFUNC || type == STT_NOTYPE || type == STT_OBJECT) &&
           rdf_image_is_code(image, raw->st_value + image->object.bias) &&
           first_letter(symbols, raw) != '$' && first_letter(symbols, raw) != 0;
}

bool rdf_symbol_is_function(const struct rdf_image *image, const struct rdf_symbols *symbols,
                            const Elf64_Sym *raw)
{
    return ELF64_ST_TYPE(raw->st_info) != STT_OBJECT && is_code_symbol(image, symbols, raw);
}

bool rdf_symbol_is_named(const struct rdf_symbols *symbols, const Elf64_Sym *raw, const char *name,
                         size_t name_bytes)
{
    const struct rdf_span str = symbols->str;
    if (raw->st_name >= str.len_bytes || name_bytes >= str.len_bytes - raw->st_name)
        return false;
    const char *at = (const char *)str.data + raw->st_name;
    for (size_t i = 0; i < name_bytes; i++)
        if (at[i] != name[i])
            return false;
    return at[name_bytes] == 0;
}

static bool versym_of(const struct rdf_symbols *symbols, uint32_t index, uint16_t *ret)
{
    return rdf_span_u16(symbols->versym, (uint64_t)index * 2, ret);
}

void rdf_symbol_fill(const struct rdf_image *image, const struct rdf_symbols *symbols, uint32_t index,
                     const Elf64_Sym *raw, struct rdf_symbol *ret)
{
    uint16_t version = 0;
    const char *name = rdf_span_string(symbols->str, raw->st_name);
    (void)versym_of(symbols, index, &version);
    *ret = (struct rdf_symbol){
        .addr = raw->st_value + image->object.bias,
        .size_bytes = raw->st_size,
        .name = name ? name : "",
        .index = index,
        .type = ELF64_ST_TYPE(raw->st_info),
        .bind = ELF64_ST_BIND(raw->st_info),
        .is_hidden_version = (version & 0x8000) != 0,
    };
}

/* ---- by address ---- */

/* How good a name is to show; lower is better. */
static unsigned name_rank(const struct rdf_symbol *symbol)
{
    unsigned rank = 0;
    if (symbol->type == STT_NOTYPE)
        rank += 1 << 20;
    if (symbol->is_hidden_version)
        rank += 1 << 19;
    for (unsigned i = 0; i < 3 && symbol->name[i] == '_' && symbol->name[1] != 'Z'; i++)
        rank += 1 << 16;
    if (symbol->bind == STB_LOCAL)
        rank += 1 << 15;
    size_t len = rdf_text_len(symbol->name);
    return rank + (unsigned)(len < 1 << 14 ? len : 1 << 14);
}

static bool is_better(const struct rdf_symbol *candidate, const struct rdf_symbol *best)
{
    unsigned a = name_rank(candidate), b = name_rank(best);
    return a < b;
}

static bool is_typed(const Elf64_Sym *raw)
{
    unsigned type = ELF64_ST_TYPE(raw->st_info);
    return type == STT_FUNC || type == STT_GNU_IFUNC;
}

static bool is_global_place(const Elf64_Sym *raw)
{
    return ELF64_ST_TYPE(raw->st_info) == STT_NOTYPE && ELF64_ST_BIND(raw->st_info) != STB_LOCAL;
}

static void consider(const struct rdf_image *image, const struct rdf_symbols *symbols, uint32_t index,
                     const Elf64_Sym *raw, uint64_t asked, struct rdf_near *near)
{
    uint64_t addr = raw->st_value + image->object.bias;
    unsigned type = ELF64_ST_TYPE(raw->st_info);
    bool is_local = ELF64_ST_BIND(raw->st_info) == STB_LOCAL;
    if (addr > asked) {
        if (addr < near->next_any)
            near->next_any = addr;
        if (is_typed(raw) && addr < near->next_function)
            near->next_function = addr;
        if ((is_typed(raw) || is_global_place(raw)) && addr < near->next_global)
            near->next_global = addr;
        return;
    }
    if (type == STT_OBJECT) {
        near->is_data |= addr == asked || asked - addr < raw->st_size;
        return;
    }
    struct rdf_symbol symbol;
    if (addr == asked) {
        rdf_symbol_fill(image, symbols, index, raw, &symbol);
        if (!near->has_at || is_better(&symbol, &near->at))
            near->at = symbol;
        near->has_at = true;
        near->is_ifunc |= type == STT_GNU_IFUNC;
        near->is_func |= type == STT_FUNC && !is_local;
        if (symbol.size_bytes > near->longest_bytes)
            near->longest_bytes = symbol.size_bytes;
    } else if (asked - addr < raw->st_size && (!near->has_around || addr >= near->around.addr)) {
        rdf_symbol_fill(image, symbols, index, raw, &symbol);
        if (!near->has_around || addr > near->around.addr || is_better(&symbol, &near->around))
            near->around = symbol;
        near->has_around = true;
    }
}

static uint64_t value_of(const struct rdf_symbols *symbols, uint32_t index)
{
    uint64_t value;
    memcpy(&value, symbols->sym.data + (size_t)index * sizeof(Elf64_Sym) + offsetof(Elf64_Sym, st_value),
           sizeof value);
    return value;
}

/* Merge sort from the bottom up: no recursion, no qsort (which may call malloc). */
static uint32_t *sort_by_value(const struct rdf_symbols *symbols, uint32_t *from, uint32_t *to,
                               uint32_t count)
{
    for (uint64_t width = 1; width < count; width *= 2) {
        for (uint64_t start = 0; start < count; start += 2 * width) {
            uint64_t middle = start + width < count ? start + width : count;
            uint64_t end = start + 2 * width < count ? start + 2 * width : count;
            uint64_t left = start, right = middle;
            for (uint64_t out = start; out < end; out++) {
                bool take_left = right >= end || (left < middle && value_of(symbols, from[left]) <=
                                                                       value_of(symbols, from[right]));
                to[out] = take_left ? from[left++] : from[right++];
            }
        }
        uint32_t *swap = from;
        from = to;
        to = swap;
    }
    return from;
}

/* For each symbol the first at or behind it that is typed as code, and that is this or untyped and global. */
static void link_next(struct rdf_symbols *symbols, uint32_t *next_function, uint32_t *next_global)
{
    uint32_t function = symbols->by_addr_count, global = function;
    Elf64_Sym raw;
    for (uint32_t i = symbols->by_addr_count; i-- > 0;) {
        bool is_there = rdf_symbols_raw(symbols, symbols->by_addr[i], &raw);
        if (is_there && is_typed(&raw))
            function = global = i;
        else if (is_there && is_global_place(&raw))
            global = i;
        next_function[i] = function;
        next_global[i] = global;
    }
    symbols->next_function = next_function;
    symbols->next_global = next_global;
}

static void build_index(struct rdf_images *images, const struct rdf_image *image, struct rdf_symbols *symbols)
{
    uint32_t used = 0;
    Elf64_Sym raw;
    for (uint32_t i = 0; rdf_symbols_raw(symbols, i, &raw); i++)
        used += is_code_symbol(image, symbols, &raw);
    uint32_t *index = rdf_arena_alloc(images->arena, (size_t)used * sizeof *index);
    uint32_t *spare = rdf_arena_alloc(images->arena, (size_t)used * sizeof *spare);
    uint32_t *next = rdf_arena_alloc(images->arena, (size_t)used * sizeof *next);
    if (!index || !spare || !next)
        return; /* not a failure: walking the table answers the same */
    uint32_t put = 0;
    for (uint32_t i = 0; put < used && rdf_symbols_raw(symbols, i, &raw); i++)
        if (is_code_symbol(image, symbols, &raw))
            index[put++] = i;
    symbols->by_addr = sort_by_value(symbols, index, spare, put);
    symbols->by_addr_count = put;
    link_next(symbols, symbols->by_addr == index ? spare : index, next);
}

/* Addresses are compared as distances from the image's start: the bias may wrap (old vDSOs). */
static uint64_t key(const struct rdf_image *image, uint64_t addr)
{
    return addr - image->object.bias;
}

/* Of the i'th symbol by address; UINT64_MAX where there is none. */
static uint64_t addr_by_index(const struct rdf_image *image, const struct rdf_symbols *symbols, uint32_t i)
{
    return i < symbols->by_addr_count ? value_of(symbols, symbols->by_addr[i]) + image->object.bias
                                      : UINT64_MAX;
}

static void near_by_index(const struct rdf_image *image, const struct rdf_symbols *symbols, uint64_t addr,
                          struct rdf_near *ret)
{
    uint32_t low = 0, high = symbols->by_addr_count;
    while (low < high) { /* the first symbol behind addr */
        uint32_t middle = low + (high - low) / 2;
        if (value_of(symbols, symbols->by_addr[middle]) > key(image, addr))
            high = middle;
        else
            low = middle + 1;
    }
    /* Not by walking there: behind the last function of a kernel's text lie symbols of data by the ten
     * thousand. */
    if (low < symbols->by_addr_count) {
        ret->next_any = addr_by_index(image, symbols, low);
        ret->next_function = addr_by_index(image, symbols, symbols->next_function[low]);
        ret->next_global = addr_by_index(image, symbols, symbols->next_global[low]);
    }
    Elf64_Sym raw;
    unsigned walked = 0;
    for (uint32_t i = low; i-- > 0;) {
        if (!rdf_symbols_raw(symbols, symbols->by_addr[i], &raw))
            break;
        bool at = raw.st_value == key(image, addr);
        if (!at && (ret->has_at || walked++ >= WALK_BACK_MAX))
            break;
        if (ret->has_around && raw.st_value + image->object.bias < ret->around.addr)
            break;
        consider(image, symbols, symbols->by_addr[i], &raw, addr, ret);
    }
}

/* Most symbols can be passed over without a look at their name or segment. */
static bool can_matter(const struct rdf_image *image, const Elf64_Sym *raw, uint64_t asked,
                       const struct rdf_near *near)
{
    uint64_t addr = raw->st_value + image->object.bias;
    if (addr > asked)
        return addr < near->next_function; /* the farthest of the three */
    return addr == asked || asked - addr < raw->st_size;
}

void rdf_symbols_near(struct rdf_images *images, struct rdf_image *image, struct rdf_symbols *symbols,
                      uint64_t addr, struct rdf_near *ret)
{
    *ret = (struct rdf_near){.next_function = UINT64_MAX, .next_global = UINT64_MAX, .next_any = UINT64_MAX};
    if (!symbols->by_addr && symbols->questions++ == QUESTIONS_BEFORE_INDEX)
        build_index(images, image, symbols);
    if (symbols->by_addr) {
        near_by_index(image, symbols, addr, ret);
        return;
    }
    Elf64_Sym raw;
    for (uint32_t i = 0; rdf_symbols_raw(symbols, i, &raw); i++)
        if (can_matter(image, &raw, addr, ret) && is_code_symbol(image, symbols, &raw))
            consider(image, symbols, i, &raw, addr, ret);
}

bool rdf_symbols_sort(struct rdf_images *images, const struct rdf_image *image, struct rdf_symbols *symbols)
{
    if (!symbols->by_addr && symbols->count)
        build_index(images, image, symbols);
    return symbols->by_addr || !symbols->count;
}

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void rdf_near_merge(struct rdf_near *near, const struct rdf_near *other)
{
    if (other->has_at && (!near->has_at || is_better(&other->at, &near->at)))
        near->at = other->at;
    if (other->has_around && (!near->has_around || other->around.addr > near->around.addr))
        near->around = other->around;
    if (other->longest_bytes > near->longest_bytes)
        near->longest_bytes = other->longest_bytes;
    near->has_at |= other->has_at;
    near->has_around |= other->has_around;
    near->is_ifunc |= other->is_ifunc;
    near->is_func |= other->is_func;
    near->is_data |= other->is_data;
    near->next_function = lower(near->next_function, other->next_function);
    near->next_global = lower(near->next_global, other->next_global);
    near->next_any = lower(near->next_any, other->next_any);
}

/* ---- versions ---- */

/* Verdef and Verneed records are linked lists by relative offsets: forward only, so that they end. */
static const char *version_defined(struct rdf_images *images, struct rdf_image *image, uint16_t wanted)
{
    const struct rdf_dynamic *dynamic = rdf_image_dynamic(images, image);
    struct rdf_span span = dynamic->verdef ? rdf_image_tail(images, image, dynamic->verdef)
                                           : (struct rdf_span){NULL, 0};
    uint64_t off = 0;
    for (uint64_t i = 0; i < dynamic->verdef_count && i < UINT16_MAX; i++) {
        Elf64_Verdef def;
        Elf64_Verdaux aux;
        struct rdf_span at = rdf_span_slice(span, off, sizeof def);
        if (!at.data)
            return NULL;
        memcpy(&def, at.data, sizeof def);
        if ((def.vd_ndx & 0x7fff) == wanted) {
            at = rdf_span_slice(span, off + def.vd_aux, sizeof aux);
            if (!at.data)
                return NULL;
            memcpy(&aux, at.data, sizeof aux);
            return rdf_image_dynstr(images, image, aux.vda_name);
        }
        if (!def.vd_next)
            return NULL;
        off += def.vd_next;
    }
    return NULL;
}

const char *rdf_image_version(struct rdf_images *images, struct rdf_image *image, uint32_t symbol_index)
{
    uint16_t version;
    if (!versym_of(rdf_image_dynsym(images, image), symbol_index, &version))
        return NULL;
    version &= 0x7fff; /* 0 is local, 1 global without a version */
    return version > VER_NDX_GLOBAL ? version_defined(images, image, version) : NULL;
}

const char *rdf_image_version_needed(struct rdf_images *images, struct rdf_image *image,
                                     uint32_t symbol_index)
{
    const struct rdf_dynamic *dynamic = rdf_image_dynamic(images, image);
    uint16_t version;
    if (!dynamic->verneed || !versym_of(rdf_image_dynsym(images, image), symbol_index, &version))
        return NULL;
    struct rdf_span span = rdf_image_tail(images, image, dynamic->verneed);
    uint64_t off = 0;
    for (uint64_t i = 0; i < dynamic->verneed_count && i < UINT16_MAX; i++) {
        Elf64_Verneed need;
        struct rdf_span at = rdf_span_slice(span, off, sizeof need);
        if (!at.data)
            return NULL;
        memcpy(&need, at.data, sizeof need);
        uint64_t aux_off = off + need.vn_aux;
        for (unsigned j = 0; j < need.vn_cnt; j++) {
            Elf64_Vernaux aux;
            at = rdf_span_slice(span, aux_off, sizeof aux);
            if (!at.data)
                return NULL;
            memcpy(&aux, at.data, sizeof aux);
            if ((aux.vna_other & 0x7fff) == (version & 0x7fff))
                return rdf_image_dynstr(images, image, aux.vna_name);
            if (!aux.vna_next)
                break;
            aux_off += aux.vna_next;
        }
        if (!need.vn_next)
            return NULL;
        off += need.vn_next;
    }
    return NULL;
}

/* ---- by name ---- */

struct wanted {
    const char *name;
    size_t name_bytes;
    const char *version; /* null: the default one */
    size_t version_bytes;
};

static bool is_wanted(struct rdf_images *images, struct rdf_image *image, const struct rdf_symbols *symbols,
                      uint32_t index, const struct wanted *wanted, struct rdf_symbol *ret)
{
    Elf64_Sym raw;
    uint16_t version;
    if (!rdf_symbols_raw(symbols, index, &raw) || ELF64_ST_BIND(raw.st_info) == STB_LOCAL ||
        !rdf_symbol_is_named(symbols, &raw, wanted->name, wanted->name_bytes) ||
        !rdf_symbol_is_function(image, symbols, &raw))
        return false;
    /* An object without versions satisfies every reference, as in dl-lookup.c. */
    if (versym_of(symbols, index, &version)) {
        const char *text = wanted->version ? rdf_image_version(images, image, index) : NULL;
        if (wanted->version ? !text || !rdf_text_is(text, wanted->version, wanted->version_bytes)
                            : (version & 0x8000) != 0)
            return false;
    } else if (wanted->version) {
        return false;
    }
    rdf_symbol_fill(image, symbols, index, &raw, ret);
    return true;
}

static bool by_gnu_hash(struct rdf_images *images, struct rdf_image *image, struct rdf_span table,
                        const struct wanted *wanted, struct rdf_symbol *ret)
{
    const struct rdf_symbols *symbols = rdf_image_dynsym(images, image);
    uint32_t buckets, first, bloom_words, shift, start, word;
    uint64_t bloom;
    if (!rdf_span_u32(table, 0, &buckets) || !rdf_span_u32(table, 4, &first) ||
        !rdf_span_u32(table, 8, &bloom_words) || !rdf_span_u32(table, 12, &shift) || !buckets || !bloom_words)
        return false;
    uint32_t hash = 5381;
    for (size_t i = 0; i < wanted->name_bytes; i++)
        hash = hash * 33 + (uint8_t)wanted->name[i];
    if (!rdf_span_u64(table, 16 + (uint64_t)(hash / 64 % bloom_words) * 8, &bloom))
        return false;
    uint64_t both = UINT64_C(1) << (hash % 64) | UINT64_C(1) << ((hash >> (shift & 31)) % 64);
    if ((bloom & both) != both)
        return false;
    uint64_t bucket_off = 16 + (uint64_t)bloom_words * 8;
    if (!rdf_span_u32(table, bucket_off + (uint64_t)(hash % buckets) * 4, &start) || start < first)
        return false;
    uint64_t chain_off = bucket_off + (uint64_t)buckets * 4;
    for (uint64_t i = start; i < symbols->count; i++) {
        if (!rdf_span_u32(table, chain_off + (i - first) * 4, &word))
            return false;
        if ((word | 1) == (hash | 1) && is_wanted(images, image, symbols, (uint32_t)i, wanted, ret))
            return true;
        if (word & 1)
            return false;
    }
    return false;
}

static bool by_sysv_hash(struct rdf_images *images, struct rdf_image *image, struct rdf_span table,
                         const struct wanted *wanted, struct rdf_symbol *ret)
{
    const struct rdf_symbols *symbols = rdf_image_dynsym(images, image);
    uint32_t buckets, chains, index;
    if (!rdf_span_u32(table, 0, &buckets) || !rdf_span_u32(table, 4, &chains) || !buckets)
        return false;
    uint32_t hash = 0;
    for (size_t i = 0; i < wanted->name_bytes; i++) {
        hash = (hash << 4) + (uint8_t)wanted->name[i];
        uint32_t high = hash & 0xf0000000;
        hash = (hash ^ high >> 24) & ~high;
    }
    if (!rdf_span_u32(table, 8 + (uint64_t)(hash % buckets) * 4, &index))
        return false;
    /* A chain visits each symbol at most once, unless it is a cycle. */
    for (uint32_t steps = symbols->count; index && steps; steps--) {
        if (is_wanted(images, image, symbols, index, wanted, ret))
            return true;
        if (!rdf_span_u32(table, 8 + ((uint64_t)buckets + index) * 4, &index))
            return false;
    }
    return false;
}

bool rdf_image_exported(struct rdf_images *images, struct rdf_image *image, const char *name,
                        size_t name_bytes, const char *version, size_t version_bytes, struct rdf_symbol *ret)
{
    const struct wanted wanted = {name, name_bytes, version, version_bytes};
    const struct rdf_dynamic *dynamic = rdf_image_dynamic(images, image);
    const struct rdf_symbols *symbols = rdf_image_dynsym(images, image);
    if (dynamic->gnu_hash)
        return by_gnu_hash(images, image, rdf_image_tail(images, image, dynamic->gnu_hash), &wanted, ret);
    if (dynamic->hash)
        return by_sysv_hash(images, image, rdf_image_tail(images, image, dynamic->hash), &wanted, ret);
    for (uint32_t i = 0; i < symbols->count; i++)
        if (is_wanted(images, image, symbols, i, &wanted, ret))
            return true;
    return false;
}
