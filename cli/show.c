/* SPDX-License-Identifier: MIT
 *
 * redefine show: a function's bytes, disassembled, and the plan: what would be there before and after.
 * The plan is made by the same planner as in a process, over a space of files; nothing is touched.
 */
#include "cli.h"

#include "image/calls.h"
#include "show.h"
#include "text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *bounds_text(enum rdf_bounds_source source)
{
    switch (source) {
    case RDF_BOUNDS_UNWIND: return "unwind table";
    case RDF_BOUNDS_GO:
    case RDF_BOUNDS_GO_C: return "table of Go functions";
    default: return "symbol table";
    }
}

void cli_show_head(const struct cli_view *view, const struct cli_shown *shown)
{
    const struct rdf_function *function = shown->function;
    uint64_t bias = rdf_image_bias(function->image);
    printf("%s%s%s in %s\n", cli_paint(view, "\033[1m"), shown->name, cli_paint(view, "\033[0m"),
           rdf_image_name(function->image));
    printf("  runs at     %" PRIx64 "..%" PRIx64, function->start, function->end);
    printf(", %" PRIu64 " bytes,%s as the %s says\n", function->end - function->start,
           function->end >> 48 ? "\n             " : "", bounds_text(function->source));
    if (bias)
        printf("  in the file %" PRIx64 "..%" PRIx64 "\n", function->start - bias, function->end - bias);
    printf("  strategy    %s\n", shown->strategy);
}

static void print_overwritten(const struct rdf_plan *plan)
{
    const struct rdf_window *window = &plan->window;
    uint64_t displaced = window->end - window->function.start;
    printf("  overwrites  %u bytes at %" PRIx64 ", displaces %" PRIu64 " byte%s, %zu instruction%s\n",
           plan->edit.len_bytes, plan->edit.addr, displaced, displaced == 1 ? "" : "s", window->insn_count,
           window->insn_count == 1 ? "" : "s");
}

/* Of an edit that is not the entry's. */
static const char *purpose_of(const struct rdf_window *window, uint64_t addr)
{
    if (addr == window->padding_addr)
        return "in padding, to the relay";
    for (size_t i = 0; i < window->branch_count; i++) {
        if (addr == window->branch[i].hop_addr)
            return "in padding, a hop into the trampoline";
        if (addr == window->branch[i].addr && window->branch[i].hop_addr)
            return "back to the hop";
    }
    return "back into the trampoline";
}

/* The instructions of one jump, which on some CPUs are two or three, with `note` beside the last; their
 * length. */
static size_t print_jump(const struct cli_view *view, uint64_t addr, struct rdf_span code, const char *mark,
                         const char *colour, const char *note)
{
    size_t at = 0;
    for (bool is_last = false; !is_last && at < code.len_bytes;) {
        struct rdf_span rest = {code.data + at, code.len_bytes - at};
        struct rdf_insn insn;
        is_last = !view->arch->decode(rest, addr + at, &insn) || insn.flow != RDF_FLOW_NEXT;
        at += cli_print_insn(view, addr + at, rest, mark, colour, is_last ? note : "");
    }
    return at;
}

static void print_after(const struct cli_view *view, const struct rdf_plan *plan)
{
    const struct rdf_window *window = &plan->window;
    uint64_t start = window->function.start;
    uint64_t end = window->end;
    uint8_t after[RDF_WINDOW_BYTES_MAX + RDF_EDIT_BYTES_MAX];
    memcpy(after, window->bytes, (size_t)(end - start));
    memcpy(after + (plan->edit.addr - start), plan->edit.new_bytes, plan->edit.len_bytes);
    if (plan->edit.addr + plan->edit.len_bytes > end)
        end = plan->edit.addr + plan->edit.len_bytes;

    uint64_t at = start;
    while (at < plan->edit.addr)
        at += cli_print_insn(view, at,
                             (struct rdf_span){after + (at - start), (size_t)(plan->edit.addr - at)}, " ", "",
                             "the landing pad stays");
    const char *what = "to the relay";
    for (uint64_t edit_end = at + plan->edit.len_bytes; at < edit_end; what = "a hop into the trampoline")
        at += print_jump(view, at, (struct rdf_span){after + (at - start), (size_t)(end - at)}, "|",
                         "\033[32m", what);
    if (at < end)
        printf("  %12" PRIx64 "  … %" PRIu64 " bytes of the last displaced instruction%s, as before\n", at,
               end - at, window->insn_count > 1 ? "s" : "");
    if (end < window->function.end)
        printf("  %12" PRIx64 "  … unchanged up to %" PRIx64 "%s\n", end, window->function.end,
               window->branch_count ? ", but for" : "");
    for (size_t i = 0; i < plan->extra_count; i++)
        (void)cli_print_insn(view, plan->extra[i].addr,
                             (struct rdf_span){plan->extra[i].new_bytes, plan->extra[i].len_bytes}, "|",
                             "\033[32m", purpose_of(window, plan->extra[i].addr));
}

static void print_plan(const struct cli_view *view, const struct cli_shown *shown,
                       const struct rdf_plan *plan)
{
    cli_show_head(view, shown);
    print_overwritten(plan);
    printf("\nbefore\n");
    cli_print_code(view, shown->function->start, shown->code, plan->window.end);
    printf("\nafter\n");
    print_after(view, plan);
    printf("\nrelay (the slot holds the replacement's address%s)\n",
           plan->window.needs_frame ? "; callers rely on what it saves" : "");
    (void)print_jump(view, plan->relay_addr, shown->relay, " ", "",
                     plan->frame_addr ? "to the frame" : "to the replacement");
    if (plan->frame_addr) {
        size_t off = (size_t)(plan->frame_addr - plan->relay_addr);
        printf("\nframe (calls the replacement by way of the library, at 0 here; keeps what the\n"
               "original leaves alone)\n");
        cli_print_code(view, plan->frame_addr, (struct rdf_span){plan->code + off, plan->code_bytes - off},
                       0);
    }
    if (plan->window.strategy == RDF_STRATEGY_SLED) {
        printf("\nno trampoline: the original begins behind the sled, at %" PRIx64 "\n",
               plan->trampoline_addr);
        return;
    }
    printf("\ntrampoline (calling it is calling the original)\n");
    cli_print_code(view, plan->trampoline_addr, shown->trampoline, 0);
}

/* ---- JSON ---- */

static json_t *json_bytes(const uint8_t *bytes, size_t len)
{
    char text[2 * RDF_EDIT_BYTES_MAX + 1] = "";
    for (size_t i = 0; i < len; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return json_string(text);
}

static json_t *json_edit(const struct rdf_edit *edit)
{
    return json_pack("{s:I, s:o, s:o}", "address", (json_int_t)edit->addr, "old",
                     json_bytes(edit->old_bytes, edit->len_bytes), "new",
                     json_bytes(edit->new_bytes, edit->len_bytes));
}

void cli_show_json(const struct cli_view *view, const struct cli_shown *shown)
{
    const struct rdf_function *function = shown->function;
    json_t *edits = json_array();
    (void)json_array_append_new(edits, json_edit(&shown->edit));
    for (size_t i = 0; i < shown->extra_count; i++)
        (void)json_array_append_new(edits, json_edit(&shown->extra[i]));
    json_t *whole = json_pack("{s:i, s:o, s:o, s:I, s:I, s:I, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o}",
                              "schema", 1, "name", cli_json_text(shown->name), "object",
                              cli_json_text(rdf_image_name(function->image)), "address",
                              (json_int_t)function->start, "end", (json_int_t)function->end, "bias",
                              (json_int_t)rdf_image_bias(function->image), "bounds",
                              bounds_text(function->source), "strategy", shown->strategy, "overwritten",
                              (json_int_t)shown->edit.len_bytes, "displaced",
                              (json_int_t)(shown->displaced_end - function->start), "before",
                              cli_json_code(view, function->start, shown->code, shown->displaced_end),
                              "edits", edits, "relay",
                              cli_json_code(view, shown->relay_addr, shown->relay, 0), "trampoline",
                              cli_json_code(view, shown->trampoline_addr, shown->trampoline, 0));
    if (whole)
        (void)cli_json_write(stdout, whole, JSON_INDENT(1));
    putchar('\n');
    json_decref(whole);
}

static void print(const struct cli_view *view, const char *name, const struct rdf_plan *plan,
                  struct rdf_span code, bool is_json)
{
    const struct cli_shown shown = {.name = name,
                                    .function = &plan->window.function,
                                    .code = code,
                                    .strategy = rdf_strategy_name(plan->window.strategy),
                                    .displaced_end = plan->window.end,
                                    .edit = plan->edit,
                                    .extra = plan->extra,
                                    .extra_count = plan->extra_count,
                                    .relay_addr = plan->relay_addr,
                                    .relay = {plan->code, RDF_JUMP_BYTES_MAX},
                                    .trampoline_addr = plan->trampoline_addr,
                                    .trampoline = {plan->relocated.code, plan->relocated.len_bytes}};
    if (is_json)
        cli_show_json(view, &shown);
    else
        print_plan(view, &shown, plan);
}

static redefine_status show(const struct cli_view *view, struct cli_target *target, const char *name,
                            bool is_json, struct rdf_error *err)
{
    uint64_t entry;
    struct rdf_function function;
    struct rdf_window window;
    redefine_status status = rdf_images_find(&target->images, name, &entry, err);
    if (status == REDEFINE_OK)
        status = rdf_images_function(&target->images, entry, &function, err);
    if (status == REDEFINE_OK && function.source == RDF_BOUNDS_GO)
        return cli_go_show(view, target, name, entry, is_json, err);
    if (status == REDEFINE_OK)
        status = rdf_plan_window(&target->images, &function, &window, err);
    struct rdf_reliance reliance;
    if (status == REDEFINE_OK)
        status = rdf_image_reliance(&target->images, function.image, &function, 1, NULL, &reliance, err);
    if (status == REDEFINE_OK)
        (void)rdf_plan_keep(view->arch, &reliance, &window);
    struct rdf_near *near = rdf_arena_alloc(&target->arena, sizeof *near);
    struct rdf_plan *plan = rdf_arena_alloc(&target->arena, sizeof *plan);
    if (status == REDEFINE_OK && (!near || !plan))
        status = rdf_fail(err, REDEFINE_ENOMEM, "no memory for the plan");
    if (status != REDEFINE_OK)
        return status;
    *near = (struct rdf_near){.space = &target->space, .arch = view->arch, .pages = &rdf_os_pages};
    status = rdf_plan_make(near, &target->images, &window, 0, plan, err);
    size_t len = (size_t)(function.end - function.start);
    struct rdf_span code = {target->space.ops->view(&target->space, function.start, len), len};
    if (status == REDEFINE_OK)
        print(view, name, plan, code, is_json);
    return status;
}

int cli_show(int argc, char **argv)
{
    bool is_json = false;
    for (; argc > 0 && argv[0][0] == '-'; argc--, argv++) {
        if (strcmp(argv[0], "--") == 0) {
            argc--;
            argv++;
            break;
        }
        if (strcmp(argv[0], "--json") != 0) {
            cli_say("show has no option %s; see redefine --help", argv[0]);
            return EXIT_OWN_FAILURE;
        }
        is_json = true;
    }
    if (argc == 3 && strcmp(argv[2], "--json") == 0) {
        is_json = true;
        argc--;
    }
    if (argc != 2) {
        cli_say("show takes PROGRAM and NAME; see redefine --help");
        return EXIT_OWN_FAILURE;
    }
    struct cli_target target;
    struct rdf_error err = {0};
    bool is_open = cli_target_open(argv[0], &target);
    struct cli_view view = {.arch = target.arch, .has_colour = cli_has_colour(stdout)};
    if (is_open)
        (void)show(&view, &target, argv[1], is_json, &err);
    if (err.status == REDEFINE_OK && fflush(stdout) != 0)
        (void)rdf_fail(&err, REDEFINE_ESYSTEM, "the output could not be written: %s", strerror(errno));
    if (err.status != REDEFINE_OK)
        cli_say("%s: %s", argv[0], err.sentence);
    cli_target_close(&target);
    return is_open && err.status == REDEFINE_OK ? 0 : EXIT_OWN_FAILURE;
}
