/* SPDX-License-Identifier: MIT
 *
 * One sentence out of what each strategy failed by. A sentence may have a picture: further lines that show
 * bytes and a caret. One picture is enough, and it comes last.
 */
#include "core/plan.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <stdio.h>

enum { SHOWN_BYTES = 8 };

static size_t line_bytes(const char *sentence)
{
    size_t len = 0;
    while (sentence[len] && sentence[len] != '\n')
        len++;
    return len;
}

static bool say_the_same(const char *a, const char *b)
{
    size_t len = line_bytes(a);
    return len == line_bytes(b) && rdf_bytes_equal(a, b, len);
}

redefine_status rdf_plan_refuse(const struct rdf_tried *tried, size_t count, struct rdf_error *err)
{
    const struct rdf_error *first = tried[0].why;
    const char *picture = "";
    char others[RDF_SENTENCE_BYTES] = "";
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        const char *why = tried[i].why->sentence;
        if (tried[i].why->status == REDEFINE_OK) /* not tried */
            continue;
        if (!*picture)
            picture = why + line_bytes(why);
        bool is_known = i > 0 && say_the_same(why, first->sentence);
        if (i > 0)
            (void)snprintf(others + used, sizeof others - used, "; %s: %.*s", tried[i].strategy,
                           is_known ? (int)sizeof "the same" - 1 : (int)line_bytes(why),
                           is_known ? "the same" : why);
        used += line_bytes(others + used);
    }
    return rdf_fail(err, first->status, "%.*s. Tried: entry jump (above)%s%s",
                    (int)line_bytes(first->sentence), first->sentence, others, picture);
}

redefine_status rdf_plan_refuse_bytes(const char *name, uint64_t start, uint64_t addr, struct rdf_span code,
                                      struct rdf_error *err)
{
    char hex[3 * SHOWN_BYTES + 1] = "";
    char place[32] = "the entry";
    for (size_t i = 0; i < SHOWN_BYTES && i < code.len_bytes; i++)
        (void)snprintf(hex + 3 * i, 4, " %02x", code.data[i]);
    if (addr != start)
        (void)snprintf(place, sizeof place, "+%" PRIu64, addr - start);
    return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                    "the bytes at %s of %s (0x%" PRIx64
                    ") are no instruction that the decoder knows, or only part "
                    "of one, so they cannot be moved\n   %s\n    ^",
                    place, name, addr, hex);
}

redefine_status rdf_plan_refuse_go(const struct rdf_function *function, struct rdf_error *err)
{
    if (function->source != RDF_BOUNDS_GO)
        return REDEFINE_OK;
    return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                    "%s is a Go function: a C replacement cannot run on a goroutine's stack, nor find its "
                    "arguments; write the replacement in Go, with the package redefine",
                    function->name);
}

/* A debugger keeps its breakpoints in the memory of the program: what they hide is in the file. Moved along
 * they would stay for ever, and what follows them would be taken for another instruction. */
redefine_status rdf_plan_refuse_breakpoints(struct rdf_images *images, const struct rdf_function *function,
                                            const uint8_t *code, struct rdf_error *err)
{
    const struct rdf_arch *arch = images->arch;
    const struct rdf_space_ops *ops = images->space->ops;
    struct rdf_span file = {NULL, 0};
    uint64_t found = 0;
    for (uint64_t at = function->start; arch->trap_bytes && at + arch->trap_bytes <= function->end && !found;
         at++) {
        if (!rdf_bytes_equal(code + (at - function->start), arch->trap, arch->trap_bytes))
            continue;
        const struct rdf_map *map = rdf_maps_find(&images->maps, at);
        if (!map || !map->ino)
            break;
        if (!file.data && ops->open_file(images->space, map->path, map->dev, map->ino, &file) < 0)
            break;
        uint64_t off;
        if (rdf_images_file_off(images, at, &off) && off + arch->trap_bytes <= file.len_bytes &&
            !rdf_bytes_equal(file.data + off, arch->trap, arch->trap_bytes))
            found = at;
    }
    if (file.data)
        ops->close_file(images->space, file);
    if (!found)
        return REDEFINE_OK;
    return rdf_fail(err, REDEFINE_EBUSY,
                    "a breakpoint that its file does not have lies at %s+%" PRIu64 " (0x%" PRIx64
                    "), as debuggers "
                    "set them; delete it, redefine, and set it again",
                    function->name ? function->name : "the function", found - function->start, found);
}
