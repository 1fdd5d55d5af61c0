/* SPDX-License-Identifier: MIT
 *
 * redefine show of a Go function: what the Go package would do to it, by the package's own planner.
 */
#include "api/go_judge.h"
#include "show.h"

#include <inttypes.h>
#include <stdio.h>

/* The pieces of the code near the function, in the order in which they lie there. */
struct pieces {
    uint64_t entry; /* that was asked for */
    struct rdf_go_plan plan;
    struct rdf_near near;
    struct rdf_near_place place;
    uint8_t code[RDF_GO_CODE_BYTES_MAX];
};

static struct rdf_span piece(const struct pieces *pieces, uint64_t start, uint64_t end)
{
    return (struct rdf_span){pieces->code + (start - pieces->place.code_addr), (size_t)(end - start)};
}

static struct rdf_span original_of(const struct pieces *pieces)
{
    const struct rdf_go_code *code = &pieces->plan.code;
    return piece(pieces, code->original, code->relay);
}

/* Of a generic function what finds other dictionaries than the first lies behind it. */
static struct rdf_span relay_of(const struct pieces *pieces)
{
    const struct rdf_go_code *code = &pieces->plan.code;
    uint64_t end = code->select ? code->select : code->original + code->len_bytes;
    return piece(pieces, code->relay, end);
}

static void print_edit(const struct cli_view *view, const struct rdf_go_plan *plan, struct rdf_span code)
{
    const struct rdf_edit *edit = &plan->edit;
    uint64_t at = edit->addr, end = at + plan->target.entry.check_bytes;
    (void)cli_print_insn(view, at, (struct rdf_span){edit->new_bytes, edit->len_bytes}, "|", "\033[32m",
                         "to the relay");
    if (plan->target.entry.has_check && code.len_bytes > plan->target.entry.check_bytes)
        printf("  what is left of the check stays, and nobody runs it; the body goes on at %" PRIx64 "\n",
               end);
}

static void print_plan(const struct cli_view *view, const struct pieces *pieces,
                       const struct cli_shown *shown)
{
    const struct rdf_go_plan *plan = &pieces->plan;
    const struct rdf_go_code *code = &plan->code;
    cli_show_head(view, shown);
    printf("  overwrites  %u bytes at %" PRIx64 ", displaces %" PRIu64 " bytes%s\n", plan->edit.len_bytes,
           plan->edit.addr, shown->displaced_end - shown->function->start,
           plan->can_be_parked ? "; stacks of goroutines are searched before" : "");
    if (pieces->entry != shown->function->start)
        printf("  changes     %s, which %s leads to\n", plan->target.func.name, shown->name);
    printf("\nbefore\n");
    cli_print_code(view, shown->function->start, shown->code, shown->displaced_end);
    printf("\nafter\n");
    print_edit(view, plan, shown->code);
    printf("\nrelay (its record, which the slot leads to, says what runs instead, and for whom)\n");
    cli_print_code(view, code->relay, shown->relay, 0);
    const char *first = plan->probe.len_bytes ? "a read of what may be nil, before there is a frame; " : "";
    printf("\ntrampoline (the original: %s%s)\n", first,
           plan->target.entry.has_check ? "the check again, then the body; else a note, and for more stack"
                                        : "the displaced instructions, then the body");
    cli_print_code(view, code->original, shown->trampoline, 0);
    if (!code->select)
        return;
    printf("\nselection (of other dictionaries than the first)\n");
    cli_print_code(view, code->select, piece(pieces, code->select, code->original + code->len_bytes), 0);
}

static redefine_status make_plan(struct cli_target *target, uint64_t entry, struct pieces *pieces,
                                 struct rdf_error *err)
{
    struct rdf_go_plan *plan = &pieces->plan;
    uint32_t len_bytes;
    pieces->near = (struct rdf_near){.space = &target->space, .arch = target->arch, .pages = &rdf_os_pages};
    redefine_status status = rdf_go_judge_plan(&target->images, entry, plan, err);
    if (status != REDEFINE_OK)
        return status;
    plan->registers = plan->abi->registers_max; /* how many the arguments take is not in Go's tables */
    status = rdf_near_reserve(&pieces->near, &target->images.maps, plan->target.func.entry,
                              RDF_GO_CODE_BYTES_MAX, &pieces->place, err);
    if (status == REDEFINE_OK)
        status = rdf_go_plan_emit(plan, &pieces->place, pieces->code, &len_bytes, err);
    return status == REDEFINE_OK ? rdf_go_plan_edit(plan, err) : status;
}

redefine_status cli_go_show(const struct cli_view *view, struct cli_target *target, const char *name,
                            uint64_t entry, bool is_json, struct rdf_error *err)
{
    struct pieces *pieces = rdf_arena_alloc(&target->arena, sizeof *pieces);
    if (!pieces)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the plan");
    pieces->entry = entry;
    redefine_status status = make_plan(target, entry, pieces, err);
    if (status != REDEFINE_OK)
        return status;
    const struct rdf_go_plan *plan = &pieces->plan;
    const struct rdf_go_target *changed = &plan->target;
    struct rdf_function function = {.image = rdf_go_image(changed->func.go),
                                    .start = changed->func.entry,
                                    .end = changed->func.end,
                                    .source = RDF_BOUNDS_GO,
                                    .name = changed->func.name};
    size_t displaced = changed->entry.has_check ? changed->entry.check_bytes : plan->moved.len_bytes;
    struct cli_shown shown = {.name = name,
                              .function = &function,
                              .code = changed->code,
                              .strategy = rdf_go_way_name(plan->way),
                              .displaced_end = function.start + displaced,
                              .edit = plan->edit,
                              .relay_addr = plan->code.relay,
                              .relay = relay_of(pieces),
                              .trampoline_addr = plan->code.original,
                              .trampoline = original_of(pieces)};
    if (is_json)
        cli_show_json(view, &shown);
    else
        print_plan(view, pieces, &shown);
    return REDEFINE_OK;
}
