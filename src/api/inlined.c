/* SPDX-License-Identifier: MIT
 *
 * What this process knows of its own inlined functions: an index per object, made at the first question about
 * it and kept. Only debug data in the object's own file, or beside it, is looked at: a redefinition does not
 * take longer because somebody installed the symbols of the C library.
 */
#include "api/inlined.h"

#include "arch/arch.h"
#include "check/sites.h"
#include "image/image.h"

#include <redefine/check.h>

#include <stdio.h>
#include <unistd.h>

extern char **environ; /* which not every <unistd.h> declares */

enum { HEAD_BYTES = 64, SITES_TOLD = 4, ROOM_BYTES = 512 * 1024 };

/* Objects are never forgotten: another one may come to lie at the same place, so its first bytes are
 * compared. */
struct known {
    struct known *next;
    uint64_t start, end, bias;
    uint8_t head[HEAD_BYTES];
    bool is_program;
    bool has_index;
    struct rdf_debug_index index;
};

static struct known *first_known;
static struct rdf_os_lock lock;
static struct rdf_space space;
static int is_ok;      /* redefine_set_inlined_ok */
static int is_off = 2; /* REDEFINE_CHECK=off; 2: the environment was not looked at yet */

int redefine_set_inlined_ok(int ok)
{
    return __atomic_exchange_n(&is_ok, ok != 0, __ATOMIC_RELAXED);
}

/* Without getenv, which the program may have redefined. */
static bool is_switched_off(void)
{
    static const char off[] = "REDEFINE_CHECK=off";
    int known = __atomic_load_n(&is_off, __ATOMIC_RELAXED);
    if (known != 2)
        return known;
    known = 0;
    for (char **at = environ; at && *at && !known; at++) {
        size_t i = 0;
        while (off[i] && (*at)[i] == off[i])
            i++;
        known = !off[i] && !(*at)[i];
    }
    __atomic_store_n(&is_off, known, __ATOMIC_RELAXED);
    return known;
}

/* ---- Objects ---- */

/* What is kept lies here while there is room, so that a refused redefinition leaves no mapping behind; the
 * pages that nothing was put into cost nothing. Guarded by the lock. */
static _Alignas(16) uint8_t room[ROOM_BYTES];
static size_t room_used;

static void *keep(size_t len_bytes)
{
    size_t rounded = (len_bytes + 15) & ~(size_t)15;
    if (rounded > ROOM_BYTES - room_used)
        return rdf_os_pages.get(rdf_os_pages.ctx, len_bytes);
    room_used += rounded;
    return room + room_used - rounded;
}

/* An index in a mapping of its own moves to where it is kept. */
static void keep_index(struct rdf_debug_index *index)
{
    struct rdf_span mapped = index->blob;
    if (mapped.len_bytes > ROOM_BYTES - room_used)
        return;
    rdf_debug_index_move(index, keep(mapped.len_bytes));
    rdf_os_pages.put(rdf_os_pages.ctx, (void *)(uintptr_t)mapped.data, mapped.len_bytes);
}

static struct known *known_at(uint64_t addr)
{
    struct known *known = __atomic_load_n(&first_known, __ATOMIC_ACQUIRE);
    uint8_t head[HEAD_BYTES];
    while (known && !(addr >= known->start && addr < known->end))
        known = known->next;
    if (!known || known->is_program)
        return known;
    bool same = space.ops->read(&space, known->start, head, sizeof head) == 0 &&
                rdf_bytes_equal(head, known->head, sizeof head);
    return same ? known : NULL;
}

static struct known *known_program(void)
{
    struct known *known = __atomic_load_n(&first_known, __ATOMIC_ACQUIRE);
    while (known && !known->is_program)
        known = known->next;
    return known;
}

static void read_index(const struct rdf_images *images, const struct rdf_image *image, struct known *known)
{
    struct rdf_arena arena;
    struct rdf_debug *debug;
    const struct rdf_map *map = rdf_maps_find(&images->maps, known->start);
    rdf_arena_init(&arena, &rdf_os_pages);
    if (map && rdf_image_name(image)[0] == '/' &&
        rdf_debug_open(&space, &arena, rdf_image_name(image), map->dev, map->ino, RDF_DEBUG_INSIDE, &debug,
                       NULL) == REDEFINE_OK) {
        known->has_index = rdf_debug_build_index(debug, &rdf_os_pages, (struct rdf_span){0}, &known->index,
                                                 NULL) == REDEFINE_OK;
        rdf_debug_close(debug);
        if (known->has_index)
            keep_index(&known->index);
    }
    rdf_arena_free(&arena);
}

static void learn_image(const struct rdf_images *images, const struct rdf_image *image)
{
    struct known *known = keep(sizeof *known);
    if (!known)
        return;
    *known = (struct known){.next = first_known,
                            .start = rdf_image_start(image),
                            .end = rdf_image_end(image),
                            .bias = rdf_image_bias(image),
                            .is_program = image == images->image[0]};
    if (space.ops->read(&space, known->start, known->head, sizeof known->head) == 0)
        read_index(images, image, known);
    __atomic_store_n(&first_known, known, __ATOMIC_RELEASE);
}

/* Read the debug data of the program and of the object at `addr`. */
static void learn(uint64_t addr)
{
    if (!rdf_os_lock(&lock)) /* asked from inside of itself: a replacement that runs here */
        return;
    if (!space.ops)
        rdf_os_local_space(&space);
    struct rdf_arena arena;
    struct rdf_images images;
    rdf_arena_init(&arena, &rdf_os_pages);
    if (rdf_images_load(&space, rdf_arch_native(), &arena, &images, NULL) == REDEFINE_OK) {
        struct rdf_image *image = rdf_images_at(&images, addr);
        if (!known_program() && images.count > 0)
            learn_image(&images, images.image[0]);
        if (image && !known_at(addr))
            learn_image(&images, image);
        rdf_images_free(&images);
    }
    rdf_arena_free(&arena);
    rdf_os_unlock(&lock);
}

/* ---- Telling ---- */

struct telling {
    const struct rdf_debug_index *index;
    char text[RDF_SENTENCE_BYTES / 2];
    size_t used, count;
};

static bool tell(void *ctx, const struct rdf_debug_site *site, bool is_self)
{
    struct telling *telling = ctx;
    if (is_self || ++telling->count > SITES_TOLD)
        return true;
    const char *text = telling->index->text;
    int len = snprintf(telling->text + telling->used, sizeof telling->text - telling->used, "%s%s (%s:%u)",
                       telling->count > 1 ? ", " : "", text + telling->index->function[site->caller].plain,
                       site->file ? text + site->file : "?", site->line);
    telling->used += len > 0 ? (size_t)len : 0;
    if (telling->used >= sizeof telling->text)
        telling->used = sizeof telling->text - 1;
    return true;
}

static bool count_site(void *ctx, const struct rdf_debug_site *site, bool is_self)
{
    (void)site;
    *(size_t *)ctx += !is_self;
    return true;
}

/* The names of its bodies are asked for, which the index does not have. */
static bool is_folded(const struct known *where, const struct rdf_debug_function *function)
{
    struct rdf_arena arena;
    struct rdf_images images;
    bool folded = false;
    if (!(function->flags & RDF_DEBUG_FOLDED) || !rdf_os_lock(&lock))
        return false;
    rdf_arena_init(&arena, &rdf_os_pages);
    if (rdf_images_load(&space, rdf_arch_native(), &arena, &images, NULL) == REDEFINE_OK) {
        struct rdf_image *image = rdf_images_at(&images, where->start);
        struct rdf_twins twins;
        folded = image && rdf_twins_find(&images, image, &where->index, &arena, &twins) &&
                 rdf_check_is_folded(&where->index, function, &images, image, &twins);
        rdf_images_free(&images);
    }
    rdf_arena_free(&arena);
    rdf_os_unlock(&lock);
    return folded;
}

static redefine_status refuse_sites(const struct known *where, const struct rdf_debug_function *function,
                                    struct rdf_error *err)
{
    size_t count = 0;
    rdf_check_each_site(&where->index, function, count_site, &count);
    if (is_folded(where, function))
        return rdf_fail(
            err, REDEFINE_EINLINED,
            "%s was inlined, where the replacement would not be called, and its copies folded away, "
            "so that debug data does not tell where: mark it __attribute__((noipa)), or accept "
            "it with redefine_set_inlined_ok(1)",
            where->index.text + function->plain);
    if (count == 0)
        return REDEFINE_OK;
    struct telling telling = {.index = &where->index};
    char more[32] = "";
    rdf_check_each_site(&where->index, function, tell, &telling);
    if (count > SITES_TOLD)
        (void)snprintf(more, sizeof more, " and %zu more", count - SITES_TOLD);
    return rdf_fail(err, REDEFINE_EINLINED,
                    "%s is inlined into %s%s, where the replacement would not be called: mark it "
                    "__attribute__((noinline)), redefine those callers instead, or accept it with "
                    "redefine_set_inlined_ok(1)",
                    where->index.text + function->plain, telling.text, more);
}

redefine_status rdf_inlined_refuse(uint64_t target, struct rdf_error *err)
{
    if (__atomic_load_n(&is_ok, __ATOMIC_RELAXED) || is_switched_off())
        return REDEFINE_OK;
    const struct known *object = known_at(target);
    if (!object) {
        learn(target);
        object = known_at(target);
    }
    const struct rdf_debug_function *function = object && object->has_index
                                                    ? rdf_debug_index_at(&object->index,
                                                                         target - object->bias)
                                                    : NULL;
    if (!function)
        return REDEFINE_OK;
    redefine_status status = refuse_sites(object, function, err);
    const struct known *program = known_program();
    if (status != REDEFINE_OK || object == program || !program || !program->has_index ||
        !(function->flags & RDF_DEBUG_EXTERNAL))
        return status;
    /* A function of a library's header may be inlined in the program. */
    uint32_t first;
    uint32_t count = rdf_debug_index_named(&program->index, object->index.text + function->name, &first);
    for (uint32_t i = first; i < first + count; i++)
        if (program->index.function[i].flags & RDF_DEBUG_EXTERNAL)
            return refuse_sites(program, &program->index.function[i], err);
    return REDEFINE_OK;
}
