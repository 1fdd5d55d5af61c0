/* SPDX-License-Identifier: MIT */
#include "agent/ledger.h"

#include "agent/request.h"

#include <redefine/apply.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rdf_agent_file *rdf_agent_files;

extern struct rdf_ledger redefine_agent_ledger;
__attribute__((
    visibility("default"))) struct rdf_ledger redefine_agent_ledger = {.magic = RDF_LEDGER_MAGIC,
                                                                       .version = RDF_LEDGER_VERSION};

struct rdf_agent_file *rdf_agent_find_file(const char *path)
{
    struct rdf_agent_file *found = NULL;
    for (struct rdf_agent_file *file = rdf_agent_files; file; file = file->next)
        if (strcmp(file->path, path) == 0 && !file->is_old)
            found = file;
    return found;
}

struct rdf_agent_file *rdf_agent_find_inode(dev_t dev, ino_t ino)
{
    struct rdf_agent_file *found = NULL;
    for (struct rdf_agent_file *file = rdf_agent_files; file; file = file->next)
        if (file->handle && file->dev == dev && file->ino == ino)
            found = file;
    return found;
}

static void append(struct rdf_agent_file *file)
{
    struct rdf_agent_file **at = &rdf_agent_files;
    while (*at)
        at = &(*at)->next;
    file->next = NULL;
    *at = file;
}

struct rdf_agent_file *rdf_agent_add_file(const char *path)
{
    struct rdf_agent_file *file = calloc(1, sizeof *file);
    if (file && (file->path = strdup(path)) != NULL) {
        append(file);
        return file;
    }
    free(file);
    return NULL;
}

void rdf_agent_move_last(struct rdf_agent_file *file)
{
    struct rdf_agent_file **at = &rdf_agent_files;
    while (*at != file)
        at = &(*at)->next;
    *at = file->next;
    append(file);
}

bool rdf_agent_add_function(struct rdf_agent_file *file, const char *name, void *target)
{
    struct rdf_agent_function *bigger = realloc(file->function, (file->count + 1) * sizeof *bigger);
    if (!bigger)
        return false;
    file->function = bigger;
    struct rdf_agent_function *function = &bigger[file->count];
    *function = (struct rdf_agent_function){strdup(name), target, strdup(redefine_describe(target))};
    if (function->name && function->how) {
        file->count++;
        return true;
    }
    free(function->name);
    free(function->how);
    return false;
}

void rdf_agent_forget_functions(struct rdf_agent_file *file)
{
    for (size_t i = 0; i < file->count; i++) {
        free(file->function[i].name);
        free(file->function[i].how);
    }
    free(file->function);
    file->function = NULL;
    file->count = 0;
}

static void write_ledger(FILE *out)
{
    for (const struct rdf_agent_file *file = rdf_agent_files; file; file = file->next) {
        if (!file->is_active)
            continue;
        fprintf(out, "patch%c%s%c", RDF_REQUEST_FIELD, file->path, RDF_REQUEST_ITEM);
        for (size_t i = 0; i < file->count; i++)
            fprintf(out, "function%c%s%c%llx%c%s%c", RDF_REQUEST_FIELD, file->function[i].name,
                    RDF_REQUEST_FIELD, (unsigned long long)(uintptr_t)file->function[i].target,
                    RDF_REQUEST_FIELD, file->function[i].how, RDF_REQUEST_ITEM);
    }
}

void rdf_agent_publish_ledger(void)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (!out)
        return;
    write_ledger(out);
    if (fclose(out) != 0)
        return;
    struct rdf_ledger *ledger = &redefine_agent_ledger;
    char *former = (char *)(uintptr_t)ledger->text;
    (void)__atomic_add_fetch(&ledger->sequence, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&ledger->text, (uint64_t)(uintptr_t)text, __ATOMIC_SEQ_CST);
    __atomic_store_n(&ledger->text_bytes, bytes, __ATOMIC_SEQ_CST);
    (void)__atomic_add_fetch(&ledger->sequence, 1, __ATOMIC_SEQ_CST);
    free(former);
}
