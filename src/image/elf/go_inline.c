/* SPDX-License-Identifier: MIT
 *
 * Inlined copies: a function's inline tree has a record for each call that was replaced by the callee's body,
 * and a table by PC says which record an instruction comes from. The tree's length is stored nowhere: it is
 * as long as the largest index in use demands.
 *
 * The call's own place is found through the record's parentPc, an instruction whose line is that of the call;
 * the index there is the record of the caller, which may have been inlined too. Go 1.19 stores all three.
 *
 * Source: runtime/symtabinl.go; runtime/symtab.go of Go 1.19 (inlinedCall).
 */
#include "base/order.h"
#include "image/elf/go_internal.h"

#include <stdio.h>

enum { FUNCDATA_INL_TREE = 3, DEPTH_MAX = 200 };

/* One record of the tree. */
struct node {
    const char *name; /* null: not read yet */
    uint64_t parent_pc;
    int32_t parent; /* -1: the function itself */
    int32_t file;   /* Go 1.19 only, as is `line` */
    uint32_t line;
    uint64_t first_pc; /* 0: no instruction */
    uint64_t bytes;
    bool wanted;
};

/* Instructions from `start` up to the next range's start. */
struct range {
    uint32_t start; /* behind the entry */
    int32_t index;
};

struct tree {
    const struct rdf_go *go;
    struct rdf_go_func func;
    struct rdf_span records;
    int32_t last; /* the largest index in use; -1: nothing was inlined */
    /* last + 1 nodes, and all ranges, in buffers that grow from function to function. */
    struct node *node;
    struct range *range;
    size_t node_room, range_room, range_count;
    bool damaged;
};

static bool find_last(void *ctx, uint64_t start, uint64_t end, int32_t value)
{
    struct tree *tree = ctx;
    (void)start;
    (void)end;
    tree->range_count++;
    tree->last = value > tree->last ? value : tree->last;
    return true;
}

static const char *record_name(const struct tree *tree, int32_t index)
{
    unsigned name_at = tree->go->layout->inlined_bytes == RDF_GO_OLD_INLINED_BYTES ? 12 : 4;
    uint32_t off;
    if (!rdf_span_u32(tree->records, (uint64_t)(uint32_t)index * tree->go->layout->inlined_bytes + name_at,
                      &off))
        return NULL;
    return rdf_go_name_at(tree->go, off);
}

static bool begin_tree(struct tree *tree, uint32_t index)
{
    tree->last = -1;
    tree->range_count = 0;
    tree->damaged = !rdf_go_func(tree->go, index, &tree->func);
    uint64_t addr = tree->damaged ? 0 : rdf_go_funcdata(&tree->func, FUNCDATA_INL_TREE);
    if (!addr)
        return false;
    uint64_t off = addr - tree->go->gofunc;
    if (!rdf_go_each_range(&tree->func, RDF_GO_INL_INDEX, find_last, tree)) {
        tree->damaged = true;
        return false;
    }
    if (tree->last < 0)
        return false;
    uint64_t bytes = ((uint64_t)(uint32_t)tree->last + 1) * tree->go->layout->inlined_bytes;
    tree->records = rdf_span_slice(tree->go->gofunc_bytes, off, bytes);
    /* Each record has an instruction of its own, if only one that marks the call. */
    tree->damaged = !tree->records.data ||
                    (uint64_t)(uint32_t)tree->last >= tree->func.end - tree->func.entry;
    return !tree->damaged;
}

static bool names_any(struct tree *tree, const char *name)
{
    bool any = false;
    for (int32_t i = 0; i <= tree->last; i++) {
        const char *found = record_name(tree, i);
        tree->damaged |= !found;
        any |= found && (!name || rdf_go_name_matches(name, found));
    }
    return any && !tree->damaged;
}

/* `*list` with room for `count` elements; what was in it is lost. */
static bool make_room(const struct tree *tree, void **list, size_t *room, size_t count, size_t element_bytes)
{
    if (count <= *room)
        return true;
    size_t wanted = count > 2 * *room ? count : 2 * *room;
    *list = rdf_arena_alloc(tree->go->arena, wanted * element_bytes);
    *room = *list ? wanted : 0;
    return *list != NULL;
}

static bool keep_range(void *ctx, uint64_t start, uint64_t end, int32_t value)
{
    struct tree *tree = ctx;
    (void)end;
    tree->range[tree->range_count++] = (struct range){(uint32_t)(start - tree->func.entry), value};
    return true;
}

static bool index_at(const struct tree *tree, uint32_t off, int32_t *ret)
{
    size_t behind = RDF_FIRST_BEHIND(tree->range, tree->range_count, start, off);
    if (!behind || off >= tree->func.end - tree->func.entry)
        return false;
    *ret = tree->range[behind - 1].index;
    return true;
}

/* The record of the caller, which is inside the function; a record that is its own caller is a lie. */
static bool read_node(struct tree *tree, int32_t index, const char *name)
{
    struct node node = {.name = record_name(tree, index), .parent = -1};
    struct rdf_span record = rdf_span_slice(tree->records,
                                            (uint64_t)(uint32_t)index * tree->go->layout->inlined_bytes,
                                            tree->go->layout->inlined_bytes);
    uint32_t parent_pc = 0;
    if (tree->go->layout->inlined_bytes == RDF_GO_OLD_INLINED_BYTES) {
        uint16_t parent = 0;
        uint32_t file = 0;
        (void)rdf_span_u16(record, 0, &parent);
        (void)rdf_span_u32(record, 4, &file);
        (void)rdf_span_u32(record, 8, &node.line);
        (void)rdf_span_u32(record, 16, &parent_pc);
        node.parent = (int16_t)parent;
        node.file = (int32_t)file;
        node.parent_pc = tree->func.entry + parent_pc;
    } else {
        (void)rdf_span_u32(record, 8, &parent_pc);
        node.parent_pc = tree->func.entry + parent_pc;
        if (!index_at(tree, parent_pc, &node.parent))
            return false;
    }
    node.wanted = !name || rdf_go_name_matches(name, node.name);
    tree->node[index] = node;
    return node.parent >= -1 && node.parent <= tree->last && node.parent != index;
}

/* The instruction belongs to its record and to all that called it. */
static bool attribute(void *ctx, uint64_t start, uint64_t end, int32_t value)
{
    struct tree *tree = ctx;
    unsigned depth = 0;
    for (int32_t i = value; i >= 0; i = tree->node[i].parent) {
        if (++depth > DEPTH_MAX) {
            tree->damaged = true;
            return false;
        }
        struct node *node = &tree->node[i];
        if (!node->first_pc)
            node->first_pc = start;
        node->bytes += end - start;
    }
    return true;
}

static bool read_tree(struct tree *tree, const char *name)
{
    void *node = tree->node, *range = tree->range;
    bool has_room = make_room(tree, &node, &tree->node_room, (size_t)tree->last + 1, sizeof *tree->node) &&
                    make_room(tree, &range, &tree->range_room, tree->range_count, sizeof *tree->range);
    tree->node = node;
    tree->range = range;
    tree->damaged = !has_room;
    if (tree->damaged)
        return false;
    tree->range_count = 0;
    (void)rdf_go_each_range(&tree->func, RDF_GO_INL_INDEX, keep_range, tree);
    for (int32_t i = 0; i <= tree->last && !tree->damaged; i++)
        tree->damaged = !read_node(tree, i, name);
    if (!tree->damaged)
        (void)rdf_go_each_range(&tree->func, RDF_GO_INL_INDEX, attribute, tree);
    return !tree->damaged;
}

static struct rdf_go_site site_of(const struct tree *tree, const struct node *node)
{
    struct rdf_go_site site = {.func = tree->func,
                               .name = node->name,
                               .caller = node->parent < 0 ? tree->func.name : tree->node[node->parent].name,
                               .pc = node->first_pc ? node->first_pc : node->parent_pc,
                               .bytes = node->bytes,
                               .file = "",
                               .line = node->line};
    if (tree->go->layout->inlined_bytes == RDF_GO_OLD_INLINED_BYTES) {
        const char *file = rdf_go_file(&tree->func, node->file);
        site.file = file ? file : "";
    } else {
        (void)rdf_go_line(&tree->func, node->parent_pc, &site.file, &site.line);
    }
    return site;
}

void rdf_go_each_inlined(const struct rdf_go *go, const char *name, rdf_go_site_visit *visit, void *ctx,
                         size_t *ret_damaged)
{
    struct tree tree = {.go = go};
    size_t damaged = 0;
    bool go_on = true;
    for (uint32_t i = 0; i < go->func_count && go_on; i++) {
        bool is_there = begin_tree(&tree, i) && names_any(&tree, name) && read_tree(&tree, name);
        damaged += tree.damaged;
        for (int32_t j = 0; is_there && go_on && j <= tree.last; j++) {
            if (!tree.node[j].wanted)
                continue;
            struct rdf_go_site site = site_of(&tree, &tree.node[j]);
            go_on = visit(ctx, &site);
        }
    }
    if (ret_damaged)
        *ret_damaged = damaged;
}

void rdf_go_inlined(struct rdf_images *images, const char *name, rdf_go_site_visit *visit, void *ctx)
{
    for (size_t i = 0; i < images->count; i++) {
        const struct rdf_go *go;
        if (!images->image[i]->object.is_hidden && rdf_go_is_go(images, images->image[i]) &&
            rdf_go_open(images, images->image[i], &go, NULL) == REDEFINE_OK)
            rdf_go_each_inlined(go, name, visit, ctx, NULL);
    }
}

/* ---- refusing ---- */

struct listing {
    char text[RDF_SENTENCE_BYTES / 2];
    size_t put;
    size_t count, listed;
};

static bool list_site(void *ctx, const struct rdf_go_site *site)
{
    struct listing *list = ctx;
    list->count++;
    if (list->count != list->listed + 1)
        return true;
    int wrote = snprintf(list->text + list->put, sizeof list->text - list->put, "%s%.96s (%.96s:%u)",
                         list->put ? ", " : "", site->caller, rdf_text_base(site->file), site->line);
    if (wrote < 0 || (size_t)wrote >= sizeof list->text - list->put) {
        list->text[list->put] = 0;
        return true;
    }
    list->put += (size_t)wrote;
    list->listed++;
    return true;
}

/* The package of a function ends at the first dot behind the last slash; type arguments may hold slashes. */
static size_t package_bytes(const char *name)
{
    size_t len = 0;
    for (size_t i = 0; name[i] && name[i] != '[' && name[i] != '('; i++)
        len = name[i] == '/' ? i : len;
    while (name[len] && name[len] != '.' && name[len] != '(' && name[len] != '[')
        len++;
    return len;
}

void rdf_go_inlining_flag(const char *name, const char *main_package, char *ret_text, size_t text_bytes)
{
    char package[RDF_IMAGE_NAME_MAX];
    size_t len = package_bytes(name), put = 0;
    for (size_t i = 0; i < len && put + 1 < sizeof package; i++) {
        bool is_escaped = i + 2 < len && name[i] == '%' && name[i + 1] == '2' && name[i + 2] == 'e';
        package[put++] = is_escaped ? '.' : name[i];
        i += is_escaped ? 2 : 0;
    }
    package[put] = 0;
    const char *path = rdf_text_same(package, "main") ? main_package : package;
    (void)snprintf(ret_text, text_bytes, path[0] ? "-gcflags=%s=-l" : "-gcflags=-l%s", path);
}

redefine_status rdf_go_fail_inlined(const struct rdf_go *go, const char *name, struct rdf_error *err)
{
    struct listing list = {.put = 0};
    char more[48] = "", flag[RDF_IMAGE_NAME_MAX + 16];
    rdf_go_each_inlined(go, name, list_site, &list, NULL);
    if (!list.count)
        return REDEFINE_OK;
    if (list.count > list.listed)
        (void)snprintf(more, sizeof more, " and %zu more places", list.count - list.listed);
    rdf_go_inlining_flag(name, "", flag, sizeof flag);
    return rdf_fail(err, REDEFINE_EINLINED,
                    "%.128s has no code of its own in %.128s: all its calls were inlined, into %s%s; build "
                    "with %.160s, or "
                    "put //go:noinline above it",
                    name, rdf_image_short_name(go->image), list.text, more, flag);
}
