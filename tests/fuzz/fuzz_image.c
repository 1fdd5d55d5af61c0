/* SPDX-License-Identifier: MIT
 *
 * A damaged ELF object, laid out in memory as far as its headers allow, must give answers or sentences:
 * no crash, no read outside of what is mapped, no endless loop, no memory out of proportion.
 *
 * The first 16 bytes of the input choose what is asked; the rest is the file.
 */
#include <stdint.h>
#include <stdio.h>

#include "../unit/image_layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CHOICE_BYTES = 16, PROPORTION_BYTES = 24 << 20 };

#define require(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

static void check_function(struct rdf_images *images, uint64_t addr)
{
    struct rdf_function function;
    struct rdf_error err = {0};
    if (rdf_images_function(images, addr, &function, &err) != REDEFINE_OK) {
        require(err.status != REDEFINE_OK && err.sentence[0]);
        return;
    }
    require(function.start == addr && function.end > addr);
    require(rdf_images_at(images, addr) == function.image);
    require(rdf_images_next_start(images, &function) >= function.end);
}

static void check_follow(struct rdf_images *images, uint64_t addr)
{
    uint64_t followed = 1;
    struct rdf_error err = {0};
    if (rdf_images_follow(images, addr, &followed, &err) != REDEFINE_OK)
        require(followed == 1 && err.sentence[0]);
}

static void check_name(struct rdf_images *images, const char *name)
{
    uint64_t addr = 1;
    struct rdf_error err = {0};
    if (rdf_images_find(images, name, &addr, &err) != REDEFINE_OK)
        require(addr == 1 && err.sentence[0]);
}

static void ask(struct layout *layout, const uint8_t *choice)
{
    static const char *const name[] = {
        "fixture_exported", "twin",
        "twin@image_a.c",   "laid-out.so!fixture_b",
        "ns::C::m",         "fixture_b@V_1",
        "fixture_bb",       "ns::(anonymous namespace)::hidden_one(unsigned int)",
        "twin@0x1130"};
    struct rdf_space space = {&layout_ops, layout};
    struct rdf_page_source source = {.get = layout_get, .put = layout_put, .ctx = layout};
    struct rdf_arena arena;
    struct rdf_images images;
    struct rdf_error err = {0};
    rdf_arena_init(&arena, &source);
    if (rdf_images_load(&space, choice[1] & 1 ? &rdf_arch_x86_64 : rdf_arch_native(), &arena, &images,
                        &err) == REDEFINE_OK) {
        for (size_t i = 0; i < layout->map_count && images.count; i++) {
            const struct rdf_map *map = &layout->map[i];
            unsigned step = (choice[2] & 63) + 1;
            for (unsigned n = 0; n < 48; n++) {
                uint64_t addr = map->start + ((uint64_t)choice[3] << 4 | (choice[4] & 15)) +
                                (uint64_t)n * step;
                check_function(&images, addr);
                check_follow(&images, addr);
            }
            char text[64];
            rdf_images_describe(&images, map->start + choice[5], text, sizeof text);
        }
        check_name(&images, name[choice[6] % (sizeof name / sizeof *name)]);
        check_name(&images, name[choice[7] % (sizeof name / sizeof *name)]);
        rdf_images_free(&images);
    }
    require(layout->files_open == 0);
    require(layout->pages_peak < PROPORTION_BYTES);
    rdf_arena_free(&arena);
    require(layout->pages_bytes == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < CHOICE_BYTES)
        return 0;
    struct layout layout;
    layout_init(&layout, data + CHOICE_BYTES, size - CHOICE_BYTES);
    layout_relocate_slots(&layout);
    layout.has_views = data[0] & 1;
    layout.has_file = data[0] & 2;
    layout.fail_at = data[0] & 4 ? data[8] % 32 : 0;
    ask(&layout, data);
    layout_free(&layout);
    return 0;
}
