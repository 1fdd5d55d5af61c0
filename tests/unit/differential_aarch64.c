/* SPDX-License-Identifier: MIT
 *
 * Windows run twice in an emulator: as they are, until control leaves them, and relocated, until it
 * leaves the trampoline. Both must end at the same address with the same registers, flags and memory,
 * and must have passed the same instructions in the same order (as `pcs` tells them apart).
 *
 *     differential_aarch64 [--count N] [--seed S] [ELF…]
 *
 * N windows are made up; of each ELF file (aarch64, little-endian) every function in .dynsym gives the
 * windows of its first 4, 8 and 16 bytes. Prints TAP.
 *
 * x16 and x17 are compared too, except one that the original left as it was in a window that needed a
 * far form or made an indirect call: there the relocated code may use it, as any veneer may.
 */
#include "support/entries.h"
#include "unit/differential_aarch64_draft.h"

#include <elf.h>

/* --- one comparison --------------------------------------------------------------------------- */

enum verdict {
    EQUAL,
    DIFFERENT,
    REFUSED_UNSUPPORTED,
    REFUSED_NOMEM,
    SKIPPED_ENDLESS,
    SKIPPED_UNKNOWN,
    SKIPPED_FAULT,
    VERDICT_COUNT
};

static const char *const verdict_names[VERDICT_COUNT] = {
    "equal",
    "different",
    "refused: EUNSUPPORTED",
    "refused: ENOMEM",
    "skipped: does not leave the window in 300 steps",
    "skipped: the emulator does not know an instruction",
    "skipped: the original faults in the emulator",
};

struct tally {
    unsigned long counts[VERDICT_COUNT];
    unsigned long traps;
    unsigned shown;
};

static const char *difference(const struct run *old, const struct run *new, const struct rdf_relocated *moved,
                              bool may_use_ip, const struct state *start)
{
    static char text[160];
    if (old->has_trap != new->has_trap || old->trap != new->trap)
        return snprintf(text, sizeof text, "trap %d/%u against %d/%u", old->has_trap, old->trap,
                        new->has_trap, new->trap),
               text;
    if (old->has_exit != new->has_exit || old->exit_pc != new->exit_pc)
        return snprintf(text, sizeof text, "exit at 0x%" PRIx64 " against 0x%" PRIx64, old->exit_pc,
                        new->exit_pc),
               text;
    for (unsigned i = 0; i < 31; i++) {
        bool is_free = may_use_ip && (i == 16 || i == 17) && old->state.x[i] == start->x[i];
        if (old->state.x[i] != new->state.x[i] && !is_free)
            return snprintf(text, sizeof text, "x%u 0x%" PRIx64 " against 0x%" PRIx64, i, old->state.x[i],
                            new->state.x[i]),
                   text;
    }
    if (old->state.sp != new->state.sp)
        return "sp";
    if (old->state.nzcv != new->state.nzcv)
        return "flags";
    if (memcmp(old->state.q, new->state.q, sizeof old->state.q) != 0)
        return "a vector register";
    if (old->write_count != new->write_count)
        return "the number of writes";
    for (size_t i = 0; i < old->write_count; i++)
        if (memcmp(&old->writes[i], &new->writes[i], sizeof old->writes[i]) != 0)
            return snprintf(text, sizeof text, "write %zu, to 0x%" PRIx64, i, old->writes[i].addr), text;
    unsigned passed = 0;
    for (unsigned i = 0; i < new->steps; i++)
        for (size_t p = 0; p < moved->pc_count; p++) {
            if (moved->pcs[p].new_off != new->trace[i])
                continue;
            if (passed == old->steps || old->trace[passed] != moved->pcs[p].old_off)
                return snprintf(text, sizeof text, "pcs: step %u is not +%x", passed, moved->pcs[p].old_off),
                       text;
            passed++;
        }
    return passed == old->steps ? NULL : "pcs: fewer steps";
}

static void show_code(const char *title, const uint8_t *code, size_t len_bytes, uint64_t addr)
{
    printf("#   %s\n", title);
    for (size_t off = 0; off < len_bytes; off += 4) {
        char text[96];
        (void)arch->format((struct rdf_span){code + off, 4}, addr + off, text, sizeof text);
        printf("#     0x%" PRIx64 "  %02x %02x %02x %02x  %s\n", addr + off, code[off], code[off + 1],
               code[off + 2], code[off + 3], text);
    }
}

/* In windows that call, or whose code is far from home, x16 and x17 are the trampoline's to use. */
static bool needs_scratch(const struct rdf_relocate_request *request)
{
    int64_t gap = (int64_t)(request->trampoline_addr - request->window_addr);
    bool is_far = gap > 100 * 1024 * 1024 || gap < -100 * 1024 * 1024;
    for (size_t off = 0; off < request->window.len_bytes; off += 4) {
        struct rdf_insn insn;
        if (!arch->decode(rdf_span_slice(request->window, off, 4), request->window_addr + off, &insn))
            return true;
        int64_t reach = (int64_t)(insn.target - request->trampoline_addr);
        is_far |= insn.has_target && (reach > 127 * 1024 * 1024 || reach < -127 * 1024 * 1024);
        is_far |= insn.flow == RDF_FLOW_CALL_INDIRECT;
        if (insn.has_ref && insn.ref_is_load) { /* a vector literal beyond 1 MiB */
            int64_t literal = (int64_t)(insn.ref - request->trampoline_addr);
            is_far |= literal > 1000 * 1024 || literal < -1000 * 1024;
        }
    }
    return is_far;
}

static bool has_unknown_trap(const struct run *run, const struct rdf_relocate_request *request)
{
    uint64_t off = run->last_pc - request->window_addr;
    uint32_t word = 0;
    if (!run->has_trap || (run->trap != 1 && run->trap != 1000 + UC_ERR_INSN_INVALID)) /* EXCP_UDEF */
        return false;
    return !rdf_span_u32(request->window, off, &word) || word >> 16;
}

static enum verdict compare(const struct rdf_relocate_request *request, const struct state *start,
                            struct tally *tally, const char *name)
{
    static struct run old, new;
    struct rdf_relocated moved;
    struct rdf_error err = {.status = REDEFINE_OK};
    redefine_status status = arch->relocate(request, &moved, &err);
    if (status != REDEFINE_OK)
        return status == REDEFINE_ENOMEM ? REFUSED_NOMEM : REFUSED_UNSUPPORTED;

    memset(&old, 0, offsetof(struct run, trace));
    memset(&new, 0, offsetof(struct run, trace));
    old.write_count = new.write_count = 0;
    old.area_addr = request->window_addr;
    old.area_bytes = request->window.len_bytes;
    old.is_original = true;
    new.area_addr = request->trampoline_addr;
    new.area_bytes = moved.len_bytes;
    poke(request->window_addr, request->window.data, request->window.len_bytes);
    poke(request->trampoline_addr, moved.code, moved.len_bytes);
    execute(&old, start);
    if (old.is_endless)
        return SKIPPED_ENDLESS;
    if (has_unknown_trap(&old, request))
        return SKIPPED_UNKNOWN;
    if (old.has_trap && old.trap >= 1000)
        return SKIPPED_FAULT;
    /* From here on the entry jump is there; nothing may read or run those bytes. */
    uint8_t jump[RDF_WINDOW_BYTES_MAX];
    memset(jump, 0xdf, sizeof jump);
    poke(request->patched_start, jump, (size_t)(request->patched_end - request->patched_start));
    execute(&new, start);
    poke(request->window_addr, request->window.data, request->window.len_bytes);

    tally->traps += old.has_trap;
    const char *what = difference(&old, &new, &moved, needs_scratch(request), start);
    if (!what)
        return EQUAL;
    if (tally->shown++ < SHOWN_FAILURES_MAX) {
        printf("# %s: %s\n", name, what);
        show_code("window", request->window.data, request->window.len_bytes, request->window_addr);
        show_code("relocated", moved.code, moved.len_bytes, request->trampoline_addr);
    }
    return DIFFERENT;
}

/* Pointers into memory that is there, small numbers, others; always something that a load can use. */
static void shake(struct state *state)
{
    for (unsigned i = 0; i < 31; i++) {
        unsigned kind = below(4);
        state->x[i] = kind == 0 ? below(64) : kind == 1 ? any() >> 30 : DATA_AREA + below(0x8000) / 16 * 16;
    }
    state->x[19] = DATA_AREA + 0x2000 + below(64) * 16; /* the made-up loads and stores use these two */
    state->x[20] = DATA_AREA + 0x6000 + below(64) * 16;
    state->sp = STACK_TOP - below(64) * 16;
    state->nzcv = (uint64_t)below(16) << 28;
    for (unsigned i = 0; i < 32; i++)
        state->q[i][0] = any(), state->q[i][1] = any();
}

/* --- made-up windows -------------------------------------------------------------------------- */

static enum verdict try_made_up(struct tally *tally, const char *name)
{
    unsigned slot = next_slot();
    uint8_t bytes[RDF_WINDOW_BYTES_MAX];
    uint64_t window_addr = WINDOW_AREA + slot * SLOT_BYTES + below(6) * 4;
    size_t len_bytes = make_window(bytes, window_addr);
    struct rdf_relocate_request request = {
        .window = {bytes, len_bytes},
        .window_addr = window_addr,
        .patched_start = window_addr,
        .patched_end = window_addr + (below(2) ? 4 : len_bytes),
        .trampoline_addr = trampoline_area(below(1000)) + slot * SLOT_BYTES,
    };
    struct state start;
    shake(&start);
    return compare(&request, &start, tally, name);
}

#ifndef RDF_DIFFERENTIAL_FUZZ

static int report(const char *title, const struct tally *tally)
{
    static int number;
    unsigned long total = 0;
    for (int i = 0; i < VERDICT_COUNT; i++)
        total += tally->counts[i];
    bool is_ok = tally->counts[DIFFERENT] == 0 && tally->counts[EQUAL] > 0;
    printf("%s %d - %s: %lu windows, %lu equal (%lu of them up to a trap), %lu different\n",
           is_ok ? "ok" : "not ok", ++number, title, total, tally->counts[EQUAL], tally->traps,
           tally->counts[DIFFERENT]);
    for (int i = REFUSED_UNSUPPORTED; i < VERDICT_COUNT; i++)
        if (tally->counts[i])
            printf("#   %lu %s\n", tally->counts[i], verdict_names[i]);
    return is_ok ? 0 : 1;
}

static int run_made_up(unsigned long count)
{
    struct tally tally = {{0}, 0, 0};
    for (unsigned long i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "window %lu", i);
        tally.counts[try_made_up(&tally, name)]++;
    }
    return report("made-up windows", &tally);
}

/* --- windows of real functions ---------------------------------------------------------------- */

static uint8_t *read_file(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    size_t len = 0, got;
    if (!file)
        return NULL;
    do {
        uint8_t *grown = realloc(bytes, len + 65536);
        if (!grown)
            break;
        bytes = grown;
        got = fread(bytes + len, 1, 65536, file);
        len += got;
    } while (got);
    fclose(file);
    *ret_len = len;
    return bytes;
}

/* The loadable segments at their places, relative to ELF_AREA. */
static bool lay_out(const uint8_t *file, size_t len, uint8_t **ret_image, size_t *ret_bytes)
{
    const Elf64_Ehdr *header = (const void *)file;
    if (len < sizeof *header || memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
        header->e_machine != EM_AARCH64 || header->e_ident[EI_CLASS] != ELFCLASS64 ||
        header->e_ident[EI_DATA] != ELFDATA2LSB ||
        header->e_phoff + header->e_phnum * sizeof(Elf64_Phdr) > len)
        return false;
    const Elf64_Phdr *segments = (const void *)(file + header->e_phoff);
    size_t end = 0;
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && segments[i].p_vaddr + segments[i].p_memsz > end)
            end = segments[i].p_vaddr + segments[i].p_memsz;
    if (!end || end > (size_t)1 << 30)
        return false;
    uint8_t *image = calloc(1, end);
    if (!image)
        return false;
    for (unsigned i = 0; i < header->e_phnum; i++)
        if (segments[i].p_type == PT_LOAD && segments[i].p_offset + segments[i].p_filesz <= len)
            memcpy(image + segments[i].p_vaddr, file + segments[i].p_offset, segments[i].p_filesz);
    *ret_image = image;
    *ret_bytes = end;
    return true;
}

/* Windows of one, two and four instructions, each for a trampoline at one of three distances. */
static void run_function(uint64_t off, uint64_t size, struct tally *tally)
{
    static const unsigned window_bytes[] = {4, 8, 16};
    const uint64_t behind = ELF_AREA + (elf_image_bytes / (1 << 20) << 20);
    const uint64_t areas[] = {behind + (UINT64_C(16) << 20), behind + (UINT64_C(1) << 30),
                              UINT64_C(0x7000000000)};
    for (size_t w = 0; w < 3; w++) {
        if (window_bytes[w] > size || off + window_bytes[w] > elf_image_bytes)
            break;
        unsigned slot = next_slot();
        uint64_t addr = ELF_AREA + off;
        struct rdf_relocate_request request = {
            .window = {elf_image + off, window_bytes[w]},
            .window_addr = addr,
            .patched_start = addr,
            .patched_end = addr + 4,
            .trampoline_addr = areas[below(3)] + slot * TRAMPOLINE_BYTES,
        };
        struct state start;
        char name[64];
        shake(&start);
        (void)snprintf(name, sizeof name, "function at +0x%" PRIx64 ", %u bytes", off, window_bytes[w]);
        tally->counts[compare(&request, &start, tally, name)]++;
    }
}

static int run_elf(const char *path, unsigned long *functions)
{
    struct tally tally = {{0}, 0, 0};
    size_t file_len = 0, count = 0;
    uint8_t *file = read_file(path, &file_len), *image = NULL;
    struct entry *entry = file ? entries_of(file, file_len, &count) : NULL;
    char title[512];
    if (!entry || !lay_out(file, file_len, &image, &elf_image_bytes)) {
        printf("not ok - %s: no aarch64 ELF file with functions\n", path);
        free(entry), free(file), free(image);
        return 1;
    }
    elf_image = image;
    open_engine(); /* an old one has other bytes at ELF_AREA */
    for (size_t i = 0; i < count; i++)
        if (entry[i].addr % 4 == 0) {
            ++*functions;
            run_function(entry[i].addr, entry[i].size_bytes, &tally);
        }
    (void)snprintf(title, sizeof title, "%s, %zu functions", path, count);
    int failed = report(title, &tally);
    elf_image = NULL;
    elf_image_bytes = 0;
    free(entry), free(image), free(file);
    return failed;
}

int main(int argc, char **argv)
{
    unsigned long count = 10000;
    uint64_t seed = 1;
    unsigned long functions = 0;
    int first_file = 1, failed = 0;
    while (first_file + 1 < argc && argv[first_file][0] == '-') {
        if (strcmp(argv[first_file], "--count") == 0)
            count = strtoul(argv[first_file + 1], NULL, 0);
        else if (strcmp(argv[first_file], "--seed") == 0)
            seed = strtoull(argv[first_file + 1], NULL, 0);
        else
            break;
        first_file += 2;
    }
    if (first_file < argc && argv[first_file][0] == '-') {
        fprintf(stderr, "usage: %s [--count N] [--seed S] [ELF…]\n", argv[0]);
        return 2;
    }
    printf("TAP version 13\n1..%d\n# seed %" PRIu64 "\n", (count > 0) + argc - first_file, seed);
    chance_state = seed;
    if (count)
        failed |= run_made_up(count);
    for (int i = first_file; i < argc; i++)
        failed |= run_elf(argv[i], &functions);
    printf("# aarch64: %lu entries of libraries and programs, %lu generated\n", functions, count);
    (void)uc_close(engine);
    return failed;
}

#endif
