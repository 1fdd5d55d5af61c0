/* SPDX-License-Identifier: MIT
 *
 * Facts of functions, gathered for all that are asked for at once: names and clones from the symbols, callers
 * and what they rely on from the code.
 */
#include "check/facts.h"

#include "base/order.h"
#include "image/calls.h"

#include <string.h>

enum {
    CALLERS_LISTED = 16, /* of each clone … */
    LISTED_MAX = 16,     /* … unless more functions than that are asked about */
    NAMES_TEXT_BYTES = 512,
};

/* The compiler's suffixes; a part of any clone is first of all a part. */
bool rdf_clone_of(const char *name, enum rdf_clone_kind *ret_kind, size_t *ret_base_bytes)
{
    static const struct {
        const char *suffix;
        enum rdf_clone_kind kind;
    } kinds[] = {
        {".cold", RDF_CLONE_COLD},
        {".part.", RDF_CLONE_PART},
        {".isra.", RDF_CLONE_ISRA},
        {".constprop.", RDF_CLONE_CONSTPROP},
        {".lto_priv.", RDF_CLONE_PROMOTED},
        {".llvm.", RDF_CLONE_PROMOTED},
        {".specialized.", RDF_CLONE_CONSTPROP},
    };
    size_t base_bytes = SIZE_MAX;
    for (size_t i = sizeof kinds / sizeof kinds[0]; i-- > 0;) {
        const char *at = strstr(name, kinds[i].suffix);
        if (!at || at == name)
            continue;
        *ret_kind = kinds[i].kind;
        if ((size_t)(at - name) < base_bytes)
            base_bytes = (size_t)(at - name);
    }
    if (base_bytes == SIZE_MAX)
        return false;
    *ret_base_bytes = base_bytes;
    return true;
}

struct name_node {
    struct rdf_named named;
    struct name_node *next; /* of the same function */
};

struct gather {
    struct rdf_images *images;
    const struct rdf_function *functions;
    size_t count;
    struct rdf_arena *arena;  /* what stays */
    struct rdf_arena scratch; /* what does not */
    struct rdf_facts *facts;
    struct name_node **names;  /* of each function: its other names … */
    struct name_node **clones; /* … and its clones */
    const char **files;        /* the source file of each function; null: not told */
    uint32_t *slot;            /* names → function + 1 */
    size_t slot_count;
    bool out_of_memory;
};

static void *take(struct gather *gather, struct rdf_arena *arena, size_t len_bytes)
{
    void *memory = rdf_arena_alloc(arena, len_bytes ? len_bytes : 1);
    gather->out_of_memory |= !memory;
    return memory;
}

/* ---- Names ---- */

static size_t index_of(const struct gather *gather, uint64_t addr)
{
    size_t i = RDF_FIRST_FROM(gather->functions, gather->count, start, addr);
    return i < gather->count && gather->functions[i].start == addr ? i : SIZE_MAX;
}

static size_t first_slot(const struct gather *gather, const char *name, size_t len)
{
    uint64_t hash = 5381;
    for (size_t i = 0; i < len; i++)
        hash = hash * 33 + (unsigned char)name[i];
    return (size_t)(hash * UINT64_C(0x9e3779b97f4a7c15) >> 20) % gather->slot_count;
}

static void note_name(struct gather *gather, const char *name, size_t function)
{
    size_t slot = first_slot(gather, name, strlen(name));
    while (gather->slot[slot])
        slot = (slot + 1) % gather->slot_count;
    gather->slot[slot] = (uint32_t)function + 1;
}

static void push(struct gather *gather, struct name_node **list, const struct rdf_named *named)
{
    struct name_node *node = take(gather, &gather->scratch, sizeof *node);
    if (!node)
        return;
    *node = (struct name_node){*named, *list};
    *list = node;
}

static bool visit_name(void *ctx, const struct rdf_named *named)
{
    struct gather *gather = ctx;
    size_t index = index_of(gather, named->addr);
    if (index == SIZE_MAX)
        return !gather->out_of_memory;
    if (named->file)
        gather->files[index] = named->file;
    push(gather, &gather->names[index], named);
    return !gather->out_of_memory;
}

/* A clone goes with the function of its base's name; of several static ones, with that of its own file. */
static bool visit_clone(void *ctx, const struct rdf_named *named)
{
    struct gather *gather = ctx;
    enum rdf_clone_kind kind;
    size_t len;
    if (named->is_exported || !rdf_clone_of(named->name, &kind, &len))
        return true;
    for (size_t slot = first_slot(gather, named->name, len); gather->slot[slot];
         slot = (slot + 1) % gather->slot_count) {
        size_t index = gather->slot[slot] - 1;
        const char *base = gather->functions[index].name;
        const char *file = gather->files[index];
        bool is_same_file = !file || !named->file || strcmp(file, named->file) == 0;
        if (strncmp(base, named->name, len) == 0 && !base[len] && is_same_file &&
            named->addr != gather->functions[index].start)
            push(gather, &gather->clones[index], named);
    }
    return !gather->out_of_memory;
}

/* Without leading underscores, the version, and what compilers and libraries put before or behind a name of
 * their own: __GI_time and time, memcpy and __memcpy_avx. */
static bool are_related(const char *a, const char *b)
{
    a += strspn(a, "_");
    b += strspn(b, "_");
    return strstr(a, b) || strstr(b, a);
}

/* The forms of a C++ constructor or destructor differ in one digit: C1, C2, D0, D1, D2. */
static bool are_forms(const char *a, const char *b)
{
    size_t differing = 0;
    if (strncmp(a, "_Z", 2) != 0 || strlen(a) != strlen(b))
        return false;
    for (size_t i = 0; a[i]; i++) {
        if (a[i] == b[i])
            continue;
        differing++;
        if (a[i - 1] != 'C' && a[i - 1] != 'D')
            return false;
    }
    return differing == 1;
}

/* Two names of one place: people write aliases weak, or as variations of a name; what a linker or compiler
 * has merged are functions in their own right. */
static bool is_folded(const struct rdf_named *a, const struct rdf_named *b)
{
    return !a->is_weak && !b->is_weak && a->size_bytes == b->size_bytes && !are_related(a->name, b->name) &&
           !are_forms(a->name, b->name);
}

/* How the function's own name is listed; itself where it is not. */
static struct rdf_named own_name(const struct gather *gather, size_t index)
{
    const struct rdf_function *function = &gather->functions[index];
    for (const struct name_node *node = gather->names[index]; node; node = node->next)
        if (strcmp(node->named.name, function->name) == 0)
            return node->named;
    return (struct rdf_named){.name = function->name, .size_bytes = function->end - function->start};
}

static bool is_named_before(const void *a, const void *b)
{
    return strcmp(((const struct rdf_other_name *)a)->name, ((const struct rdf_other_name *)b)->name) < 0;
}

/* By name, each once: both tables may list it. */
static void keep_names(struct gather *gather, size_t index)
{
    struct rdf_facts *facts = &gather->facts[index];
    size_t count = 0, unique = 0;
    if (!gather->functions[index].name)
        return;
    struct rdf_named own = own_name(gather, index);
    for (const struct name_node *node = gather->names[index]; node; node = node->next)
        count += strcmp(node->named.name, own.name) != 0;
    struct rdf_other_name *other = take(gather, gather->arena, count * sizeof *other);
    if (!other)
        return;
    count = 0;
    for (const struct name_node *node = gather->names[index]; node; node = node->next)
        if (strcmp(node->named.name, own.name) != 0)
            other[count++] = (struct rdf_other_name){node->named.name, is_folded(&own, &node->named)};
    rdf_sort(other, count, sizeof *other, is_named_before);
    for (size_t i = 0; i < count; i++)
        if (!unique || strcmp(other[unique - 1].name, other[i].name) != 0)
            other[unique++] = other[i];
    facts->other_name = other;
    facts->other_name_count = unique;
}

/* ---- Clones ---- */

static void keep_clones(struct gather *gather, size_t index)
{
    struct rdf_facts *facts = &gather->facts[index];
    size_t count = 0;
    for (const struct name_node *node = gather->clones[index]; node; node = node->next)
        count++;
    struct rdf_clone *clone = take(gather, gather->arena, count * sizeof *clone);
    facts->clone = clone;
    for (const struct name_node *node = gather->clones[index]; clone && node; node = node->next) {
        enum rdf_clone_kind kind = RDF_CLONE_COLD;
        size_t unused;
        (void)rdf_clone_of(node->named.name, &kind, &unused);
        clone[facts->clone_count++] = (struct rdf_clone){.kind = kind,
                                                         .name = node->named.name,
                                                         .addr = node->named.addr,
                                                         .size_bytes = node->named.size_bytes,
                                                         .file = node->named.file};
    }
}

static void gather_names(struct gather *gather, struct rdf_image *image)
{
    gather->slot_count = 2 * gather->count + 1;
    gather->names = take(gather, &gather->scratch, gather->count * sizeof *gather->names);
    gather->clones = take(gather, &gather->scratch, gather->count * sizeof *gather->clones);
    gather->files = take(gather, &gather->scratch, gather->count * sizeof *gather->files);
    gather->slot = take(gather, &gather->scratch, gather->slot_count * sizeof *gather->slot);
    if (gather->out_of_memory)
        return;
    for (size_t i = 0; i < gather->count; i++)
        if (gather->functions[i].name)
            note_name(gather, gather->functions[i].name, i);
    rdf_image_each_name(gather->images, image, visit_name, gather);
    rdf_image_each_name(gather->images, image, visit_clone, gather);
    for (size_t i = 0; i < gather->count && !gather->out_of_memory; i++) {
        keep_names(gather, i);
        keep_clones(gather, i);
    }
}

/* ---- Callers ---- */

/* What is asked of the code: the functions and their clones, by ascending address. */
struct asked {
    struct rdf_references references;
    size_t function;         /* SIZE_MAX: none, but … */
    struct rdf_clone *clone; /* … this */
};

struct calls {
    struct gather *gather;
    struct asked
        *asked; /* of one start, all, one behind the other: a clone may be asked for by itself, too */
    size_t count;
    bool is_listed;             /* the callers of clones */
    struct rdf_call_site *site; /* all calls of functions */
    size_t site_count, site_room;
};

static bool starts_before(const void *a, const void *b)
{
    return ((const struct asked *)a)->references.start < ((const struct asked *)b)->references.start;
}

static struct rdf_caller caller_at(struct gather *gather, uint64_t addr)
{
    struct rdf_function function;
    struct rdf_error unused = {0};
    uint64_t start = rdf_images_start_of(gather->images, addr);
    bool is_known = start && rdf_images_function(gather->images, start, &function, &unused) == REDEFINE_OK;
    return (struct rdf_caller){.name = is_known ? function.name : NULL, .addr = addr, .start = start};
}

static void list_caller(struct gather *gather, struct rdf_clone *clone, uint64_t addr)
{
    if (!clone->caller)
        clone->caller = take(gather, gather->arena, CALLERS_LISTED * sizeof *clone->caller);
    if (clone->caller && clone->caller_count < CALLERS_LISTED)
        clone->caller[clone->caller_count++] = caller_at(gather, addr);
}

static void keep_site(struct calls *calls, const struct rdf_call_site *site)
{
    if (calls->site_count == calls->site_room) {
        size_t room = calls->site_room ? 2 * calls->site_room : 256;
        struct rdf_call_site *more = take(calls->gather, &calls->gather->scratch, room * sizeof *more);
        if (!more)
            return;
        if (calls->site_count)
            memcpy(more, calls->site, calls->site_count * sizeof *more);
        calls->site = more;
        calls->site_room = room;
    }
    calls->site[calls->site_count++] = *site;
}

static void visit_call(void *ctx, size_t index, uint64_t addr, enum rdf_reference kind)
{
    struct calls *calls = ctx;
    const struct asked *asked = calls->asked;
    uint64_t start = asked[index].references.start;
    for (; index < calls->count && asked[index].references.start == start; index++)
        if (asked[index].function != SIZE_MAX)
            keep_site(calls, &(struct rdf_call_site){addr, asked[index].function, kind});
        else if (calls->is_listed)
            list_caller(calls->gather, asked[index].clone, addr);
}

static redefine_status gather_callers(struct gather *gather, struct rdf_image *image, struct calls *calls,
                                      struct rdf_error *err)
{
    size_t count = gather->count, put = 0;
    for (size_t i = 0; i < gather->count; i++)
        count += gather->facts[i].clone_count;
    struct asked *asked = take(gather, &gather->scratch, count * sizeof *asked);
    struct rdf_references *ask = take(gather, &gather->scratch, count * sizeof *ask);
    if (gather->out_of_memory)
        return REDEFINE_OK;
    for (size_t i = 0; i < gather->count; i++) {
        const struct rdf_function *function = &gather->functions[i];
        const struct rdf_facts *facts = &gather->facts[i];
        asked[put++] = (struct asked){{.start = function->start, .end = function->end}, i, NULL};
        for (size_t j = 0; j < facts->clone_count; j++) {
            struct rdf_clone *clone = &facts->clone[j];
            asked[put++] = (struct asked){{.start = clone->addr, .end = clone->addr + clone->size_bytes},
                                          SIZE_MAX,
                                          clone};
        }
    }
    rdf_sort(asked, count, sizeof *asked, starts_before);
    for (size_t i = 0; i < count; i++)
        ask[i] = asked[i].references;
    *calls = (struct calls){.gather = gather,
                            .asked = asked,
                            .count = count,
                            .is_listed = gather->count <= LISTED_MAX};
    redefine_status status = rdf_image_references(gather->images, image, ask, count, false, visit_call, calls,
                                                  err);
    for (size_t i = 0; i < count && status == REDEFINE_OK; i++) {
        if (i && ask[i].start == ask[i - 1].start)
            ask[i] = ask[i - 1];
        if (asked[i].clone) {
            asked[i].clone->direct_calls = ask[i].calls + ask[i].jumps;
            continue;
        }
        struct rdf_facts *facts = &gather->facts[asked[i].function];
        facts->direct_calls = (size_t)ask[i].calls + ask[i].jumps;
        facts->taken_addresses = ask[i].addresses;
        facts->is_exported = ask[i].is_exported;
        facts->is_complete = true;
    }
    return status;
}

/* ---- What they rely on ---- */

static void keep_reliance(struct gather *gather, const struct rdf_reliance *reliance, struct rdf_facts *facts)
{
    facts->left_alone = reliance->relied_on;
    facts->is_misaligned = reliance->is_misaligned;
    if (!facts->left_alone && !facts->is_misaligned)
        return;
    const struct rdf_arch *arch = gather->images->arch;
    uint8_t code[RDF_PRESERVE_BYTES_MAX];
    const struct rdf_keep keep = {reliance->relied_on, reliance->vector_bytes, reliance->stack_words};
    facts->relay_keeps = arch->emit_preserve(code, 0, 0, 0, &keep) > 0;
    struct rdf_caller *relying = take(gather, gather->arena, sizeof *relying);
    char *names = take(gather, &gather->scratch, NAMES_TEXT_BYTES);
    if (!relying || !names)
        return;
    *relying = caller_at(gather, reliance->caller_addr);
    facts->relying = relying;
    if (!facts->left_alone)
        return;
    rdf_register_names(gather->images->arch, facts->left_alone, names, NAMES_TEXT_BYTES);
    facts->left_alone_names = rdf_arena_copy(gather->arena, names, strlen(names));
    gather->out_of_memory |= !facts->left_alone_names;
}

static redefine_status gather_reliance(struct gather *gather, struct rdf_image *image,
                                       const struct calls *calls, struct rdf_error *err)
{
    const struct rdf_call_sites sites = {calls->site, calls->site_count};
    struct rdf_reliance *reliance = take(gather, &gather->scratch, gather->count * sizeof *reliance);
    if (!reliance)
        return REDEFINE_OK;
    redefine_status status = rdf_image_reliance(gather->images, image, gather->functions, gather->count,
                                                &sites, reliance, err);
    for (size_t i = 0; i < gather->count && status == REDEFINE_OK; i++)
        keep_reliance(gather, &reliance[i], &gather->facts[i]);
    return status;
}

static redefine_status gather_all(struct gather *gather, bool with_code, struct rdf_error *err)
{
    for (size_t i = 0; i < gather->count; i++)
        gather->facts[i] = (struct rdf_facts){0};
    if (gather->count == 0)
        return REDEFINE_OK;
    struct rdf_image *image = gather->functions[0].image;
    struct calls calls;
    rdf_arena_init(&gather->scratch, gather->arena->source);
    gather_names(gather, image);
    redefine_status status = REDEFINE_OK;
    if (with_code && !gather->out_of_memory)
        status = gather_callers(gather, image, &calls, err);
    if (with_code && status == REDEFINE_OK && !gather->out_of_memory)
        status = gather_reliance(gather, image, &calls, err);
    rdf_arena_free(&gather->scratch);
    return gather->out_of_memory
               ? rdf_fail(err, REDEFINE_ENOMEM, "no memory for the facts of %zu functions", gather->count)
               : status;
}

redefine_status rdf_facts_names(struct rdf_images *images, const struct rdf_function *functions, size_t count,
                                struct rdf_arena *arena, struct rdf_facts *ret, struct rdf_error *err)
{
    struct gather gather = {
        .images = images, .functions = functions, .count = count, .arena = arena, .facts = ret};
    return gather_all(&gather, false, err);
}

redefine_status rdf_facts_gather(struct rdf_images *images, const struct rdf_function *functions,
                                 size_t count, struct rdf_arena *arena, struct rdf_facts *ret,
                                 struct rdf_error *err)
{
    struct gather gather = {
        .images = images, .functions = functions, .count = count, .arena = arena, .facts = ret};
    return gather_all(&gather, true, err);
}
