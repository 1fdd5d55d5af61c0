/* SPDX-License-Identifier: MIT
 *
 * redefine show: a function's bytes, disassembled, and the plan: what would be there before and after.
 * The plan is made by the same planner as in a process, over a space of files; nothing is touched.
 */
#include "cli.h"

#include "core/plan.h"
#include "filespace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BYTES_SHOWN = 10, INSNS_SHOWN = 64 };

struct view {
    const struct rdf_arch *arch;
    bool colour;
};

static const char *paint(const struct view *view, const char *code)
{
    return view->colour ? code : "";
}

/* One instruction: address, bytes (long ones go on in a second line), text. */
static size_t print_insn(const struct view *view, uint64_t addr, struct rdf_span code, const char *mark,
                         const char *colour, const char *note)
{
    char text[160];
    size_t len = view->arch->format(code, addr, text, sizeof text);
    if (len == 0)
        len = code.len_bytes < view->arch->insn_align_bytes ? code.len_bytes : view->arch->insn_align_bytes;
    char bytes[3 * BYTES_SHOWN + 1] = "";
    for (size_t i = 0; i < len && i < BYTES_SHOWN; i++)
        (void)snprintf(bytes + 3 * i, 4, "%02x ", code.data[i]);
    printf("%s%s %12" PRIx64 "  %-*s %s%s%s%s\n", paint(view, colour), mark, addr, 3 * BYTES_SHOWN, bytes,
           text, note[0] ? "   ; " : "", note, paint(view, "\033[0m"));
    for (size_t at = BYTES_SHOWN; at < len; at += BYTES_SHOWN) {
        printf("%s%s %12s  ", paint(view, colour), mark, "");
        for (size_t i = at; i < len && i < at + BYTES_SHOWN; i++)
            printf("%02x ", code.data[i]);
        printf("%s\n", paint(view, "\033[0m"));
    }
    return len;
}

/* Instructions of [start, end), at most INSNS_SHOWN; those that begin before `window_end` are marked. */
static void print_code(const struct view *view, uint64_t start, uint64_t end, const uint8_t *code,
                       uint64_t window_end)
{
    size_t shown = 0;
    uint64_t at = start;
    while (at < end && shown++ < INSNS_SHOWN) {
        bool displaced = at < window_end;
        at += print_insn(view, at, (struct rdf_span){code + (at - start), (size_t)(end - at)},
                         displaced ? "|" : " ", displaced ? "\033[33m" : "", "");
    }
    if (at < end)
        printf("  … %" PRIu64 " more bytes, up to %" PRIx64 "\n", end - at, end);
}

static const char *bounds_text(enum rdf_bounds_source source)
{
    switch (source) {
    case RDF_BOUNDS_UNWIND: return "unwind table";
    case RDF_BOUNDS_GO: return "table of Go functions";
    default: return "symbol table";
    }
}

static void print_head(const struct view *view, const char *name, const struct rdf_plan *plan)
{
    const struct rdf_window *window = &plan->window;
    const struct rdf_function *function = &window->function;
    uint64_t bias = rdf_image_bias(function->image);
    printf("%s%s%s in %s\n", paint(view, "\033[1m"), name, paint(view, "\033[0m"),
           rdf_image_name(function->image));
    printf("  runs at     %" PRIx64 "..%" PRIx64, function->start, function->end);
    printf(", %" PRIu64 " bytes, as the %s says\n", function->end - function->start,
           bounds_text(function->source));
    if (bias)
        printf("  in the file %" PRIx64 "..%" PRIx64 "\n", function->start - bias, function->end - bias);
    uint64_t displaced = window->end - function->start;
    printf("  strategy    %s\n", rdf_strategy_name(window->strategy));
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

static void print_after(const struct view *view, const struct rdf_plan *plan)
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
        at += print_insn(view, at, (struct rdf_span){after + (at - start), (size_t)(plan->edit.addr - at)},
                         " ", "", "the landing pad stays");
    const char *what = "to the relay";
    for (uint64_t edit_end = at + plan->edit.len_bytes; at < edit_end; what = "a hop into the trampoline")
        at += print_insn(view, at, (struct rdf_span){after + (at - start), (size_t)(end - at)}, "|",
                         "\033[32m", what);
    if (at < end)
        printf("  %12" PRIx64 "  … %" PRIu64 " bytes of the last displaced instruction%s, as before\n", at,
               end - at, window->insn_count > 1 ? "s" : "");
    if (end < window->function.end)
        printf("  %12" PRIx64 "  … unchanged up to %" PRIx64 "%s\n", end, window->function.end,
               window->branch_count ? ", but for" : "");
    for (size_t i = 0; i < plan->extra_count; i++)
        (void)print_insn(view, plan->extra[i].addr,
                         (struct rdf_span){plan->extra[i].new_bytes, plan->extra[i].len_bytes}, "|",
                         "\033[32m", purpose_of(window, plan->extra[i].addr));
}

static void print_plan(const struct view *view, const char *name, const struct rdf_plan *plan,
                       const uint8_t *code)
{
    const struct rdf_function *function = &plan->window.function;
    print_head(view, name, plan);
    printf("\nbefore\n");
    print_code(view, function->start, function->end, code, plan->window.end);
    printf("\nafter\n");
    print_after(view, plan);
    printf("\nrelay (the slot holds the replacement's address)\n");
    (void)print_insn(view, plan->relay_addr,
                     (struct rdf_span){plan->code, plan->code_bytes - plan->relocated.len_bytes}, " ", "",
                     "to the replacement");
    if (plan->window.strategy == RDF_STRATEGY_SLED) {
        printf("\nno trampoline: the original begins behind the sled, at %" PRIx64 "\n",
               plan->trampoline_addr);
        return;
    }
    printf("\ntrampoline (calling it is calling the original)\n");
    print_code(view, plan->trampoline_addr, plan->trampoline_addr + plan->relocated.len_bytes,
               plan->relocated.code, 0);
}

static const struct rdf_arch *arch_for(uint16_t machine)
{
    static const struct rdf_arch *const arches[] = {&rdf_arch_x86_64, &rdf_arch_aarch64, &rdf_arch_riscv64};
    for (size_t i = 0; i < sizeof arches / sizeof arches[0]; i++)
        if (arches[i]->elf_machine == machine)
            return arches[i];
    return NULL;
}

static redefine_status show(const struct view *view, struct rdf_space *space, struct rdf_arena *arena,
                            struct rdf_images *images, const char *name, struct rdf_error *err)
{
    uint64_t entry;
    struct rdf_function function;
    struct rdf_window window;
    redefine_status status = rdf_images_load(space, view->arch, arena, images, err);
    if (status == REDEFINE_OK)
        status = rdf_images_find(images, name, &entry, err);
    if (status == REDEFINE_OK)
        status = rdf_images_function(images, entry, &function, err);
    if (status == REDEFINE_OK)
        status = rdf_plan_window(images, &function, &window, err);
    struct rdf_near *near = rdf_arena_alloc(arena, sizeof *near);
    struct rdf_plan *plan = rdf_arena_alloc(arena, sizeof *plan);
    if (status == REDEFINE_OK && (!near || !plan))
        status = rdf_fail(err, REDEFINE_ENOMEM, "no memory for the plan");
    if (status != REDEFINE_OK)
        return status;
    *near = (struct rdf_near){.space = space, .arch = view->arch, .pages = &rdf_os_pages};
    status = rdf_plan_make(near, images, &window, 0, plan, err);
    if (status == REDEFINE_OK)
        print_plan(view, name, plan,
                   space->ops->view(space, function.start, (size_t)(function.end - function.start)));
    return status;
}

/* Where the file lies, without "." and links, which the loader would look at in its own way; null: a sentence
 * has been said. A library is no program: a regular file that lies here needs no slash and no permission. */
static char *find_file(const char *name)
{
    struct stat st;
    int status;
    bool is_file = *name && stat(name, &st) == 0 && S_ISREG(st.st_mode);
    char *found = is_file ? strdup(name) : cli_find_program(name, &status);
    char *path = found ? realpath(found, NULL) : NULL;
    if (found && !path)
        cli_say("%s: %s", found, strerror(errno));
    free(found);
    return path;
}

int cli_show(int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "--") == 0) {
        argc--;
        argv++;
    } else if (argc > 0 && argv[0][0] == '-') {
        cli_say("show has no option %s; see redefine --help", argv[0]);
        return EXIT_OWN_FAILURE;
    }
    if (argc != 2) {
        cli_say("show takes PROGRAM and NAME; see redefine --help");
        return EXIT_OWN_FAILURE;
    }
    int status = EXIT_OWN_FAILURE;
    char *path = find_file(argv[0]);
    struct rdf_space space;
    uint16_t machine = 0;
    struct cli_filespace *files = path ? cli_filespace_new(path, &space, &machine) : NULL;
    free(path);
    if (!files)
        return status;
    struct view view = {.arch = arch_for(machine),
                        .colour = isatty(STDOUT_FILENO) && !(getenv("NO_COLOR") && *getenv("NO_COLOR"))};
    struct rdf_error err = {0};
    struct rdf_arena arena;
    struct rdf_images images = {0};
    rdf_arena_init(&arena, &rdf_os_pages);
    if (view.arch)
        (void)show(&view, &space, &arena, &images, argv[1], &err);
    else
        (void)rdf_fail(&err, REDEFINE_EUNSUPPORTED, "its CPU (ELF machine %u) has no room in this build",
                       machine);
    if (err.status == REDEFINE_OK && fflush(stdout) != 0)
        (void)rdf_fail(&err, REDEFINE_ESYSTEM, "the output could not be written: %s", strerror(errno));
    if (err.status != REDEFINE_OK)
        cli_say("%s: %s", argv[0], err.sentence);
    rdf_images_free(&images);
    rdf_arena_free(&arena);
    cli_filespace_free(files);
    return err.status == REDEFINE_OK ? 0 : EXIT_OWN_FAILURE;
}
