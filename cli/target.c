/* SPDX-License-Identifier: MIT */
#include "target.h"

#include "asidesymbols.h"
#include "cli.h"
#include "filespace.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct rdf_arch *arch_for(uint16_t machine)
{
    static const struct rdf_arch *const arches[] = {&rdf_arch_x86_64, &rdf_arch_aarch64, &rdf_arch_riscv64};
    for (size_t i = 0; i < sizeof arches / sizeof arches[0]; i++)
        if (arches[i]->elf_machine == machine)
            return arches[i];
    return NULL;
}

/* Where the file lies, without "." and links, which the loader would look at in its own way; null: a sentence
 * has been said. A library is no program: a regular file that lies here needs no slash and no permission. */
static char *find_file(const char *name)
{
    struct stat st;
    int status;
    bool is_file = *name && stat(name, &st) == 0 && S_ISREG(st.st_mode);
    char *found = is_file ? strdup(name) : cli_find_program(name, &status);
    char *path = found ? realpath(found, NULL) : NULL;
    if (found && !path)
        cli_say("%s: %s", found, strerror(errno));
    free(found);
    return path;
}

/* A file of that name comes first: who means it as a number can say ./17. */
static pid_t process_of(const char *name)
{
    struct stat st;
    char *end;
    errno = 0;
    long pid = strtol(name, &end, 10);
    bool is_number = *name >= '0' && *name <= '9' && !*end && !errno && pid > 0 && pid <= INT32_MAX;
    return is_number && stat(name, &st) != 0 ? (pid_t)pid : 0;
}

/* A library needs others, and the C library looks like a program: what was asked for is the first one. */
static void begin_with(struct rdf_images *images, const char *path)
{
    for (size_t i = 0; path && i < images->count; i++)
        if (strcmp(rdf_image_name(images->image[i]), path) == 0) {
            rdf_images_begin_with(images, images->image[i]);
            return;
        }
}

static bool load(struct cli_target *target, const char *name, const char *path)
{
    struct rdf_error err = {0};
    rdf_arena_init(&target->arena, &rdf_os_pages);
    if (rdf_images_load(&target->space, target->arch, &target->arena, &target->images, &err) != REDEFINE_OK ||
        target->images.count == 0) {
        cli_say("%s: %s", name,
                err.status != REDEFINE_OK ? err.sentence : "there is no code in it that can be read");
        return false;
    }
    begin_with(&target->images, path);
    target->aside = cli_aside_lend(&target->images);
    return true;
}

static bool finish_open(struct cli_target *target, uint16_t machine, const char *name, const char *path)
{
    target->arch = target->files ? arch_for(machine) : NULL;
    if (target->files && !target->arch)
        cli_say("%s: its CPU (ELF machine %u) has no room in this build", name, machine);
    return target->arch && load(target, name, path);
}

bool cli_target_open_process(pid_t pid, struct cli_target *ret)
{
    uint16_t machine = 0;
    char name[32];
    (void)snprintf(name, sizeof name, "%ld", (long)pid);
    *ret = (struct cli_target){.is_process = true};
    ret->files = cli_filespace_of_process(pid, &ret->space, &machine);
    return finish_open(ret, machine, name, NULL);
}

bool cli_target_open(const char *name, struct cli_target *ret)
{
    uint16_t machine = 0;
    pid_t pid = process_of(name);
    if (pid)
        return cli_target_open_process(pid, ret);
    *ret = (struct cli_target){0};
    char *path = find_file(name);
    ret->files = path ? cli_filespace_new(path, &ret->space, &machine) : NULL;
    bool is_open = finish_open(ret, machine, name, path);
    free(path);
    return is_open;
}

void cli_target_close(struct cli_target *target)
{
    if (target->arena.source) {
        rdf_images_free(&target->images);
        cli_aside_free(target->aside);
        rdf_arena_free(&target->arena);
    }
    cli_filespace_free(target->files);
    *target = (struct cli_target){0};
}
