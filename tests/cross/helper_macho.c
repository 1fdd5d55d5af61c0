/* SPDX-License-Identifier: MIT
 *
 * helper_macho CPU A.dylib B.dylib: the reader of Mach-O images, run on this system over two files of that
 * one that are laid out as its loader does. A calls b_other of B. Prints TAP.
 */
#include "image/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static struct rdf_map map[64];
static size_t map_count;

static int maps(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret)
{
    (void)space, (void)arena;
    *ret = (struct rdf_maps){map, map_count};
    return 0;
}

static const void *view(struct rdf_space *space, uint64_t addr, size_t len_bytes)
{
    (void)space, (void)len_bytes;
    return (const void *)(uintptr_t)addr;
}

static void *get_pages(void *ctx, size_t len_bytes)
{
    (void)ctx;
    return mmap(NULL, len_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void put_pages(void *ctx, void *pages, size_t len_bytes)
{
    (void)ctx;
    (void)munmap(pages, len_bytes);
}

static uint32_t u32(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, 4);
    return v;
}
static uint64_t u64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, 8);
    return v;
}

/* A file as it is mapped, and where the pointers are that its stubs go through, which the loader would fill.
 */
struct laid_out {
    uint8_t *base;
    uint8_t *symbols;       /* the load command … */
    uint8_t *starts;        /* … and that of the starts of functions */
    uint8_t *symbols_bytes; /* the table itself */
    uint64_t *slot;
    size_t slots;
    uint64_t stub;
};

static struct laid_out lay_out(const char *path)
{
    enum { ROOM = 1 << 20 };
    static uint8_t file[ROOM];
    static uint8_t *next; /* one behind the other: mappings ascend */
    if (!next)
        next = mmap(NULL, 2 * ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct laid_out ret = {.base = next};
    next += ROOM;
    FILE *in = fopen(path, "rb");
    if (!in || !fread(file, 1, sizeof file, in))
        exit(2);
    fclose(in);
    const uint8_t *command = file + 32;
    for (uint32_t i = 0; i < u32(file + 16); i++, command += u32(command + 4)) {
        uint8_t *mapped = ret.base + (command - file);
        ret.symbols = u32(command) == 0x2 ? mapped : ret.symbols;
        ret.starts = u32(command) == 0x26 ? mapped : ret.starts;
        if (u32(command) != 0x19)
            continue;
        uint64_t addr = u64(command + 24), len = u64(command + 32), off = u64(command + 40);
        memcpy(ret.base + addr, file + off, u64(command + 48));
        if (!strcmp((const char *)command + 8, "__LINKEDIT"))
            ret.symbols_bytes = ret.base + addr - off;
        map[map_count++] = (struct rdf_map){.start = (uintptr_t)ret.base + addr,
                                            .end = (uintptr_t)ret.base + addr + len,
                                            .prot = (uint8_t)u32(command + 60), /* the bits are the same */
                                            .path = path};
        for (uint32_t j = 0; j < u32(command + 64); j++) {
            const uint8_t *section = command + 72 + 80 * j;
            if (!strncmp((const char *)section, "__got", 16) ||
                !strncmp((const char *)section, "__la_symbol_ptr", 16)) {
                ret.slot = (uint64_t *)(ret.base + u64(section + 32));
                ret.slots = u64(section + 40) / 8;
            }
            if (!strncmp((const char *)section, "__stubs", 16))
                ret.stub = (uintptr_t)ret.base + u64(section + 32);
        }
    }
    ret.symbols_bytes += u32(ret.symbols + 8);
    return ret;
}

static void put_u32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, 4);
}

static uint8_t *put_uleb(uint8_t *at, uint64_t value)
{
    for (; value > 0x7f; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

/* As a linker that lists where functions start would have written it, with the symbols stripped. */
static void strip(const struct laid_out *image, const uint64_t *start, size_t count)
{
    uint64_t before = (uintptr_t)image->base;
    uint8_t *at = image->symbols_bytes;
    for (size_t i = 0; i < count; before = start[i++])
        at = put_uleb(at, start[i] - before);
    *at++ = 0;
    put_u32(image->starts + 8, u32(image->symbols + 8));
    put_u32(image->starts + 12, (uint32_t)(at - image->symbols_bytes));
    put_u32(image->symbols + 12, 0);
}

static int number, failed;
static struct rdf_error why;
static void check(bool fine, const char *what)
{
    printf("%sok %d - %s\n", fine ? "" : "not ", ++number, what);
    if (!fine)
        printf("# %s\n", why.sentence);
    why = (struct rdf_error){0};
    failed |= !fine;
}

static enum rdf_visit count_one(void *ctx, struct rdf_image *image, const char *name, const char *readable,
                                uint64_t addr, bool is_ifunc)
{
    (void)image, (void)name, (void)readable, (void)addr, (void)is_ifunc;
    ++*(size_t *)ctx;
    return RDF_VISIT_TAKEN;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    struct rdf_page_source pages = {.get = get_pages, .put = put_pages};
    struct rdf_space_ops ops = {.maps = maps, .view = view};
    struct rdf_space space = {.ops = &ops};
    struct rdf_arena arena;
    struct rdf_images images;
    struct laid_out a = lay_out(argv[2]);
    (void)lay_out(argv[3]);
    rdf_arena_init(&arena, &pages);
    const struct rdf_arch *arch = !strcmp(argv[1], "aarch64") ? &rdf_arch_aarch64 : &rdf_arch_x86_64;
    check(rdf_images_load(&space, arch, &arena, &images, &why) == REDEFINE_OK && images.count == 2,
          "two images");
    uint64_t first = 0, second = 0, local = 0, other = 0, none = 0, to = 0;
    struct rdf_function function = {0};
    check(rdf_images_find(&images, "a_first", &first, &why) == REDEFINE_OK, "an exported name");
    check(rdf_images_find(&images, "a_local", &local, &why) == REDEFINE_OK, "a static name");
    check(rdf_images_find(&images, "a_second", &second, &why) == REDEFINE_OK, "another");
    check(rdf_images_find(&images, "b_other", &other, &why) == REDEFINE_OK &&
              rdf_images_at(&images, other) != rdf_images_at(&images, first),
          "one of the other object");
    check(rdf_images_find(&images, "a_frist", &none, &why) == REDEFINE_ENOTFOUND &&
              strstr(why.sentence, "a_first"),
          "a name that resembles");
    check(rdf_images_function(&images, first, &function, &why) == REDEFINE_OK && function.end > first &&
              function.end - first < 256 && !strcmp(function.name, "a_first"),
          "its bounds");
    if (!function.image)
        return 1;
    check(rdf_images_next_start(&images, &function) >= function.end, "what comes next");
    check(rdf_images_function(&images, first + 4, &function, &why) == REDEFINE_EINVAL &&
              strstr(why.sentence, "a_first"),
          "inside it");
    check(rdf_images_function(&images, (uintptr_t)a.base, &function, &why) != REDEFINE_OK,
          "a header is no function");
    check(a.stub && a.slots, "the file has stubs");
    for (size_t i = 0; i < a.slots; i++)
        a.slot[i] = other;
    check(rdf_images_follow(&images, a.stub, &to, &why) == REDEFINE_OK && to == other,
          "a stub that is bound");
    for (size_t i = 0; i < a.slots; i++)
        a.slot[i] = first;
    check(rdf_images_follow(&images, a.stub, &to, &why) == REDEFINE_OK && to == other,
          "one that is not bound yet");
    check(rdf_images_follow(&images, first, &to, &why) == REDEFINE_OK && to == first,
          "a function is not followed");
    size_t count = 0;
    rdf_images_each(&images, "a_*", count_one, &count);
    check(count == 3, "three by a pattern");
    const uint64_t starts[] = {first, local, second};
    strip(&a, starts, 3);
    check(rdf_images_load(&space, arch, &arena, &images, &why) == REDEFINE_OK && images.count == 2,
          "stripped");
    check(rdf_images_function(&images, first, &function, &why) == REDEFINE_OK && function.end == local &&
              !function.name,
          "bounds by the starts of functions");
    check(rdf_images_function(&images, local, &function, &why) == REDEFINE_OK && function.end == second,
          "those of the next");
    check(rdf_images_function(&images, second + 4, &function, &why) == REDEFINE_EINVAL &&
              strstr(why.sentence, "without a name"),
          "inside the last");
    printf("1..%d\n", number);
    return failed;
}
