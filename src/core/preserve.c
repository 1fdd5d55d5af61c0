/* SPDX-License-Identifier: MIT
 *
 * A relay that keeps what callers rely on.
 *
 * Where the compiler saw a body (gcc -fipa-ra), callers may keep values in registers that a call is free to
 * change, and leave the stack unaligned. A replacement is compiled by the ABI and knows neither. So the relay
 * of such a function leads to code that makes a frame, saves every register that the original leaves alone,
 * copies arguments that lie on the stack, calls the replacement, and puts the registers back.
 *
 * Only functions that something of their own object calls directly are looked at, and only what is proven of
 * their callers counts: a frame without need is only slower.
 */
#include "core/commit.h"
#include "image/calls.h"

bool rdf_plan_keep(const struct rdf_arch *arch, const struct rdf_reliance *reliance,
                   struct rdf_window *window)
{
    uint8_t code[RDF_PRESERVE_BYTES_MAX];
    uint64_t addr = window->function.start;
    struct rdf_keep keep = {reliance->relied_on, reliance->vector_bytes, reliance->stack_words};
    window->needs_frame = (reliance->relied_on || reliance->is_misaligned) && arch->emit_preserve &&
                          arch->emit_preserve(code, addr, addr, addr, &keep) > 0;
    if (!window->needs_frame)
        return false;
    keep.registers = reliance->relied_on | (reliance->left_alone & arch->plain_regs);
    if (arch->emit_preserve(code, addr, addr, addr, &keep) == 0)
        keep.registers = reliance->relied_on; /* that is too many of them */
    window->keep = keep;
    return true;
}

/* What is only counted runs its own code, which is what its callers have seen. */
static bool is_asked(const struct touched *touched, const struct rdf_image *image)
{
    bool is_only_counted = touched->counter_addr && touched->top && !touched->top->below;
    return touched->is_new && touched->is_called && !touched->is_left_out && !is_only_counted &&
           touched->function.image == image;
}

/* Those of one image, ascending. Mostly they are in order already. */
static size_t list_asked(const struct commit *commit, const struct rdf_image *image, struct touched **ret)
{
    size_t count = 0;
    for (struct touched *touched = commit->first; touched; touched = touched->next)
        if (is_asked(touched, image))
            ret[count++] = touched;
    for (size_t gap = count / 2; gap > 0; gap /= 2)
        for (size_t i = gap; i < count; i++)
            for (size_t j = i; j >= gap && ret[j - gap]->entry > ret[j]->entry; j -= gap) {
                struct touched *later = ret[j - gap];
                ret[j - gap] = ret[j];
                ret[j] = later;
            }
    return count;
}

static redefine_status ask_image(struct commit *commit, struct rdf_image *image, struct touched **touched,
                                 size_t count)
{
    struct rdf_error why = {0};
    struct rdf_function *functions = rdf_arena_alloc(&commit->arena, count * sizeof *functions);
    struct rdf_reliance *reliance = rdf_arena_alloc(&commit->arena, count * sizeof *reliance);
    if (!functions || !reliance)
        return rdf_commit_no_memory(commit);
    for (size_t i = 0; i < count; i++)
        functions[i] = touched[i]->function;
    redefine_status status = rdf_image_reliance(commit->images, image, functions, count, NULL, reliance,
                                                &why);
    if (status != REDEFINE_OK)
        return rdf_fail(commit->err, status, "%s", why.sentence);
    for (size_t i = 0; i < count; i++)
        if (reliance[i].relied_on || reliance[i].is_misaligned)
            touched[i]->reliance = &reliance[i];
    return REDEFINE_OK;
}

redefine_status rdf_commit_find_reliance(struct commit *commit)
{
    struct touched **touched = NULL;
    for (size_t i = 0; i < commit->images->count; i++) {
        struct rdf_image *image = commit->images->image[i];
        bool is_any = false;
        for (const struct touched *each = commit->first; each && !is_any; each = each->next)
            is_any = is_asked(each, image);
        if (!is_any)
            continue;
        if (!touched)
            touched = rdf_arena_alloc(&commit->arena, commit->new_count * sizeof(struct touched *));
        if (!touched)
            return rdf_commit_no_memory(commit);
        redefine_status status = ask_image(commit, image, touched, list_asked(commit, image, touched));
        if (status != REDEFINE_OK)
            return status;
    }
    return REDEFINE_OK;
}
