/* SPDX-License-Identifier: MIT
 *
 * What kind of program a file is, as far as it decides whether an agent can be preloaded into it.
 */
#include "cli.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { SCRIPTS_MAX = 4 }; /* as the kernel: an interpreter that is a script, and so on */

static bool is_program(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static char *search_path(const char *name, bool *ret_found_file)
{
    const char *at = getenv("PATH");
    if (!at)
        at = "/usr/local/bin:/usr/bin:/bin";
    for (;;) {
        const char *end = strchrnul(at, ':');
        char *path = NULL;
        const char *dir = end == at ? "." : at;
        int dir_len = end == at ? 1 : (int)(end - at);
        if (asprintf(&path, "%.*s/%s", dir_len, dir, name) < 0)
            return NULL;
        if (is_program(path))
            return path;
        struct stat st;
        *ret_found_file |= stat(path, &st) == 0 && S_ISREG(st.st_mode);
        free(path);
        if (!*end)
            return NULL;
        at = end + 1;
    }
}

char *cli_find_program(const char *name, int *ret_status)
{
    if (strchr(name, '/')) {
        struct stat st;
        if (is_program(name))
            return strdup(name);
        int why = stat(name, &st) < 0 ? errno : 0;
        *ret_status = why == ENOENT ? EXIT_NO_PROGRAM : EXIT_NOT_EXECUTABLE;
        if (why == ENOENT)
            cli_say("%s: no such program", name);
        else if (why)
            cli_say("%s cannot be executed: %s", name, strerror(why));
        else if (!S_ISREG(st.st_mode))
            cli_say("%s is %s, not a program", name, S_ISDIR(st.st_mode) ? "a directory" : "no regular file");
        else
            cli_say("%s may not be executed: the file has no execute permission for you", name);
        return NULL;
    }
    bool found_file = false;
    char *path = *name ? search_path(name, &found_file) : NULL;
    if (!path) {
        *ret_status = found_file ? EXIT_NOT_EXECUTABLE : EXIT_NO_PROGRAM;
        cli_say(found_file ? "'%s' is in PATH but may not be executed" : "'%s': no such program in PATH",
                name);
    }
    return path;
}

/* Why the kernel would start `path` in secure mode, or null. The kernel decides this in
 * cap_bprm_creds_from_file (security/commoncap.c) and bprm_fill_uid (fs/exec.c). */
static const char *why_secure(const char *path)
{
    struct stat st;
    struct statvfs fs;
    if (stat(path, &st) < 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return NULL;
    if (statvfs(path, &fs) == 0 && fs.f_flag & ST_NOSUID)
        return NULL;
    if (st.st_mode & S_ISUID && st.st_uid != getuid())
        return "it is set-user-ID";
    if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getgid())
        return "it is set-group-ID";
    if (getuid() != geteuid() || getgid() != getegid())
        return "this command itself runs with other rights than its user has";
    if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
        return "its file has capabilities";
    return NULL;
}

/* The interpreter of a "#!" line, as a new string; null when the file has none. */
static char *script_interpreter(int fd)
{
    char line[256];
    ssize_t len = pread(fd, line, sizeof line - 1, 0);
    if (len < 3 || line[0] != '#' || line[1] != '!')
        return NULL;
    line[len] = '\0';
    char *start = line + 2 + strspn(line + 2, " \t");
    size_t name_len = strcspn(start, " \t\n");
    return name_len ? strndup(start, name_len) : NULL;
}

static void read_elf(int fd, struct cli_program *program)
{
    (void)elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    GElf_Ehdr header;
    if (!elf || elf_kind(elf) != ELF_K_ELF || !gelf_getehdr(elf, &header)) {
        elf_end(elf);
        return;
    }
    program->is_elf = true;
    program->type = header.e_type;
    program->machine = header.e_machine;
    program->is_64bit = gelf_getclass(elf) == ELFCLASS64;
    size_t count = 0;
    (void)elf_getphdrnum(elf, &count);
    struct stat st;
    uint64_t file_bytes = fstat(fd, &st) == 0 ? (uint64_t)st.st_size : 0;
    program->is_cut_off = count < header.e_phnum; /* libelf counts those that are there */
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr segment;
        if (!gelf_getphdr(elf, (int)i, &segment)) {
            program->is_cut_off = true;
            continue;
        }
        if (segment.p_type == PT_LOAD &&
            (segment.p_offset > file_bytes || segment.p_filesz > file_bytes - segment.p_offset))
            program->is_cut_off = true;
        if (segment.p_type != PT_INTERP || segment.p_filesz > 4096 || program->interpreter)
            continue;
        program->interpreter = calloc(1, segment.p_filesz + 1);
        if (program->interpreter &&
            pread(fd, program->interpreter, segment.p_filesz, (off_t)segment.p_offset) < 0)
            program->interpreter[0] = '\0';
    }
    elf_end(elf);
}

/* Opens a regular file for reading; -1 and errno when it is none. */
static int open_regular(const char *path)
{
    /* O_NONBLOCK: a name may lead to a pipe that nobody writes. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    if (fd >= 0) {
        close(fd);
        errno = ENOEXEC;
    }
    return -1;
}

void cli_file_inspect(const char *path, struct cli_program *ret)
{
    *ret = (struct cli_program){.path = strdup(path)};
    int fd = open_regular(path);
    if (fd < 0)
        return;
    read_elf(fd, ret);
    close(fd);
}

bool cli_program_inspect(const char *path, struct cli_program *ret, int *ret_status)
{
    char *at = strdup(path);
    for (int depth = 0; at && depth <= SCRIPTS_MAX; depth++) {
        int fd = open_regular(at);
        if (fd < 0) {
            int why = errno;
            *ret_status = depth == 0      ? EXIT_OWN_FAILURE
                          : why == ENOENT ? EXIT_NO_PROGRAM
                                          : EXIT_NOT_EXECUTABLE;
            if (depth == 0)
                cli_say("%s cannot be read (%s), so it is not known how it is started", at, strerror(why));
            else
                cli_say("%s is a script, and its interpreter %s cannot be read: %s", path, at, strerror(why));
            free(at);
            return false;
        }
        char *interpreter = script_interpreter(fd);
        if (!interpreter) {
            *ret = (struct cli_program){.path = at, .secure_reason = why_secure(at)};
            ret->is_secure = ret->secure_reason != NULL;
            read_elf(fd, ret);
            close(fd);
            return true;
        }
        close(fd);
        free(at);
        at = interpreter;
    }
    *ret_status = at ? EXIT_NOT_EXECUTABLE : EXIT_OWN_FAILURE;
    if (at)
        cli_say("%s is a script whose interpreter is a script, too many times over", path);
    else
        cli_say("no memory");
    free(at);
    return false;
}

void cli_program_free(struct cli_program *program)
{
    free(program->path);
    free(program->interpreter);
    *program = (struct cli_program){0};
}
