/* SPDX-License-Identifier: MIT
 *
 * differential_x86_64 [--count N] [--generated N] [--seed S] [LIBRARY…]
 *
 * The relocated window must do what the original window does. Both run in an emulator from equal random
 * states, until they leave their bytes; then registers, flags, SSE registers, all written memory and the
 * address they went to must be equal. Windows come from two places: the first instructions of every function
 * of the given libraries and programs (at most N of each; without any, the libraries of this program), and a
 * generator of branches, calls and RIP-relative operands. Prints TAP and, last, how many of each were tried.
 * The same seed gives the same run.
 */
#include "arch/arch.h"
#include "support/entries.h"
#include "unit/differential_x86_64_compare.h"
#include "unit/differential_x86_64_draft.h"

#include <Zydis/Zydis.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- one window -------------------------------------------------------------------------------- */

struct totals {
    size_t windows, equal_runs, failed_windows;
    size_t refused, unreachable;                         /* by relocate */
    size_t invalid, endless, computed, nondeterministic; /* skipped by the test */
    size_t unsure;                     /* equal but for flags that the emulator gets wrong */
    size_t left, faulted, interrupted; /* how the equal runs ended */
};

static void show_code(const char *title, struct rdf_span code, uint64_t addr)
{
    printf("#   %s at 0x%" PRIx64 "\n", title, addr);
    for (size_t off = 0; off < code.len_bytes;) {
        char text[128];
        struct rdf_span rest = rdf_span_slice(code, off, code.len_bytes - off);
        size_t len = rdf_arch_x86_64.format(rest, addr + off, text, sizeof text);
        printf("#     +%02zx", off);
        len = len ? len : 1;
        for (size_t i = 0; i < len; i++)
            printf(" %02x", rest.data[i]);
        printf("   %s\n", text);
        off += len;
    }
}

static void show_failure(const struct window *window, const struct state *start, const struct outcome *a,
                         const struct outcome *b, const char *what, const char *name)
{
    printf("# %s: %s\n", name, what);
    show_code("original", window->code, window->addr);
    show_code("relocated", (struct rdf_span){window->relocated.code, window->relocated.len_bytes},
              window->trampoline_addr);
    printf("#   original: end %d error %d pc 0x%" PRIx64 " flags 0x%" PRIx64 "\n", a->end, a->error, a->pc,
           a->state.flags);
    printf("#   relocated: end %d error %d pc 0x%" PRIx64 " flags 0x%" PRIx64 "\n", b->end, b->error, b->pc,
           b->state.flags);
    for (int i = 0; i < GPRS; i++)
        if (a->state.gpr[i] != b->state.gpr[i])
            printf("#   register %d: from 0x%" PRIx64 " to 0x%" PRIx64 ", relocated 0x%" PRIx64 "\n", i,
                   start->gpr[i], a->state.gpr[i], b->state.gpr[i]);
}

/* Instructions whose result is not a function of the state. */
static bool is_deterministic(struct rdf_span code)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction insn;

    (void)ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (size_t off = 0; off < code.len_bytes; off += insn.length) {
        if (ZYAN_FAILED(
                ZydisDecoderDecodeInstruction(&decoder, NULL, code.data + off, code.len_bytes - off, &insn)))
            return false;
        switch (insn.mnemonic) {
        case ZYDIS_MNEMONIC_RDTSC:
        case ZYDIS_MNEMONIC_RDTSCP:
        case ZYDIS_MNEMONIC_RDRAND:
        case ZYDIS_MNEMONIC_RDSEED:
        case ZYDIS_MNEMONIC_RDPMC:
        case ZYDIS_MNEMONIC_FNSTENV: /* stores the address of the last x87 instruction */
        case ZYDIS_MNEMONIC_FNSAVE:
        case ZYDIS_MNEMONIC_FXSAVE:
        case ZYDIS_MNEMONIC_FXSAVE64: return false;
        default: break;
        }
    }
    return true;
}

/* Relocates to the next free place; false, and counted, when that is refused. */
static bool place_window(struct machine *m, struct window *window, bool is_far, struct totals *totals)
{
    size_t place = m->place;
    struct rdf_error err = {.status = REDEFINE_OK};

    window->trampoline_addr = (is_far ? FAR_ADDR : NEAR_ADDR) + place;
    struct rdf_relocate_request request = {
        .window = window->code,
        .window_addr = window->addr,
        .patched_start = window->addr,
        .patched_end = window->addr + PATCHED_BYTES,
        .trampoline_addr = window->trampoline_addr,
    };
    redefine_status status = rdf_arch_x86_64.relocate(&request, &window->relocated, &err);
    if (status == REDEFINE_ENOMEM)
        totals->unreachable++;
    else if (status != REDEFINE_OK)
        totals->refused++;
    if (status != REDEFINE_OK)
        return false;
    m->place += PLACE_BYTES;
    if (m->place == PLACES_BYTES)
        die("too many windows", "give a smaller --count");
    uint8_t *live = (is_far ? m->far_code : m->near_code) + place;
    memcpy(live, window->relocated.code, window->relocated.len_bytes);
    return true;
}

static void try_window(struct machine *m, struct window *window, bool is_far, uint64_t *seed,
                       const char *name, struct totals *totals)
{
    if (!is_deterministic(window->code)) {
        totals->nondeterministic++;
        return;
    }
    if (!place_window(m, window, is_far, totals))
        return;
    totals->windows++;
    for (int i = 0; i < STATES_PER_WINDOW; i++) {
        struct state start;
        state_make(&start, seed);
        m->write_count = 0;
        struct outcome a = machine_run(m, &start, window->addr, window->addr + window->code.len_bytes,
                                       STEPS_MAX);
        uint64_t read_at = m->last_read;
        memory_expect(m);
        if (a.end == END_INVALID || a.end == END_ENDLESS) {
            *(a.end == END_INVALID ? &totals->invalid : &totals->endless) += 1;
            (void)memory_compare(m);
            return;
        }
        struct outcome b = machine_run(m, &start, window->trampoline_addr,
                                       window->trampoline_addr + window->relocated.len_bytes,
                                       RELOCATED_STEPS_MAX);
        if (is_computed_entry(window, &b) || (a.end == END_LEFT && is_slot_read(window, &a, read_at))) {
            totals->computed++;
            (void)memory_compare(m);
            return;
        }
        const char *what = difference(window, &a, &b);
        if (what == FLAGS_DIFFER && ((a.state.flags ^ b.state.flags) & ~unsure_flags(window->code)) == 0) {
            totals->unsure++;
            what = NULL;
        }
        bool is_call_fault = !what && a.end == END_FAULT && a.state.gpr[4] != b.state.gpr[4];
        uint64_t differs_at = memory_compare(m);
        if (!what && differs_at && !is_call_fault)
            what = "memory";
        if (what) {
            if (totals->failed_windows++ < SHOWN_FAILURES_MAX)
                show_failure(window, &start, &a, &b, what, name);
            return;
        }
        totals->equal_runs++;
        if (a.end == END_LEFT)
            totals->left++;
        else if (a.end == END_FAULT)
            totals->faulted++;
        else
            totals->interrupted++;
    }
}

#ifndef RDF_DIFFERENTIAL_FUZZ

/* Whole instructions of at least `min_bytes`; their length, 0 when there are none. */
static size_t window_bytes(struct rdf_span code, uint64_t addr, size_t min_bytes)
{
    size_t len = 0;
    struct rdf_insn insn;

    while (len < min_bytes) {
        if (!rdf_arch_x86_64.decode(rdf_span_slice(code, len, code.len_bytes - len), addr + len, &insn))
            return 0;
        len += insn.len_bytes;
    }
    return len <= RDF_WINDOW_BYTES_MAX ? len : 0;
}

static int report(const char *name, const struct totals *t, int *test)
{
    bool is_ok = t->failed_windows == 0 && t->equal_runs > 0;

    printf("%s %d - %s: %zu windows, %zu equal runs (%zu left, %zu faulted alike, %zu interrupted)\n",
           is_ok ? "ok" : "not ok", ++*test, name, t->windows, t->equal_runs, t->left, t->faulted,
           t->interrupted);
    printf("#   failed %zu, refused %zu, operand out of reach %zu; "
           "skipped: %zu that the emulator cannot run, %zu endless, "
           "%zu that compute an address in the window, %zu nondeterministic, %zu flags undefined\n",
           t->failed_windows, t->refused, t->unreachable, t->invalid, t->endless, t->computed,
           t->nondeterministic, t->unsure);
    fflush(stdout);
    return is_ok ? 0 : 1;
}

/* ---- real libraries ---------------------------------------------------------------------------- */

struct library {
    const uint8_t *bytes;
    size_t len_bytes;
    const Elf64_Ehdr *header;
};

static struct library library_open(const char *path)
{
    struct library library = {0};
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &stat) != 0)
        die("cannot open", path);
    library.len_bytes = (size_t)stat.st_size;
    library.bytes = mmap(NULL, library.len_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (library.bytes == MAP_FAILED)
        die("cannot map", path);
    library.header = (const Elf64_Ehdr *)library.bytes;
    if (library.len_bytes < sizeof *library.header || memcmp(library.bytes, ELFMAG, SELFMAG) != 0 ||
        library.header->e_machine != EM_X86_64)
        die("not an x86-64 ELF file", path);
    return library;
}

static const void *library_at(const struct library *library, uint64_t off, uint64_t len_bytes)
{
    struct rdf_span file = {library->bytes, library->len_bytes};
    const void *at = rdf_span_slice(file, off, len_bytes).data;

    if (!at)
        die("the file is cut off", "a table lies outside");
    return at;
}

static const Elf64_Phdr *library_segment(const struct library *library, unsigned i)
{
    return library_at(library, library->header->e_phoff + i * sizeof(Elf64_Phdr), sizeof(Elf64_Phdr));
}

static size_t library_image_bytes(const struct library *library)
{
    uint64_t end = 0;

    for (unsigned i = 0; i < library->header->e_phnum; i++) {
        const Elf64_Phdr *ph = library_segment(library, i);
        if (ph->p_type == PT_LOAD && ph->p_vaddr + ph->p_memsz > end)
            end = ph->p_vaddr + ph->p_memsz;
    }
    return (size_t)((end + 0xffff) & ~UINT64_C(0xffff));
}

static void library_load(const struct library *library, struct machine *m)
{
    struct region *image = &m->image;

    for (unsigned i = 0; i < library->header->e_phnum; i++) {
        const Elf64_Phdr *ph = library_segment(library, i);
        if (ph->p_type != PT_LOAD || ph->p_filesz == 0)
            continue;
        memcpy(image->live + ph->p_vaddr, library_at(library, ph->p_offset, ph->p_filesz), ph->p_filesz);
        if (ph->p_flags & PF_X)
            region_allow_code(m, image, ph->p_vaddr & ~UINT64_C(4095),
                              (ph->p_filesz + (ph->p_vaddr & 4095) + 4095) & ~UINT64_C(4095));
    }
    region_seal(image);
}

/* Each entry gives a window of entry-jump size or, by chance, a longer one. */
static void try_entries(struct machine *m, const struct library *library, const struct entry *entry,
                        size_t count, uint64_t *seed, const char *path, struct totals *totals)
{
    machine_open(m, library_image_bytes(library), seed);
    library_load(library, m);
    for (size_t i = 0; i < count; i++) {
        struct window window = {.addr = IMAGE_ADDR + entry[i].addr};
        size_t min_bytes = PATCHED_BYTES + (below(seed, 2) ? below(seed, 24) : 0);
        if (entry[i].addr + 80 > m->image.len_bytes)
            continue;
        struct rdf_span code = {m->image.live + entry[i].addr, 80};
        window.code = (struct rdf_span){code.data, window_bytes(code, window.addr, min_bytes)};
        if (window.code.len_bytes > 0)
            try_window(m, &window, below(seed, 4) == 0, seed, path, totals);
    }
    machine_close(m);
}

/* At most `limit` of its entries; a machine has room for so many windows only. */
static int test_library(const char *path, size_t limit, uint64_t *seed, int *test, size_t *windows)
{
    static struct machine machine;
    struct library library = library_open(path);
    struct totals totals = {0};
    size_t count = 0;
    struct entry *entry = entries_of(library.bytes, library.len_bytes, &count);

    if (!entry)
        die("no entries", path);
    count = count < limit ? count : limit;
    for (size_t at = 0; at < count; at += PLACES)
        try_entries(&machine, &library, entry + at, count - at < PLACES ? count - at : PLACES, seed, path,
                    &totals);
    free(entry);
    (void)munmap((void *)(uintptr_t)library.bytes, library.len_bytes);
    *windows += totals.windows;
    return report(path, &totals, test);
}

#endif

/* ---- generated windows ------------------------------------------------------------------------- */

enum { GENERATED_HALF = GENERATED_BYTES / 2, SLOTS = (GENERATED_HALF - 0x10000) / GENERATED_SLOT_BYTES };

/* Room for SLOTS windows, in the first half of its image. */
static void open_for_generated(struct machine *m, uint64_t *seed)
{
    machine_open(m, GENERATED_BYTES, seed);
    region_allow_code(m, &m->image, 0, GENERATED_HALF);
    memset(m->image.live, 0x90, GENERATED_HALF);
    for (size_t i = GENERATED_HALF; i < GENERATED_BYTES; i++)
        m->image.live[i] = (uint8_t)next_random(seed);
    region_seal(&m->image);
}

static void try_generated(struct machine *m, size_t slot, bool is_far, uint64_t *seed, const char *name,
                          struct totals *totals)
{
    uint8_t *const views[] = {m->image.live, m->image.pristine, m->image.expected};
    size_t off = slot * GENERATED_SLOT_BYTES + GENERATED_WINDOW_AT;
    struct draft draft;
    do
        draft_window(&draft, seed);
    while (is_far && has_load(&draft) && below(seed, 32) != 0);
    struct window window = {.addr = IMAGE_ADDR + off, .code = {m->image.live + off, draft.len_bytes}};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++)
        memcpy(views[i] + off, draft.bytes, draft.len_bytes);
    if (draft.len_bytes <= RDF_WINDOW_BYTES_MAX)
        try_window(m, &window, is_far, seed, name, totals);
}

#ifndef RDF_DIFFERENTIAL_FUZZ

static int test_generated(size_t count, bool is_far, uint64_t *seed, int *test, size_t *windows)
{
    struct totals totals = {0};
    const char *name = is_far ? "generated windows, far trampoline" : "generated windows, near trampoline";

    static struct machine machine;
    for (size_t i = 0; i < count; i++) {
        if (i % SLOTS == 0)
            open_for_generated(&machine, seed);
        try_generated(&machine, i % SLOTS, is_far, seed, name, &totals);
        if (i % SLOTS == SLOTS - 1 || i == count - 1)
            machine_close(&machine);
    }
    *windows += totals.windows;
    return report(name, &totals, test);
}

struct own_libraries {
    char *paths[32];
    int count;
};

static int add_own_library(struct dl_phdr_info *info, size_t size, void *ctx)
{
    struct own_libraries *own = ctx;

    (void)size;
    if (info->dlpi_name[0] == '/' && own->count < 32)
        own->paths[own->count++] = strdup(info->dlpi_name);
    return 0;
}

int main(int argc, char **argv)
{
    struct own_libraries own = {.count = 0};
    size_t count = 5000, generated = 10000;
    uint64_t seed = 1;
    size_t tried = 0, made = 0;
    int test = 0, failed = 0, arg = 1;

    for (; arg + 1 < argc && strncmp(argv[arg], "--", 2) == 0; arg += 2) {
        uint64_t value = strtoull(argv[arg + 1], NULL, 0);
        if (strcmp(argv[arg], "--count") == 0)
            count = (size_t)value;
        else if (strcmp(argv[arg], "--generated") == 0)
            generated = (size_t)value;
        else if (strcmp(argv[arg], "--seed") == 0)
            seed = value;
        else
            die("unknown option", argv[arg]);
    }
    printf("# seed %" PRIu64 "\n", seed);
    if (arg == argc)
        (void)dl_iterate_phdr(add_own_library, &own);
    for (int i = 0; count > 0 && i < own.count; i++) {
        failed += test_library(own.paths[i], count, &seed, &test, &tried);
        free(own.paths[i]);
    }
    for (; count > 0 && arg < argc; arg++)
        failed += test_library(argv[arg], count, &seed, &test, &tried);
    if (generated > 0) {
        failed += test_generated(generated, false, &seed, &test, &made);
        failed += test_generated(generated, true, &seed, &test, &made);
    }
    printf("# x86-64: %zu entries of libraries and programs, %zu generated\n1..%d\n", tried, made, test);
    return failed ? 1 : 0;
}

#endif
