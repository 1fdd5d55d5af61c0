/* SPDX-License-Identifier: MIT
 *
 * Where debug data lies: in the object, in a file of its own (found by build-id or debuglink), in the file
 * that dwz made of what several files share, in files that the compiler split off.
 *
 * Source: GNU gdb manual, "Debugging Information in Separate Files"; DWARF 5, 7.3.
 */
#include "debug/dwarf.h"
#include "debug/internal.h"

#include <stdio.h>

static const char debug_root[] = "/usr/lib/debug";

struct opened_file {
    struct opened_file *next;
    struct rdf_span file;
};

/* ---- Paths ---- */

static const char *path_of(struct rdf_debug *debug, const char *dir, size_t dir_len, const char *name)
{
    size_t name_len = rdf_debug_len(name);
    char *path = rdf_arena_alloc(debug->arena, dir_len + name_len + 2);
    if (!path)
        return NULL;
    rdf_bytes_copy(path, dir, dir_len);
    if (dir_len && path[dir_len - 1] != '/')
        path[dir_len++] = '/';
    rdf_bytes_copy(path + dir_len, name, name_len);
    return path;
}

/* The length of the folder's part of a path, with its slash. */
static size_t dir_len_of(const char *path)
{
    size_t len = 0;
    for (size_t i = 0; path[i]; i++)
        if (path[i] == '/')
            len = i + 1;
    return len;
}

static const char *by_build_id(struct rdf_debug *debug, struct rdf_span id)
{
    enum { ID_BYTES_MAX = 64 };
    char text[sizeof debug_root + 32 + 2 * ID_BYTES_MAX];
    if (id.len_bytes < 2 || id.len_bytes > ID_BYTES_MAX)
        return NULL;
    int used = snprintf(text, sizeof text, "%s/.build-id/%02x/", debug_root, id.data[0]);
    for (size_t i = 1; i < id.len_bytes; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, "%02x", id.data[i]);
    (void)snprintf(text + used, sizeof text - (size_t)used, ".debug");
    return rdf_arena_copy(debug->arena, text, rdf_debug_len(text));
}

/* ---- Files ---- */

/* A file that is there and is ELF; without a sentence when it is not there. */
static bool open_elf(struct rdf_debug *debug, const char *path, uint64_t dev, uint64_t ino,
                     struct debug_file **ret)
{
    struct rdf_span span;
    struct opened_file *opened = rdf_arena_alloc(debug->arena, sizeof *opened);
    struct debug_file *file = rdf_arena_alloc(debug->arena, sizeof *file);
    *ret = NULL;
    if (!opened || !file || !path)
        return rdf_fail(debug->err, REDEFINE_ENOMEM, "no memory to look for debug data"), false;
    if (debug->space->ops->open_file(debug->space, path, dev, ino, &span) < 0)
        return true;
    *opened = (struct opened_file){.next = debug->opened, .file = span};
    debug->opened = opened;
    *file = (struct debug_file){.path = path};
    if (!rdf_debug_read_elf(debug, span, file))
        return false;
    *ret = file;
    return true;
}

static bool same_id(struct rdf_span a, struct rdf_span b)
{
    return a.data && a.len_bytes == b.len_bytes && rdf_bytes_equal(a.data, b.data, a.len_bytes);
}

/* The separate file of an object that has none of its own: null without a failure when there is none. What
 * lies beside the object belongs to it; what was installed for it may be looked for or not. */
static bool open_separate(struct rdf_debug *debug, const struct debug_file *object,
                          enum rdf_debug_where where, struct debug_file **ret)
{
    *ret = NULL;
    if (object->build_id.data && where == RDF_DEBUG_ANYWHERE) {
        if (!open_elf(debug, by_build_id(debug, object->build_id), 0, 0, ret))
            return false;
        if (*ret && same_id((*ret)->build_id, object->build_id) && (*ret)->section[SECTION_INFO].data)
            return true;
        *ret = NULL;
    }
    if (!object->debuglink || rdf_debug_len(object->debuglink) > 255)
        return true;
    size_t dir_len = dir_len_of(object->path);
    const char *hidden = path_of(debug, object->path, dir_len, ".debug/");
    const char *global = path_of(debug, debug_root, sizeof debug_root - 1,
                                 object->path[0] == '/' ? object->path + 1 : object->path);
    const char *dirs[] = {object->path, hidden, global};
    for (size_t i = 0; i < (where == RDF_DEBUG_ANYWHERE ? 3 : 2); i++) {
        if (!dirs[i])
            return rdf_fail(debug->err, REDEFINE_ENOMEM, "no memory to look for debug data"), false;
        const char *path = path_of(debug, dirs[i], dir_len_of(dirs[i]), object->debuglink);
        if (!open_elf(debug, path, 0, 0, ret))
            return false;
        if (*ret && (*ret)->section[SECTION_INFO].data &&
            rdf_debug_crc32((*ret)->file) == object->debuglink_crc)
            return true;
    }
    *ret = NULL;
    return true;
}

/* The file that dwz put shared entries into. */
static bool open_shared(struct rdf_debug *debug, struct debug_file *file)
{
    if (!file->altlink)
        return true;
    struct debug_file *alt = NULL;
    const char *named = file->altlink[0] == '/'
                            ? file->altlink
                            : path_of(debug, file->path, dir_len_of(file->path), file->altlink);
    const char *paths[] = {named, file->alt_id.len_bytes >= 2 ? by_build_id(debug, file->alt_id) : NULL};
    for (int i = 0; i < 2 && !file->alt; i++) {
        if (paths[i] && !open_elf(debug, paths[i], 0, 0, &alt))
            return false;
        if (paths[i] && alt && same_id(alt->build_id, file->alt_id))
            file->alt = alt;
    }
    if (!file->alt) {
        (void)rdf_fail(debug->err, REDEFINE_EUNSUPPORTED,
                       "part of the debug data of %s lies in %s, which is not there or is another version",
                       file->path, named ? named : file->altlink);
        return false;
    }
    return rdf_debug_read_units(debug, file->alt);
}

static bool open_all(struct rdf_debug *debug, const char *path, uint64_t dev, uint64_t ino,
                     enum rdf_debug_where where)
{
    struct debug_file *object;
    if (!open_elf(debug, path, dev, ino, &object))
        return false;
    if (!object)
        return rdf_fail(debug->err, REDEFINE_ENOTFOUND, "%s cannot be read, or is not the file that runs",
                        path),
               false;
    debug->main = object;
    if (!object->section[SECTION_INFO].data) {
        struct debug_file *separate;
        if (!open_separate(debug, object, where, &separate))
            return false;
        if (separate)
            debug->main = separate;
    }
    if (!debug->main->section[SECTION_INFO].data || debug->main->section[SECTION_INFO].len_bytes == 0)
        return rdf_fail(debug->err, REDEFINE_ENOTFOUND,
                        "%s has no .debug_info%s: compile it with -g, or install the package with its debug "
                        "symbols",
                        path,
                        where == RDF_DEBUG_ANYWHERE
                            ? ", and no separate file for it was found by build-id or "
                              "debuglink"
                            : ""),
               false;
    if (debug->main->is_relocatable || debug->main->is_split)
        return rdf_fail(debug->err, REDEFINE_EUNSUPPORTED,
                        "%s is an object file: only linked programs and libraries have addresses", path),
               false;
    return open_shared(debug, debug->main) && rdf_debug_read_units(debug, debug->main);
}

redefine_status rdf_debug_open(struct rdf_space *space, struct rdf_arena *arena, const char *path,
                               uint64_t dev, uint64_t ino, enum rdf_debug_where where, struct rdf_debug **ret,
                               struct rdf_error *err)
{
    struct rdf_debug *debug = rdf_arena_alloc(arena, sizeof *debug);
    if (!debug)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to look for debug data");
    struct rdf_error why = {0};
    *debug = (struct rdf_debug){.space = space, .arena = arena, .err = &why, .object_path = path};
    if (!open_all(debug, path, dev, ino, where)) {
        rdf_debug_close(debug);
        return rdf_fail(err, why.status ? why.status : REDEFINE_EUNSUPPORTED, "%s", why.sentence);
    }
    debug->err = NULL;
    *ret = debug;
    return REDEFINE_OK;
}

void rdf_debug_close(struct rdf_debug *debug)
{
    for (struct opened_file *file = debug ? debug->opened : NULL; file; file = file->next)
        debug->space->ops->close_file(debug->space, file->file);
    if (debug)
        debug->opened = NULL;
}

bool rdf_debug_identify(struct rdf_space *space, const char *path, uint8_t ret_id[RDF_DEBUG_ID_BYTES_MAX],
                        size_t *ret_bytes)
{
    struct rdf_span span;
    struct rdf_debug debug = {.space = space, .only_notes = true};
    struct debug_file file = {.path = path};
    if (space->ops->open_file(space, path, 0, 0, &span) < 0)
        return false;
    bool found = rdf_debug_read_elf(&debug, span, &file) && file.build_id.len_bytes > 0 &&
                 file.build_id.len_bytes <= RDF_DEBUG_ID_BYTES_MAX;
    if (found) {
        *ret_bytes = file.build_id.len_bytes;
        rdf_bytes_copy(ret_id, file.build_id.data, file.build_id.len_bytes);
    }
    space->ops->close_file(space, span);
    return found;
}

/* ---- Split units ---- */

/* The unit of a file that says it belongs to the skeleton. */
static struct unit *unit_for(struct rdf_debug *debug, struct debug_file *file, struct unit *skeleton)
{
    for (size_t i = 0; i < file->info_count; i++) {
        struct unit *unit = &file->unit[i];
        if (unit->kind == DW_UT_split_type || !rdf_debug_open_unit(debug, unit) || unit->id != skeleton->id)
            continue;
        unit->skeleton = skeleton;
        skeleton->split = unit;
        return unit;
    }
    return NULL;
}

static struct unit *in_file(struct rdf_debug *debug, const char *path, struct unit *skeleton)
{
    struct debug_file *file;
    if (!open_elf(debug, path, 0, 0, &file) || !file || !file->is_split ||
        !file->section[SECTION_INFO].data || !rdf_debug_read_units(debug, file))
        return NULL;
    return unit_for(debug, file, skeleton);
}

/* Where a section of the package holds this unit's part. */
struct package_row {
    const struct debug_file *package;
    uint32_t version, columns, units, row; /* rows count from 1 */
    uint64_t ids_off;
};

static struct rdf_span part_of(const struct package_row *row, uint32_t id, enum dwarf_section section)
{
    struct rdf_span table = row->package->section[SECTION_CU_INDEX];
    struct rdf_span whole = row->package->section[section];
    for (uint32_t i = 0; i < row->columns; i++) {
        uint32_t column, off, bytes;
        uint64_t at = row->ids_off + 4 * ((uint64_t)row->columns * row->row + i);
        if (rdf_span_u32(table, row->ids_off + 4 * (uint64_t)i, &column) && column == id &&
            rdf_span_u32(table, at, &off) &&
            rdf_span_u32(table, at + 4 * (uint64_t)row->columns * row->units, &bytes))
            return rdf_span_slice(whole, off, bytes);
    }
    return (struct rdf_span){0};
}

/* The row of the unit in the package's hash table. */
static bool find_row(const struct debug_file *package, uint64_t id, struct package_row *ret)
{
    struct rdf_span table = package->section[SECTION_CU_INDEX];
    uint32_t slots;
    *ret = (struct package_row){.package = package};
    if (!rdf_span_u32(table, 0, &ret->version) || !rdf_span_u32(table, 4, &ret->columns) ||
        !rdf_span_u32(table, 8, &ret->units) || !rdf_span_u32(table, 12, &slots) ||
        slots > table.len_bytes / 12)
        return false;
    ret->version &= 0xffff;
    ret->ids_off = 16 + 12 * (uint64_t)slots;
    for (uint32_t i = 0; i < slots; i++) {
        uint64_t signature;
        uint32_t row;
        if (rdf_span_u64(table, 16 + 8 * (uint64_t)i, &signature) && signature == id &&
            rdf_span_u32(table, 16 + 8 * (uint64_t)slots + 4 * (uint64_t)i, &row) && row > 0 &&
            row <= ret->units) {
            ret->row = row;
            return ret->columns <= 16;
        }
    }
    return false;
}

static struct unit *in_package(struct rdf_debug *debug, struct unit *skeleton)
{
    struct package_row row;
    if (!debug->looked_for_package) {
        debug->looked_for_package = true;
        size_t len = rdf_debug_len(debug->object_path);
        char *name = rdf_arena_alloc(debug->arena, len + 5);
        if (!name)
            return NULL;
        rdf_bytes_copy(name, debug->object_path, len);
        rdf_bytes_copy(name + len, ".dwp", 4);
        if (!open_elf(debug, name, 0, 0, &debug->package))
            return NULL;
    }
    if (!debug->package || !find_row(debug->package, skeleton->id, &row))
        return NULL;
    struct debug_file *file = rdf_arena_alloc(debug->arena, sizeof *file);
    if (!file)
        return NULL;
    *file = (struct debug_file){.path = debug->package->path, .is_split = true};
    file->section[SECTION_INFO] = part_of(&row, DW_SECT_INFO, SECTION_INFO);
    file->section[SECTION_ABBREV] = part_of(&row, DW_SECT_ABBREV, SECTION_ABBREV);
    file->section[SECTION_STR_OFFSETS] = part_of(&row, DW_SECT_STR_OFFSETS, SECTION_STR_OFFSETS);
    enum dwarf_section places = row.version == 5 ? SECTION_LOCLISTS : SECTION_LOC;
    if (!rdf_debug_unpack(debug, debug->package, places))
        return NULL;
    file->section[places] = part_of(&row, DW_SECT_LOC, places);
    if (row.version == 5)
        file->section[SECTION_RNGLISTS] = part_of(&row, DW_SECT_RNGLISTS, SECTION_RNGLISTS);
    file->section[SECTION_STR] = debug->package->section[SECTION_STR];
    return rdf_debug_read_units(debug, file) ? unit_for(debug, file, skeleton) : NULL;
}

struct unit *rdf_debug_split_of(struct rdf_debug *debug, struct unit *skeleton)
{
    const char *name = skeleton->dwo_name;
    const char *object = debug->object_path;
    if (skeleton->split)
        return skeleton->split;
    if (!name)
        return rdf_debug_damaged(debug, skeleton, skeleton->off, "a split unit has no name"), NULL;
    size_t dir_len = dir_len_of(object);
    const char *paths[] = {
        name[0] == '/' || !skeleton->comp_dir
            ? name
            : path_of(debug, skeleton->comp_dir, rdf_debug_len(skeleton->comp_dir), name),
        path_of(debug, object, dir_len, name),
        path_of(debug, object, dir_len, name + dir_len_of(name)),
    };
    struct unit *unit = in_package(debug, skeleton);
    for (size_t i = 0; !unit && i < sizeof paths / sizeof *paths; i++)
        if (paths[i])
            unit = in_file(debug, paths[i], skeleton);
    if (!unit)
        (void)rdf_fail(debug->err, REDEFINE_EUNSUPPORTED,
                       "part of the debug data of %s was split off into %s, which is not there or does not "
                       "belong to it; nor is there a %s.dwp",
                       object, paths[0] ? paths[0] : name, object);
    return unit;
}
