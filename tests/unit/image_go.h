/* SPDX-License-Identifier: MIT
 *
 * What the tests of Go's tables share: tests/fixtures/go/main.go built by each Go that is there, in each way
 * that matters, and laid out in memory at the addresses it is linked for, as a space of its own.
 */
#ifndef TESTS_UNIT_IMAGE_GO_H
#define TESTS_UNIT_IMAGE_GO_H

#include "image_common.h"

#include <elf.h>

#include "image/go.h"

enum { GO_SEGMENTS = 8, GO_PAGE = 4096 };

/* The newest, and what Debian 12 calls its own. GO_TOOLCHAINS names others, separated by spaces. */
static const char *const go_commands[] = {"go", "/usr/lib/go-1.19/bin/go"};

struct go_file {
    uint8_t *bytes;
    size_t len;
    struct rdf_map map[GO_SEGMENTS];
    uint8_t *memory[GO_SEGMENTS];
    size_t map_count;
    bool has_file;
    bool has_views;
};

static inline int go_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret)
{
    struct go_file *file = space->os;
    (void)arena;
    *ret = (struct rdf_maps){file->map, file->map_count};
    return 0;
}

static inline uint8_t *go_memory(struct go_file *file, uint64_t addr, size_t len)
{
    for (size_t i = 0; i < file->map_count; i++)
        if (addr >= file->map[i].start && addr < file->map[i].end && len <= file->map[i].end - addr)
            return file->memory[i] + (addr - file->map[i].start);
    return NULL;
}

static inline int go_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len)
{
    const uint8_t *at = go_memory(space->os, addr, len);
    if (!at)
        return -EFAULT;
    memcpy(ret_bytes, at, len);
    return 0;
}

static inline const void *go_view(struct rdf_space *space, uint64_t addr, size_t len)
{
    struct go_file *file = space->os;
    return file->has_views ? go_memory(file, addr, len) : NULL;
}

static inline int go_open(struct rdf_space *space, const char *path, uint64_t dev, uint64_t ino,
                          struct rdf_span *ret)
{
    struct go_file *file = space->os;
    (void)path, (void)dev, (void)ino;
    if (!file->has_file)
        return -ENOENT;
    *ret = (struct rdf_span){file->bytes, file->len};
    return 0;
}

static inline void go_close(struct rdf_space *space, struct rdf_span file)
{
    (void)space, (void)file;
}

static const struct rdf_space_ops go_ops = {
    .maps = go_maps,
    .read = go_read,
    .view = go_view,
    .call_resolver = remote_resolver,
    .open_file = go_open,
    .close_file = go_close,
};

static inline void go_lay_out(struct go_file *file)
{
    Elf64_Ehdr header;
    memcpy(&header, file->bytes, sizeof header);
    uint64_t bias = header.e_type == ET_DYN ? UINT64_C(0x7f0000000000) : 0;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr load;
        memcpy(&load, file->bytes + header.e_phoff + i * sizeof load, sizeof load);
        if (load.p_type != PT_LOAD || file->map_count == GO_SEGMENTS)
            continue;
        uint64_t page = GO_PAGE - 1, start = load.p_vaddr & ~page;
        uint64_t end = (load.p_vaddr + load.p_memsz + page) & ~page;
        uint8_t *memory = mmap(NULL, end - start, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        assert_true(memory != MAP_FAILED);
        memcpy(memory + (load.p_vaddr - start), file->bytes + load.p_offset, load.p_filesz);
        memcpy(memory, file->bytes + (load.p_offset & ~page), load.p_vaddr - start);
        file->memory[file->map_count] = memory;
        file->map[file->map_count++] = (struct rdf_map){
            .start = start + bias,
            .end = end + bias,
            .file_off = load.p_offset & ~page,
            .dev = 1,
            .ino = 2,
            .prot = (uint8_t)((load.p_flags & PF_R ? RDF_PROT_READ : 0) |
                              (load.p_flags & PF_W ? RDF_PROT_WRITE : 0) |
                              (load.p_flags & PF_X ? RDF_PROT_EXEC : 0)),
            .path = "/fixtures/program",
        };
    }
}

static inline void go_read_file(struct go_file *file, const char *path)
{
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    memset(file, 0, sizeof *file);
    file->has_file = file->has_views = true;
    fseek(stream, 0, SEEK_END);
    file->len = (size_t)ftell(stream);
    rewind(stream);
    file->bytes = malloc(file->len);
    assert_non_null(file->bytes);
    assert_int_equal(fread(file->bytes, 1, file->len, stream), file->len);
    fclose(stream);
    go_lay_out(file);
}

static inline void go_free_file(struct go_file *file)
{
    for (size_t i = 0; i < file->map_count; i++)
        munmap(file->memory[i], file->map[i].end - file->map[i].start);
    free(file->bytes);
}

static inline const char *go_fixture_folder(void)
{
    static char folder[1024];
    snprintf(folder, sizeof folder, "%s", __FILE__);
    *strrchr(folder, '/') = 0;
    snprintf(folder + strlen(folder), sizeof folder - strlen(folder), "/../fixtures/go");
    return folder;
}

/* What `command` prints first; empty when it fails. */
static inline const char *go_output(const char *command)
{
    static char line[256];
    FILE *pipe = popen(command, "r");
    line[0] = 0;
    if (pipe && !fgets(line, sizeof line, pipe))
        line[0] = 0;
    if (pipe && pclose(pipe) != 0)
        line[0] = 0;
    line[strcspn(line, "\n")] = 0;
    return line;
}

/* The release of a Go, "go1.26.3"; empty when it is not there. */
static inline const char *go_release(const char *go)
{
    static char release[64];
    char command[512];
    snprintf(command, sizeof command, "GOTOOLCHAIN=local %s env GOVERSION 2>/dev/null", go);
    snprintf(release, sizeof release, "%s", go_output(command));
    return release;
}

/* What Go calls the CPU whose room reads the program. */
static inline const char *go_cpu(void)
{
    static const char *const names[][2] = {{"x86_64", "amd64"}, {"aarch64", "arm64"}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(rdf_arch_native()->name, names[i][0]) == 0)
            return names[i][1];
    return rdf_arch_native()->name;
}

/* Build the fixture; null when that way of building is not possible here. Nothing is fetched from anywhere.
 */
static inline const char *go_build(const char *go, const char *name, const char *options)
{
    static char path[512];
    char command[4096];
    snprintf(path, sizeof path, "%s/%s", work_folder(), name);
    snprintf(command, sizeof command,
             "cd %s && GOFLAGS= GOPROXY=off GOTOOLCHAIN=local GO111MODULE=off HOME=${HOME:-%s} "
             "GOARCH=%s %s build %s -o %s main.go 2>%s.log",
             go_fixture_folder(), work_folder(), go_cpu(), go, options, path, path);
    return system(command) == 0 ? path : NULL;
}

/* The number of the fixture's line that ends in "// at: NAME". */
static inline uint32_t go_line_at(const char *name)
{
    char path[1100], line[512], mark[64];
    snprintf(path, sizeof path, "%s/main.go", go_fixture_folder());
    snprintf(mark, sizeof mark, "// at: %s\n", name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    uint32_t number = 0, found = 0;
    while (fgets(line, sizeof line, file)) {
        const char *at = strstr(line, "// at: ");
        number++;
        if (at && strcmp(at, mark) == 0)
            found = number;
    }
    fclose(file);
    assert_int_not_equal(found, 0);
    return found;
}

#endif
