/* SPDX-License-Identifier: MIT */
#include "dump.h"

#include "debug/debug.h"

#include <stdio.h>
#include <string.h>

enum { TYPES_EACH = 256 }; /* functions whose types are read before their memory is given back */

static struct rdf_error err;

static bool fail(struct dump *dump)
{
    dump->failure = err.sentence;
    return false;
}

/* ---- Types ---- */

static bool put(struct type_text *text, const struct rdf_type *type, int levels);

static bool put_fields(struct type_text *text, const struct rdf_type *type, int levels)
{
    for (size_t i = 0; i < type->field_count; i++) {
        const struct rdf_field *field = &type->field[i];
        if (!type_text_add(text, " %s%s@%llu:%llu=", field->name ? field->name : "",
                           field->is_artificial ? "!" : "", (unsigned long long)field->bit_off,
                           (unsigned long long)field->bits) ||
            !put(text, field->type, levels - 1))
            return false;
    }
    return true;
}

static bool put_function(struct type_text *text, const struct rdf_type *type, int levels)
{
    if (!type_text_add(text, "("))
        return false;
    for (size_t i = 0; i < type->field_count; i++)
        if (!type_text_add(text, "%s%s ", type->field[i].name ? type->field[i].name : "",
                           type->field[i].is_artificial ? "!" : "") ||
            !put(text, type->field[i].type, levels - 1) || !type_text_add(text, ", "))
            return false;
    return type_text_add(text, "%s)%s", type->is_variadic ? "..." : "", type->is_noreturn ? "!" : "") &&
           put(text, type->target, levels - 1);
}

static bool put(struct type_text *text, const struct rdf_type *type, int levels)
{
    unsigned long long size = type->size_bytes;
    if (levels == 0)
        return type_text_add(text, "~");
    switch (type->kind) {
    case RDF_TYPE_VOID: return type_text_add(text, "void");
    case RDF_TYPE_BASE:
        return type_text_add(text, "%s#%llu/%u", type->name ? type->name : "", size, type->encoding);
    case RDF_TYPE_ENUM: return type_text_add(text, "enum#%llu", size);
    case RDF_TYPE_POINTER: return type_text_add(text, "*%llu ", size) && put(text, type->target, levels - 1);
    case RDF_TYPE_REFERENCE:
        return type_text_add(text, "&%llu ", size) && put(text, type->target, levels - 1);
    case RDF_TYPE_RVALUE_REFERENCE:
        return type_text_add(text, "&&%llu ", size) && put(text, type->target, levels - 1);
    case RDF_TYPE_MEMBER_POINTER:
        return type_text_add(text, "::*%llu ", size) && put(text, type->target, levels - 1);
    case RDF_TYPE_STRUCT:
    case RDF_TYPE_UNION:
        return type_text_add(text, "%s#%llu{", type->kind == RDF_TYPE_UNION ? "union" : "struct", size) &&
               put_fields(text, type, levels) && type_text_add(text, "}");
    case RDF_TYPE_ARRAY: return type_text_add(text, "[%llu]", size) && put(text, type->target, levels - 1);
    case RDF_TYPE_FUNCTION: return put_function(text, type, levels);
    case RDF_TYPE_OPAQUE: return type_text_add(text, "opaque");
    }
    return false;
}

/* ---- The object ---- */

static const char *file_of(const struct rdf_debug_index *index, uint32_t file)
{
    return file ? index->text + file : "?";
}

static void put_sites(struct dump *dump, const struct rdf_debug_index *index)
{
    for (uint32_t i = 0; i < index->function_count; i++) {
        const struct rdf_debug_function *function = &index->function[i];
        for (uint32_t j = 0; j < function->site_count; j++) {
            const struct rdf_debug_site *site = &index->site[function->first_site + j];
            dump_line(dump, "inlined %s in %s via %s at %llx, %s:%u", index->text + function->name,
                      index->text + index->function[site->caller].name,
                      index->text + index->function[site->via].name, (unsigned long long)site->addr,
                      file_of(index, site->file), site->line);
        }
    }
    for (uint32_t i = 0; i < index->entry_count; i++) {
        const struct rdf_debug_function *function = &index->function[index->entry[i].function];
        dump_line(dump, "begins %llx %s, %s, %s:%u%s%s", (unsigned long long)index->entry[i].addr,
                  index->text + function->name, index->text + function->plain,
                  file_of(index, function->decl_file), function->decl_line,
                  function->flags & RDF_DEBUG_EXTERNAL ? " external" : "",
                  function->flags & RDF_DEBUG_NORETURN ? " noreturn" : "");
    }
}

static bool open_debug(struct dump *dump, struct rdf_space *space, struct rdf_arena *arena, const char *path,
                       struct rdf_debug **ret)
{
    rdf_arena_init(arena, &rdf_os_pages);
    return rdf_debug_open(space, arena, path, 0, 0, RDF_DEBUG_ANYWHERE, ret, &err) == REDEFINE_OK ||
           fail(dump);
}

static bool put_types(struct dump *dump, struct rdf_space *space, const char *path,
                      const struct rdf_debug_index *index)
{
    struct rdf_arena arena;
    struct rdf_debug *debug = NULL;
    static struct type_text text;
    for (uint32_t i = 0; i < index->entry_count; i++) {
        const struct rdf_debug_function *function = &index->function[index->entry[i].function];
        const struct rdf_type *type;
        if (debug && i % TYPES_EACH == 0) {
            rdf_debug_close(debug);
            rdf_arena_free(&arena);
            debug = NULL;
        }
        if ((!debug && !open_debug(dump, space, &arena, path, &debug)) ||
            (rdf_debug_type(debug, function, &type, &err) != REDEFINE_OK && !fail(dump)))
            return false;
        text.used = 0;
        (void)put(&text, type, TYPE_LEVELS);
        dump_line(dump, "type %llx %s %s", (unsigned long long)index->entry[i].addr,
                  index->text + function->name, text.bytes);
    }
    if (debug) {
        rdf_debug_close(debug);
        rdf_arena_free(&arena);
    }
    return true;
}

bool dump_by_own_reader(struct dump *dump, const char *path)
{
    struct rdf_space space;
    struct rdf_arena arena;
    struct rdf_debug *debug;
    struct rdf_debug_index index;
    rdf_os_local_space(&space);
    if (!open_debug(dump, &space, &arena, path, &debug) ||
        (rdf_debug_build_index(debug, &rdf_os_pages, (struct rdf_span){0}, &index, &err) != REDEFINE_OK &&
         !fail(dump)))
        return false;
    rdf_debug_close(debug);
    rdf_arena_free(&arena);
    put_sites(dump, &index);
    bool done = dump->only_sites || put_types(dump, &space, path, &index);
    rdf_os_pages.put(rdf_os_pages.ctx, (void *)(uintptr_t)index.blob.data, index.blob.len_bytes);
    return done;
}
