/* SPDX-License-Identifier: MIT
 *
 * What the tests of src/image share: this process loaded, another process as a space without views,
 * fixtures compiled on the spot (so that each test says with which options), an oracle for bounds.
 */
#ifndef TESTS_UNIT_IMAGE_COMMON_H
#define TESTS_UNIT_IMAGE_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/image.h"

struct loaded {
    struct rdf_space space;
    struct rdf_arena arena;
    struct rdf_images images;
    struct rdf_error err;
};

static inline void load_space(struct loaded *loaded)
{
    rdf_arena_init(&loaded->arena, &rdf_os_pages);
    memset(&loaded->err, 0, sizeof loaded->err);
    redefine_status status = rdf_images_load(&loaded->space, rdf_arch_native(), &loaded->arena,
                                             &loaded->images, &loaded->err);
    if (status != REDEFINE_OK)
        fail_msg("%s", loaded->err.sentence);
}

static inline void load_self(struct loaded *loaded)
{
    rdf_os_local_space(&loaded->space);
    load_space(loaded);
}

static inline void unload(struct loaded *loaded)
{
    rdf_images_free(&loaded->images);
    rdf_arena_free(&loaded->arena);
}

static inline uint64_t address(const void *pointer)
{
    return (uint64_t)(uintptr_t)pointer;
}

/* The address that `name` means; 0 when it means none, with the sentence in loaded->err. */
static inline uint64_t find(struct loaded *loaded, const char *name)
{
    uint64_t addr = 0;
    memset(&loaded->err, 0, sizeof loaded->err);
    (void)rdf_images_find(&loaded->images, name, &addr, &loaded->err);
    return addr;
}

static inline void assert_says(const struct rdf_error *err, redefine_status status, const char *part)
{
    if (err->status != status || !strstr(err->sentence, part))
        fail_msg("wanted status %d and \"%s\", got %d: %s", (int)status, part, (int)err->status,
                 err->sentence);
}

/* ---- fixtures ---- */

static inline const char *work_folder(void)
{
    static char folder[] = "/tmp/image-test-XXXXXX";
    static int made;
    if (!made && !mkdtemp(folder))
        fail_msg("mkdtemp: %s", strerror(errno));
    made = 1;
    return folder;
}

static inline void remove_work_folder(void)
{
    char command[256];
    snprintf(command, sizeof command, "rm -rf %s", work_folder());
    if (system(command) != 0)
        fprintf(stderr, "# %s was left behind\n", work_folder());
}

/* Compile fixtures (names below tests/fixtures, separated by spaces); returns the path of the result. */
static inline const char *compile(const char *compiler, const char *name, const char *sources,
                                  const char *options)
{
    static char path[512];
    char command[4096], folder[1024], files[2048] = "", list[512];
    snprintf(folder, sizeof folder, "%s", __FILE__);
    *strrchr(folder, '/') = 0;
    snprintf(list, sizeof list, "%s", sources);
    for (char *source = strtok(list, " "); source; source = strtok(NULL, " "))
        snprintf(files + strlen(files), sizeof files - strlen(files), " %s/../fixtures/%s", folder, source);
    snprintf(path, sizeof path, "%s/%s", work_folder(), name);
    const char *cc = getenv("CC");
    bool is_cc = strcmp(compiler, "cc") == 0 || (strcmp(compiler, "gcc") == 0 && cc && strstr(cc, "gcc"));
    const char *chosen = is_cc ? cc : strcmp(compiler, "c++") == 0 ? getenv("CXX") : NULL;
    snprintf(command, sizeof command, "%s -O2 -g0 -fasynchronous-unwind-tables %s -o %s",
             chosen ? chosen : compiler, files, path);
    snprintf(command + strlen(command), sizeof command - strlen(command), " %s", options);
    if (system(command) != 0)
        fail_msg("cannot compile: %s", command);
    return path;
}

/* An emulator runs one process, and no other program for it. */
static inline bool is_emulated(void)
{
    return syscall(SYS_ptrace, 1, 0, NULL, NULL) == -1 && errno == ENOSYS;
}

/* ---- another process ---- */

struct remote {
    pid_t pid;
    int input; /* closed: the program ends */
    FILE *output;
};

static inline int remote_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret)
{
    struct remote *remote = space->os;
    char name[64], line[4200];
    snprintf(name, sizeof name, "/proc/%d/maps", (int)remote->pid);
    FILE *file = fopen(name, "r");
    struct rdf_map *map = rdf_arena_alloc(arena, 1000 * sizeof *map);
    if (!file || !map)
        return -ENOMEM;
    size_t count = 0;
    while (count < 1000 && fgets(line, sizeof line, file)) {
        unsigned long start, end, off, ino;
        unsigned major, minor;
        char prot[5];
        int path_at = 0;
        if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %n", &start, &end, prot, &off, &major, &minor, &ino,
                   &path_at) < 7)
            continue;
        line[strcspn(line, "\n")] = 0;
        map[count++] = (struct rdf_map){
            .start = start,
            .end = end,
            .file_off = off,
            .dev = (uint64_t)major << 32 | minor,
            .ino = ino,
            .prot = (uint8_t)((prot[0] == 'r') | (prot[1] == 'w') << 1 | (prot[2] == 'x') << 2),
            .shared = prot[3] == 's',
            .path = path_at ? rdf_arena_copy(arena, line + path_at, strlen(line + path_at)) : "",
        };
    }
    fclose(file);
    *ret = (struct rdf_maps){map, count};
    return 0;
}

static inline int remote_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len_bytes)
{
    struct remote *remote = space->os;
    struct iovec local = {ret_bytes, len_bytes}, there = {(void *)(uintptr_t)addr, len_bytes};
    return process_vm_readv(remote->pid, &local, 1, &there, 1, 0) == (ssize_t)len_bytes ? 0 : -EFAULT;
}

static inline const void *remote_view(struct rdf_space *space, uint64_t addr, size_t len_bytes)
{
    (void)space, (void)addr, (void)len_bytes;
    return NULL;
}

static inline uint64_t remote_resolver(struct rdf_space *space, uint64_t addr)
{
    (void)space, (void)addr;
    return 0;
}

static inline int remote_open(struct rdf_space *space, const char *path, uint64_t dev, uint64_t ino,
                              struct rdf_span *ret)
{
    (void)space, (void)dev;
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) != 0 || (ino && stat.st_ino != ino))
        return -ENOENT;
    void *data = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (data == MAP_FAILED)
        return -ENOMEM;
    *ret = (struct rdf_span){data, (size_t)stat.st_size};
    return 0;
}

static inline void remote_close(struct rdf_space *space, struct rdf_span file)
{
    (void)space;
    munmap((void *)(uintptr_t)file.data, file.len_bytes);
}

static const struct rdf_space_ops remote_ops = {
    .maps = remote_maps,
    .read = remote_read,
    .view = remote_view,
    .call_resolver = remote_resolver,
    .open_file = remote_open,
    .close_file = remote_close,
};

static inline void start_program(struct remote *remote, const char *path, const char *environment)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        fail_msg("pipe: %s", strerror(errno));
    remote->pid = fork();
    if (remote->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        if (environment)
            putenv((char *)(uintptr_t)environment);
        execl(path, path, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    remote->input = in[1];
    remote->output = fdopen(out[0], "r");
}

static inline void stop_program(struct remote *remote)
{
    close(remote->input);
    fclose(remote->output);
    int status;
    waitpid(remote->pid, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the program ended with status 0x%x", (unsigned)status);
}

/* ---- running ---- */

static inline int run_group(const char *name, const struct CMUnitTest *tests, size_t count)
{
    cmocka_set_message_output(CM_OUTPUT_TAP);
    int failed = _cmocka_run_group_tests(name, tests, count, NULL, NULL);
    remove_work_folder();
    return failed;
}

#endif
