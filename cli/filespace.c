/* SPDX-License-Identifier: MIT */
#include "filespace.h"

#include "cli.h"
#include "process.h"
#include "segments.h"
#include "unpack.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { OBJECTS_MAX = 512, SEGMENTS_MAX = 16 };

/* Where things lie when addresses are not randomised. */
static const uint64_t program_base = UINT64_C(0x555555554000);
static const uint64_t library_base = UINT64_C(0x7ffff0000000);
/* Where a process has nothing, for what it has not. */
static const uint64_t spare_base = UINT64_C(0x10000000000);

struct object {
    char *path;
    uint64_t dev, ino;
    uint64_t bias;
    uint64_t start, end; /* in the space */
    uint8_t *bytes;      /* the same, here */
    uint64_t dynamic;    /* address of its dynamic section; 0: none */
    struct rdf_map segment[SEGMENTS_MAX];
    size_t segment_count;
};

struct cli_filespace {
    struct object object[OBJECTS_MAX];
    size_t count;
    uint64_t next_base;
    uint64_t given_base; /* of the next object, where it is known; 0: as above */
};

static uint64_t page_down(uint64_t value)
{
    return value / rdf_os_page_bytes() * rdf_os_page_bytes();
}

static uint64_t page_up(uint64_t value)
{
    return page_down(value + rdf_os_page_bytes() - 1);
}

/* ---- Laying out one object ---- */

struct elf_source {
    int fd;                /* a file, or … */
    const uint8_t *memory; /* … an image in this process: the vDSO */
    uint64_t size;
};

static bool source_read(const struct elf_source *source, uint64_t off, void *to, uint64_t len)
{
    if (off > source->size || len > source->size - off)
        return false;
    if (source->memory)
        memcpy(to, source->memory + off, len);
    for (uint64_t done = 0; !source->memory && done < len;) {
        ssize_t got = pread(source->fd, (char *)to + done, len - done, (off_t)(off + done));
        if (got <= 0)
            return false;
        done += (uint64_t)got;
    }
    return true;
}

static struct object *new_object(struct cli_filespace *files, const char *path, uint64_t span)
{
    if (files->count == OBJECTS_MAX)
        return NULL;
    struct object *object = &files->object[files->count];
    *object = (struct object){.path = strdup(path)};
    object->bytes = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                         0);
    if (!object->path || object->bytes == MAP_FAILED) {
        free(object->path);
        return NULL;
    }
    files->count++;
    return object;
}

static void add_segment(struct object *object, const Elf64_Phdr *header)
{
    uint64_t start = page_down(header->p_vaddr);
    struct rdf_map *map = &object->segment[object->segment_count++];
    *map = (struct rdf_map){.start = start + object->bias,
                            .end = page_up(header->p_vaddr + header->p_memsz) + object->bias,
                            .file_off = page_down(header->p_offset),
                            .dev = object->dev,
                            .ino = object->ino,
                            .path = object->path};
    map->prot = (uint8_t)((header->p_flags & PF_R ? RDF_PROT_READ : 0) |
                          (header->p_flags & PF_W ? RDF_PROT_WRITE : 0) |
                          (header->p_flags & PF_X ? RDF_PROT_EXEC : 0));
    /* Whole pages of the file are mapped: what lies before the segment in its first page comes along. */
    if (object->segment_count > 1 && map->start >= map[-1].start && map->start < map[-1].end)
        map->start = map[-1].end;
}

/* What the file has of a segment. Of a file it is mapped where the pages agree, so that only what is asked
 * for is read; the rest of the last page is no part of it. */
static bool place_bytes(const struct elf_source *source, uint64_t off, uint8_t *to, uint64_t len)
{
    uint64_t page = rdf_os_page_bytes();
    uint64_t whole = page_down(len);
    if (source->memory || !whole || off % page || (uintptr_t)to % page || off > source->size ||
        len > source->size - off)
        return source_read(source, off, to, len);
    return mmap(to, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, source->fd,
                (off_t)off) != MAP_FAILED &&
           source_read(source, off + whole, to + whole, len - whole);
}

static bool load_segments(struct object *object, const struct elf_source *source, const Elf64_Ehdr *elf,
                          const struct cli_segments *segments)
{
    uint64_t low = segments->low;
    for (size_t i = 0; i < segments->count; i++) {
        const Elf64_Phdr *h = &segments->header[i];
        if (h->p_type == PT_DYNAMIC)
            object->dynamic = h->p_vaddr + object->bias;
        if (h->p_type != PT_LOAD)
            continue;
        if (segments->is_headless && h->p_vaddr == low) {
            cli_segments_write_head(segments, elf, object->bytes);
            add_segment(object, h);
            continue;
        }
        uint64_t lead = h->p_offset % rdf_os_page_bytes();
        if (h->p_vaddr % rdf_os_page_bytes() != lead)
            lead = 0;
        if (h->p_filesz > h->p_memsz || object->segment_count == SEGMENTS_MAX ||
            !place_bytes(source, h->p_offset - lead, object->bytes + (h->p_vaddr - lead - low),
                         h->p_filesz + lead))
            return false;
        add_segment(object, h);
    }
    return object->segment_count > 0;
}

/* Whether code was left out of the file. Where it shares a segment with headers and notes, which are kept,
 * only the sections tell: some are executable, and none of those has its bytes. */
static bool lacks_code(const struct elf_source *source, const Elf64_Ehdr *elf,
                       const struct cli_segments *segments)
{
    bool lacks = false;
    if (cli_segments_lack_code(segments))
        return true;
    for (size_t i = 0; elf->e_shentsize == sizeof(Elf64_Shdr) && i < elf->e_shnum; i++) {
        Elf64_Shdr section;
        if (!source_read(source, elf->e_shoff + i * sizeof section, &section, sizeof section))
            return false;
        if (!(section.sh_flags & SHF_EXECINSTR) || !section.sh_size)
            continue;
        if (section.sh_type != SHT_NOBITS)
            return false;
        lacks = true;
    }
    return lacks;
}

static struct object *add_elf(struct cli_filespace *files, const char *path, const struct elf_source *source,
                              uint16_t *ret_machine)
{
    Elf64_Ehdr elf;
    struct cli_segments segments = {.count = 0};
    if (!source_read(source, 0, &elf, sizeof elf) || memcmp(elf.e_ident, ELFMAG, SELFMAG) != 0 ||
        elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_ident[EI_DATA] != ELFDATA2LSB ||
        (elf.e_type != ET_EXEC && elf.e_type != ET_DYN) || elf.e_phentsize != sizeof segments.header[0] ||
        elf.e_phnum > CLI_SEGMENTS_MAX ||
        !source_read(source, elf.e_phoff, segments.header, elf.e_phnum * sizeof segments.header[0]))
        return NULL;
    segments.count = elf.e_phnum;
    segments.off = elf.e_phoff;
    if (lacks_code(source, &elf, &segments)) {
        errno = ENOEXEC;
        return NULL;
    }
    if (!cli_segments_choose(&segments, rdf_os_page_bytes()))
        return NULL;
    uint64_t low = segments.low, high = segments.high;
    struct object *object = new_object(files, path, high - low);
    if (!object)
        return NULL;
    uint64_t base = files->given_base   ? files->given_base
                    : files->count == 1 ? program_base
                                        : files->next_base;
    object->bias = elf.e_type == ET_EXEC ? 0 : base - low;
    object->start = low + object->bias;
    object->end = high + object->bias;
    if (files->count > 1 && !files->given_base)
        files->next_base = page_up(object->end) + rdf_os_page_bytes();
    struct stat st = {0};
    if (!source->memory && fstat(source->fd, &st) == 0) {
        object->dev = st.st_dev;
        object->ino = st.st_ino;
    }
    if (!load_segments(object, source, &elf, &segments)) {
        munmap(object->bytes, high - low);
        free(object->path);
        files->count--;
        return NULL;
    }
    *ret_machine = elf.e_machine;
    return object;
}

/* `name` is what it is called afterwards. */
static bool add_file_as(struct cli_filespace *files, const char *path, const char *name,
                        uint16_t *ret_machine)
{
    struct elf_source source = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (source.fd < 0)
        return false;
    struct stat st;
    bool added = false;
    if (fstat(source.fd, &st) == 0 && S_ISREG(st.st_mode)) {
        source.size = (uint64_t)st.st_size;
        added = add_elf(files, name, &source, ret_machine) != NULL;
    }
    close(source.fd);
    return added;
}

static bool add_file(struct cli_filespace *files, const char *path, uint16_t *ret_machine)
{
    return add_file_as(files, path, path, ret_machine);
}

/* The kernel's own object: it is in no file. */
static void add_vdso(struct cli_filespace *files, uint16_t machine)
{
    const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
    uint16_t own_machine = 0;
    if (!image)
        return;
    struct elf_source source = {.fd = -1, .memory = image, .size = 0};
    const Elf64_Ehdr *elf = (const Elf64_Ehdr *)image;
    source.size = elf->e_shoff + (uint64_t)elf->e_shentsize * elf->e_shnum;
    if (elf->e_machine == machine)
        (void)add_elf(files, "[vdso]", &source, &own_machine);
}

/* ---- What it needs, as the loader lists it ---- */

static void add_listed(struct cli_filespace *files, char *line)
{
    char *path = strstr(line, "=> ");
    path = path ? path + 3 : line + strspn(line, " \t");
    char *end = strstr(path, " (0x");
    uint16_t machine;
    if (path[0] != '/' || !end)
        return;
    *end = '\0';
    (void)add_file(files, path, &machine);
}

static void add_needed(struct cli_filespace *files, const char *path, const char *loader)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    char *argv[] = {(char *)loader, "--list", (char *)path, NULL};
    pid_t child;
    int failed = posix_spawn(&child, loader, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    FILE *list = failed ? NULL : fdopen(ends[0], "r");
    char *line = NULL;
    size_t room = 0;
    while (list && getline(&line, &room, list) > 0)
        add_listed(files, line);
    free(line);
    if (list)
        fclose(list);
    else
        close(ends[0]);
    if (!failed)
        (void)waitpid(child, NULL, 0);
}

/* The list of loaded objects that the loader would keep (link.h), so that names are searched in its order:
 * written into pages of its own, and DT_DEBUG of the program made to point there. */
static void add_link_map(struct cli_filespace *files)
{
    struct object *program = &files->object[0];
    if (!program->dynamic)
        return;
    size_t span = page_up(sizeof(struct r_debug) + files->count * sizeof(struct link_map));
    size_t count = files->count;
    struct object *list = new_object(files, "[link_map]", span);
    if (!list)
        return;
    list->start = files->next_base;
    list->end = list->start + span;
    list->segment[list->segment_count++] = (struct rdf_map){.start = list->start,
                                                            .end = list->end,
                                                            .prot = RDF_PROT_READ | RDF_PROT_WRITE,
                                                            .path = ""};
    struct r_debug *debug = (struct r_debug *)list->bytes;
    struct link_map *map = (struct link_map *)(debug + 1);
    uint64_t map_addr = list->start + sizeof *debug;
    debug->r_version = 1;
    debug->r_map = (struct link_map *)map_addr;
    for (size_t i = 0; i < count; i++) {
        map[i].l_addr = files->object[i].bias;
        map[i].l_ld = (void *)files->object[i].dynamic;
        map[i].l_next = i + 1 < count ? (struct link_map *)(map_addr + (i + 1) * sizeof *map) : NULL;
    }
    uint64_t span_bytes = program->end - program->start;
    uint64_t off = program->dynamic - program->start; /* anything: a damaged file said so */
    for (; off < span_bytes && sizeof(Elf64_Dyn) <= span_bytes - off; off += sizeof(Elf64_Dyn)) {
        Elf64_Dyn entry;
        memcpy(&entry, program->bytes + off, sizeof entry);
        if (entry.d_tag == DT_DEBUG) {
            entry.d_un.d_ptr = list->start;
            memcpy(program->bytes + off, &entry, sizeof entry);
        }
        if (entry.d_tag == DT_NULL || entry.d_tag == DT_DEBUG)
            break;
    }
}

/* ---- The table ---- */

static struct object *object_at(const struct rdf_space *space, uint64_t addr, uint64_t len)
{
    struct cli_filespace *files = space->os;
    for (size_t i = 0; i < files->count; i++) {
        struct object *object = &files->object[i];
        if (addr >= object->start && addr < object->end && len <= object->end - addr)
            return object;
    }
    return NULL;
}

static int by_start(const void *a, const void *b)
{
    const struct rdf_map *left = a;
    const struct rdf_map *right = b;
    return left->start < right->start ? -1 : left->start > right->start;
}

static int file_maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret)
{
    struct cli_filespace *files = space->os;
    struct rdf_map *map = rdf_arena_alloc(arena, files->count * SEGMENTS_MAX * sizeof *map);
    if (!map)
        return -ENOMEM;
    size_t count = 0;
    for (size_t i = 0; i < files->count; i++)
        for (size_t j = 0; j < files->object[i].segment_count; j++)
            map[count++] = files->object[i].segment[j];
    qsort(map, count, sizeof *map, by_start);
    *ret = (struct rdf_maps){map, count};
    return 0;
}

static const void *file_view(struct rdf_space *space, uint64_t addr, size_t len)
{
    const struct object *object = object_at(space, addr, len);
    return object ? object->bytes + (addr - object->start) : NULL;
}

static int file_read(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len)
{
    const void *bytes = file_view(space, addr, len);
    if (!bytes)
        return -EFAULT;
    memcpy(ret_bytes, bytes, len);
    return 0;
}

/* Trampolines are planned, never made: any free address will do, and nothing is stored. */
static int file_map(struct rdf_space *space, uint64_t addr, size_t len, uint8_t prot)
{
    (void)prot;
    return object_at(space, addr, 1) || object_at(space, addr + len - 1, 1) ? -EEXIST : 0;
}

static int file_unmap(struct rdf_space *space, uint64_t addr, size_t len)
{
    (void)space, (void)addr, (void)len;
    return 0;
}

static int file_write(struct rdf_space *space, struct rdf_world *world, enum rdf_write_method method,
                      uint64_t addr, const void *bytes, size_t len)
{
    (void)space, (void)world, (void)method, (void)addr, (void)bytes, (void)len;
    return 0;
}

/* Whether the object's code can be run where its file was found mapped: the file may also be mapped to be
 * read. */
static bool is_runnable(const struct rdf_maps *maps, const struct object *object, uint64_t base)
{
    for (size_t i = 0; i < object->segment_count; i++)
        if (object->segment[i].prot & RDF_PROT_EXEC)
            return rdf_maps_allow(maps, base + (object->segment[i].start - object->start), 1, RDF_PROT_EXEC);
    return false;
}

/* Where this process has the object mapped; 0: it has not. The number of a file alone says little: two file
 * systems may use the same one, and the device in the list of mappings is not what stat says everywhere. */
static uint64_t own_base(const struct rdf_maps *maps, const struct object *object)
{
    for (size_t i = 0; i < maps->count; i++) {
        const struct rdf_map *map = &maps->map[i];
        struct stat st;
        if (map->file_off != 0 || map->ino != object->ino || !is_runnable(maps, object, map->start))
            continue;
        if (map->ino ? stat(map->path, &st) == 0 && st.st_ino == object->ino && st.st_dev == object->dev
                     : strcmp(map->path, object->path) == 0)
            return map->start;
    }
    return 0;
}

/* An IFUNC resolver asks the CPU, not its process: where this process has the same file mapped, its answer
 * is the program's too, a place in that file or in the vDSO. */
static uint64_t file_call_resolver(struct rdf_space *space, uint64_t resolver_addr)
{
    struct cli_filespace *files = space->os;
    const struct object *object = object_at(space, resolver_addr, 1);
    struct rdf_space own;
    struct rdf_arena arena;
    struct rdf_maps maps;
    uint64_t chosen = 0;
    rdf_os_local_space(&own);
    rdf_arena_init(&arena, &rdf_os_pages);
    if (!object || own.ops->maps(&own, &arena, &maps) < 0)
        return 0;
    uint64_t base = own_base(&maps, object);
    uint64_t answer = base ? own.ops->call_resolver(&own, base + (resolver_addr - object->start)) : 0;
    for (size_t i = 0; answer && !chosen && i < files->count; i++) {
        const struct object *candidate = &files->object[i];
        base = own_base(&maps, candidate);
        if (base && answer >= base && answer - base < candidate->end - candidate->start)
            chosen = candidate->start + (answer - base);
    }
    rdf_arena_free(&arena);
    return chosen;
}

static int file_open(struct rdf_space *space, const char *path, uint64_t dev, uint64_t ino,
                     struct rdf_span *ret)
{
    struct rdf_space own;
    (void)space;
    rdf_os_local_space(&own);
    return own.ops->open_file(&own, path, dev, ino, ret);
}

static void file_close(struct rdf_space *space, struct rdf_span file)
{
    struct rdf_space own;
    (void)space;
    rdf_os_local_space(&own);
    own.ops->close_file(&own, file);
}

static const struct rdf_space_ops file_ops = {
    .maps = file_maps,
    .read = file_read,
    .view = file_view,
    .map = file_map,
    .unmap = file_unmap,
    .write = file_write,
    .call_resolver = file_call_resolver,
    .open_file = file_open,
    .close_file = file_close,
    .unpack = cli_unpack,
};

struct cli_filespace *cli_filespace_new(const char *path, struct rdf_space *ret_space, uint16_t *ret_machine)
{
    struct cli_filespace *files = calloc(1, sizeof *files);
    struct cli_program program;
    int status;
    if (!files || !cli_program_inspect(path, &program, &status)) {
        free(files);
        return NULL;
    }
    files->next_base = library_base;
    errno = 0;
    if (!add_file(files, program.path, ret_machine)) {
        if (errno == ENOMEM)
            cli_say("%s: no memory to read it; is there a limit? (ulimit -d, ulimit -v)", program.path);
        else if (errno == ENOEXEC)
            cli_say("%s holds only the debug data of a program (objcopy --only-keep-debug), and none of its "
                    "code: name the program itself",
                    program.path);
        else
            cli_say("%s is not an ELF program or library for a 64-bit little-endian CPU, or it is damaged",
                    program.path);
        cli_program_free(&program);
        free(files);
        return NULL;
    }
    struct cli_program self;
    cli_file_inspect("/proc/self/exe", &self);
    /* Only the loader that runs this command is ever executed, whatever the file names. */
    bool same = self.machine == *ret_machine && self.interpreter &&
                (!program.interpreter || strcmp(self.interpreter, program.interpreter) == 0);
    if (same && files->object[0].dynamic)
        add_needed(files, program.path, self.interpreter);
    cli_program_free(&self);
    if (program.interpreter || files->object[0].dynamic)
        add_vdso(files, *ret_machine);
    add_link_map(files);
    cli_program_free(&program);
    *ret_space = (struct rdf_space){.ops = &file_ops, .os = files};
    return files;
}

/* ---- A process ---- */

static bool add_mapped(struct cli_filespace *files, pid_t pid, const struct cli_process_map *map,
                       uint16_t *ret_machine)
{
    char path[CLI_PROCESS_PATH_BYTES];
    uint16_t machine = 0;
    size_t count = files->count;
    if (map->path[0] != '/') {
        files->given_base = map->start;
        add_vdso(files, *ret_machine);
        files->given_base = 0;
        return true;
    }
    /* One that is gone keeps its name, with "(deleted)" behind it: what lies there now is not it. */
    bool is_there = cli_process_file(pid, map, path);
    if (!is_there)
        (void)cli_process_mapped_file(pid, map, path);
    files->given_base = map->start;
    bool added = add_file_as(files, path, is_there ? path : map->path, &machine);
    files->given_base = 0;
    if (added && count == 0)
        *ret_machine = machine;
    return added;
}

static bool is_here(const struct cli_filespace *files, uint64_t addr)
{
    for (size_t i = 0; i < files->count; i++)
        if (addr >= files->object[i].start && addr < files->object[i].end)
            return true;
    return false;
}

struct adding {
    struct cli_filespace *files;
    pid_t pid;
    const char *program; /* null: all files */
    uint16_t *machine;
};

/* What is no ELF file is left out. */
static bool visit_map(void *ctx, const struct cli_process_map *map)
{
    const struct adding *adding = ctx;
    if ((map->path[0] == '/' || strcmp(map->path, "[vdso]") == 0) && map->file_off == 0 &&
        (!adding->program || strcmp(map->path, adding->program) == 0) &&
        !is_here(adding->files, map->start) && adding->files->count < OBJECTS_MAX)
        (void)add_mapped(adding->files, adding->pid, map, adding->machine);
    return true;
}

/* The program first: it tells which CPU the others are for. */
static bool add_process(struct cli_filespace *files, pid_t pid, const char *program, uint16_t *ret_machine)
{
    struct adding adding = {files, pid, program, ret_machine};
    files->next_base = spare_base;
    bool is_read = cli_process_each_map(pid, visit_map, &adding);
    adding.program = NULL;
    if (!is_read)
        cli_say("process %d may not be looked at: %s", (int)pid, strerror(errno));
    else if (files->count > 0)
        return cli_process_each_map(pid, visit_map, &adding);
    else
        cli_say("%s, the program of process %d, cannot be read: deleted, or no 64-bit little-endian ELF file",
                program, (int)pid);
    return false;
}

struct cli_filespace *cli_filespace_of_process(pid_t pid, struct rdf_space *ret_space, uint16_t *ret_machine)
{
    char name[64], program[4096];
    (void)snprintf(name, sizeof name, "/proc/%d/exe", (int)pid);
    ssize_t len = readlink(name, program, sizeof program - 1);
    if (len <= 0) {
        cli_say(errno == ENOENT ? "there is no process %d" : "process %d may not be looked at: %s", (int)pid,
                strerror(errno));
        return NULL;
    }
    program[len] = '\0';
    struct cli_filespace *files = calloc(1, sizeof *files);
    if (!files || !add_process(files, pid, program, ret_machine)) {
        if (!files)
            cli_say("no memory");
        cli_filespace_free(files);
        return NULL;
    }
    add_link_map(files);
    *ret_space = (struct rdf_space){.ops = &file_ops, .os = files};
    return files;
}

void cli_filespace_free(struct cli_filespace *files)
{
    for (size_t i = 0; files && i < files->count; i++) {
        munmap(files->object[i].bytes, files->object[i].end - files->object[i].start);
        free(files->object[i].path);
    }
    free(files);
}
