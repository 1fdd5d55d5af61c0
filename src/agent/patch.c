/* SPDX-License-Identifier: MIT
 *
 * Patch files: loaded, applied, taken off again.
 */
#include "agent/agent.h"
#include "agent/ledger.h"
#include "agent/request.h"
#include "os/errand.h"

#include <redefine/apply.h>
#include <redefine/patch.h>

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Loading ---- */

/* What an errand is at. */
static void step(const char *what, const char *path)
{
    struct rdf_errand *errand = rdf_agent_work.errand;
    if (errand)
        (void)snprintf(errand->step, sizeof errand->step, "%s%s", what, path);
}

static bool is_unchanged(const struct rdf_agent_file *file, const struct stat *st)
{
    return file->changed.tv_sec == st->st_mtim.tv_sec && file->changed.tv_nsec == st->st_mtim.tv_nsec;
}

/* The loader knows files by the paths that they were loaded from, so a new file at an old place would not be
 * looked at; under another name of the same place it is. */
static void *open_file(const char *path, unsigned versions)
{
    const char *slash = strrchr(path, '/');
    size_t folder_len = slash ? (size_t)(slash - path) : 0;
    size_t room = strlen(path) + 2 * versions + 1;
    char *name = malloc(room);
    if (!name)
        return NULL;
    (void)snprintf(name, room, "%.*s", (int)folder_len, path);
    for (unsigned i = 0; slash && i < versions; i++)
        strcat(name, "/.");
    strcat(name, path + folder_len);
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    free(name);
    return handle;
}

static unsigned versions_of(const char *path)
{
    unsigned count = 0;
    for (const struct rdf_agent_file *file = rdf_agent_files; file; file = file->next)
        count += strcmp(file->path, path) == 0;
    return count;
}

static bool load(struct rdf_agent_file *file, unsigned versions, const struct stat *st)
{
    struct link_map *map = NULL;
    file->handle = open_file(file->path, versions);
    if (!file->handle || dlinfo(file->handle, RTLD_DI_LINKMAP, &map) != 0) {
        rdf_agent_say("%s does not load: %s; %s", file->path, dlerror(), rdf_agent_work.otherwise);
        return false;
    }
    file->owner = map->l_ld;
    file->dev = st->st_dev;
    file->ino = st->st_ino;
    file->changed = st->st_mtim;
    return true;
}

static bool drop(struct rdf_agent_file *file)
{
    struct rdf_agent_file **at = &rdf_agent_files;
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    free(file->path);
    free(file);
    return false;
}

/* What is in force under the same path goes, when all is done. */
static struct rdf_agent_file *instead_of(struct rdf_agent_file *known, struct rdf_agent_file *file)
{
    if (known && known != file && known->is_active)
        known->is_old = true;
    return file;
}

/* The file as it lies there now, loaded; null: it has been said why not. */
static struct rdf_agent_file *get_file(const char *path)
{
    struct stat st;
    struct rdf_agent_file *known = rdf_agent_find_file(path), *same;
    step("loading ", path);
    if (stat(path, &st) < 0) {
        rdf_agent_say("%s: %s; %s", path, strerror(errno), rdf_agent_work.otherwise);
        return NULL;
    }
    if ((same = rdf_agent_find_inode(st.st_dev, st.st_ino)) != NULL) {
        if (is_unchanged(same, &st))
            return instead_of(known, same);
        rdf_agent_say(
            "%s was written over since this process loaded it, which changed the code in it as well: build "
            "it to another file; %s",
            path, rdf_agent_work.otherwise);
        return NULL;
    }
    unsigned versions = versions_of(path);
    struct rdf_agent_file *file = rdf_agent_add_file(path);
    if (!file)
        rdf_agent_say("%s: no memory; %s", path, rdf_agent_work.otherwise);
    else if (load(file, versions, &st))
        return instead_of(known, file);
    else
        (void)drop(file);
    return NULL;
}

/* ---- Applying ---- */

static bool is_cancelled(struct rdf_errand *errand)
{
    if (!errand)
        return false;
    __atomic_store_n(&errand->applying, 1, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&errand->cancelled, __ATOMIC_SEQ_CST))
        return false;
    __atomic_store_n(&errand->applying, 0, __ATOMIC_SEQ_CST);
    rdf_agent_say("nobody waits for it any more; %s", rdf_agent_work.otherwise);
    return true;
}

static void report(const char *path, const struct redefine_patch_change *change, size_t count)
{
    for (size_t i = 0; rdf_agent_work.verbose && i < count; i++)
        rdf_agent_say("%s: %s: %s", path, change[i].name, redefine_describe(change[i].target));
    if (rdf_agent_work.verbose)
        rdf_agent_say("%s: %s", path, redefine_report());
}

static bool note(struct rdf_agent_file *file, const struct redefine_patch_change *change, size_t count)
{
    bool done = true;
    for (size_t i = 0; done && i < count; i++)
        done = rdf_agent_add_function(file, change[i].name, change[i].target);
    if (!file->is_active)
        rdf_agent_move_last(file);
    file->is_new |= !file->is_active;
    file->is_active = true;
    return done;
}

static bool apply(struct rdf_agent_file *file, struct redefine_patch_change *change, size_t count)
{
    const char *path = file->path;
    if (is_cancelled(rdf_agent_work.errand))
        return false;
    step("applying ", path);
    redefine_status status = redefine_patch_apply(file->owner, change, count);
    if (status == REDEFINE_OK) {
        if (!note(file, change, count))
            rdf_agent_say("%s: no memory; redefine status will not name all functions", path);
        report(path, change, count);
        return true;
    }
    if (rdf_agent_work.lenient && status == REDEFINE_ENOTFOUND) {
        rdf_agent_say("%s: %s; %s runs without this patch", path, redefine_explain(),
                      program_invocation_short_name);
        return true;
    }
    rdf_agent_say("%s: %s; %s", path, redefine_explain(), rdf_agent_work.otherwise);
    return false;
}

static void *change_memory(const char *path, size_t count)
{
    void *memory = calloc(count, sizeof(struct redefine_patch_change));
    if (!memory)
        rdf_agent_say("%s: no memory; %s", path, rdf_agent_work.otherwise);
    return memory;
}

static size_t count_fields(const char *fields)
{
    size_t count = fields != NULL;
    for (; fields && *fields; fields++)
        count += *fields == RDF_REQUEST_FIELD;
    return count;
}

/* One change more. A program that was started by the one that was looked at may lack the clone, and be right
 * to. */
static bool add_clone(struct redefine_patch_change *ret, const char *clone, void *replacement)
{
    void *unused;
    if (rdf_agent_work.lenient && redefine_find(clone, &unused) != REDEFINE_OK)
        return false;
    *ret = (struct redefine_patch_change){.name = clone, .replacement = replacement};
    return true;
}

static bool refuse_request(void)
{
    rdf_agent_say("the request is something that redefine did not write; %s", rdf_agent_work.otherwise);
    return false;
}

/* Pairs of a name and a clone behind the changes that the file itself asks for; *count is how many there are
 * then. */
static bool add_clones(struct redefine_patch_change *change, size_t *count, char *pairs)
{
    size_t named = *count;
    while (pairs) {
        const char *name = rdf_agent_cut(&pairs, RDF_REQUEST_FIELD);
        const char *clone = rdf_agent_cut(&pairs, RDF_REQUEST_FIELD);
        size_t base = 0;
        while (base < named && strcmp(change[base].name, name) != 0)
            base++;
        if (!clone || base == named)
            return refuse_request();
        *count += add_clone(&change[*count], clone, change[base].replacement);
    }
    return true;
}

static const struct redefine_patch_table *table_of(const char *path, void *handle)
{
    const struct redefine_patch_table *table = dlsym(handle, "redefine_patch_table");
    if (!table || table->start == table->stop) {
        rdf_agent_say(
            "%s asks for nothing: it has no REDEFINE_PATCH (use --replace NAME=%s:SYMBOL for a plain shared "
            "object); %s",
            path, path, rdf_agent_work.otherwise);
        return NULL;
    }
    if (table->abi != REDEFINE_PATCH_ABI || table->record_bytes != sizeof(struct redefine_patch)) {
        rdf_agent_say(
            "%s was built with another <redefine/patch.h> (version %u, here %u): build it again; %s", path,
            table->abi, REDEFINE_PATCH_ABI, rdf_agent_work.otherwise);
        return NULL;
    }
    return table;
}

/* What an errand adds it must be able to take back, and files come off as a whole. */
static bool refuse_more(const struct rdf_agent_file *file)
{
    bool is_refused = rdf_agent_work.errand && file->is_active && !file->is_new;
    if (is_refused)
        rdf_agent_say("%s is in force already, and what it replaces is not added to: restore it first; %s",
                      file->path, rdf_agent_work.otherwise);
    return is_refused;
}

bool rdf_agent_load(char *fields)
{
    const char *path = rdf_agent_cut(&fields, RDF_REQUEST_FIELD);
    return path ? get_file(path) != NULL : refuse_request();
}

bool rdf_agent_patch(char *fields)
{
    const char *path = rdf_agent_cut(&fields, RDF_REQUEST_FIELD);
    struct rdf_agent_file *file = path ? get_file(path) : NULL;
    const struct redefine_patch_table *table = file ? table_of(path, file->handle) : NULL;
    if (!table)
        return path ? false : refuse_request();
    if (file->is_active && file->is_whole) {
        if (rdf_agent_work.errand && !file->is_new)
            rdf_agent_say("%s is in force already", file->path);
        return true;
    }
    if (refuse_more(file))
        return false;
    size_t count = (size_t)(table->stop - table->start);
    struct redefine_patch_change *change = change_memory(path, count + count_fields(fields));
    for (size_t i = 0; change && i < count; i++)
        change[i] =
            (struct redefine_patch_change){.name = table->start[i]->name,
                                           .replacement = (void *)(uintptr_t)table->start[i]->replacement,
                                           .original = &table->start[i]->original};
    bool done = change && add_clones(change, &count, fields) && apply(file, change, count);
    file->is_whole = done && file->is_active;
    free(change);
    return done;
}

bool rdf_agent_replace(char *fields)
{
    const char *path = rdf_agent_cut(&fields, RDF_REQUEST_FIELD);
    const char *symbol = rdf_agent_cut(&fields, RDF_REQUEST_FIELD);
    const char *name = rdf_agent_cut(&fields, RDF_REQUEST_FIELD);
    if (!path || !symbol || !name)
        return refuse_request();
    struct rdf_agent_file *file = get_file(path);
    void *replacement = file ? dlsym(file->handle, symbol) : NULL;
    if (file && !replacement)
        rdf_agent_say("%s exports no symbol %s; %s", path, symbol, rdf_agent_work.otherwise);
    if (!replacement)
        return false;
    if (refuse_more(file))
        return false;
    struct redefine_patch_change *change = change_memory(path, 1 + count_fields(fields));
    if (!change)
        return false;
    size_t count = 0;
    change[count++] = (struct redefine_patch_change){.name = name, .replacement = replacement};
    while (fields)
        count += add_clone(&change[count], rdf_agent_cut(&fields, RDF_REQUEST_FIELD), replacement);
    bool done = apply(file, change, count);
    free(change);
    return done;
}

/* ---- Taking off ---- */

static bool take_off(struct rdf_agent_file *file)
{
    step("restoring what is redefined by ", file->path);
    if (redefine_patch_remove(file->owner) != REDEFINE_OK) {
        rdf_agent_say("%s stays in force: %s", file->path, redefine_explain());
        return false;
    }
    if (rdf_agent_work.verbose)
        rdf_agent_say("%s: %zu function%s restored; %s", file->path, file->count, file->count == 1 ? "" : "s",
                      redefine_report());
    file->is_active = file->is_whole = false;
    rdf_agent_forget_functions(file);
    return true;
}

bool rdf_agent_restore(char *fields)
{
    const char *path = rdf_agent_cut(&fields, RDF_REQUEST_FIELD);
    if (!path)
        return refuse_request();
    size_t found = 0;
    if (is_cancelled(rdf_agent_work.errand))
        return false;
    /* The last one that came goes first: it is on top. */
    for (struct rdf_agent_file *last = NULL;; found++) {
        last = NULL;
        for (struct rdf_agent_file *file = rdf_agent_files; file; file = file->next)
            if (file->is_active && (!*path || strcmp(file->path, path) == 0))
                last = file;
        if (!last)
            break;
        if (!take_off(last))
            return false;
    }
    if (!found && *path)
        rdf_agent_say("%s redefines nothing here; redefine status says what does", path);
    return found || !*path;
}

bool rdf_agent_keep_all(void)
{
    bool done = true;
    for (struct rdf_agent_file *file = rdf_agent_files; done && file; file = file->next)
        if (file->is_old) {
            done = take_off(file);
            file->is_old = !done;
        }
    for (struct rdf_agent_file *file = rdf_agent_files; done && file; file = file->next)
        file->is_new = false;
    return done;
}

void rdf_agent_take_all_back(void)
{
    for (struct rdf_agent_file *file = rdf_agent_files; file; file = file->next) {
        if (file->is_new)
            (void)take_off(file);
        file->is_new = file->is_old = false;
    }
}
