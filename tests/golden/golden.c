/* SPDX-License-Identifier: MIT
 *
 * golden ARCH DIR            run every case of DIR/<name>.in, compare with DIR/<name>.out, print TAP
 * golden --rebase ARCH DIR   write the .out files anew; read the difference before you keep it
 *
 * An .in file holds blocks between blank lines; '#' starts a comment. A block is a name and one question:
 *
 *     case NAME              case NAME             case NAME
 *     window ADDR            addr ADDR             jump FROM TO
 *     trampoline ADDR        decode HEX…           slotjump FROM SLOT
 *     bytes HEX…
 *     patched START END      (left out: all of the window)
 *
 * and, like jump and slotjump: shortjump FROM TO, retarget ADDR TO HEX…, count FROM COUNTER,
 * select FROM SLOT WORD_OFF INDEX (selectother: from the other thread pointer)
 *
 * Pure and the same for each CPU: it knows code only through struct rdf_arch.
 */
#include "arch/arch.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Rooms that this build does not have are null here. */
#pragma weak rdf_arch_x86_64
#pragma weak rdf_arch_aarch64
#pragma weak rdf_arch_riscv64

enum { INPUT_BYTES_MAX = 512, FILL = 0xa5, PATH_BYTES_MAX = 1024, FILES_MAX = 256 };

struct text {
    char *chars;
    size_t len, capacity;
};

struct golden_case {
    char *name;
    bool has_window, has_patched, has_trampoline, has_decode;
    uint64_t addr, patched_start, patched_end, trampoline_addr;
    uint8_t bytes[INPUT_BYTES_MAX];
    size_t byte_count;
    struct text answers; /* of its jump lines, which are answered as they are read */
};

static _Noreturn void die(const char *what, const char *where)
{
    fprintf(stderr, "golden: %s: %s\n", what, where);
    exit(2);
}

__attribute__((format(printf, 2, 3))) static void say(struct text *text, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need < 0)
        die("cannot format", format);
    if (text->len + (size_t)need + 1 > text->capacity) {
        text->capacity = 2 * (text->len + (size_t)need + 1);
        text->chars = realloc(text->chars, text->capacity);
        if (!text->chars)
            die("out of memory", format);
    }
    va_start(args, format);
    (void)vsnprintf(text->chars + text->len, text->capacity - text->len, format, args);
    va_end(args);
    text->len += (size_t)need;
}

/* ---- answers ----------------------------------------------------------------------------------- */

static void say_hex(struct text *out, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        say(out, "%s%02x", i ? " " : "", bytes[i]);
}

/* Literals that the code itself loads are data: without this they would be shown as instructions. */
static void mark_data(const struct rdf_arch *arch, struct rdf_span code, uint64_t addr, size_t off,
                      bool *is_data)
{
    struct rdf_span rest = rdf_span_slice(code, off, code.len_bytes - off);
    struct rdf_insn insn;

    if (!arch->decode(rest, addr + off, &insn))
        return;
    if (insn.has_ref && insn.ref_is_load && insn.ref - addr < code.len_bytes)
        for (uint64_t i = insn.ref - addr; i < insn.ref - addr + 8 && i < code.len_bytes; i++)
            is_data[i] = true;
}

static void say_code(struct text *out, const struct rdf_arch *arch, struct rdf_span code, uint64_t addr)
{
    bool is_data[RDF_TRAMPOLINE_BYTES_MAX + 8] = {false};

    for (size_t off = 0; off < code.len_bytes;) {
        struct rdf_span rest = rdf_span_slice(code, off, code.len_bytes - off);
        char shown[160];
        struct text hex = {0};
        uint64_t quad;
        size_t len;

        if (is_data[off] && rdf_span_u64(code, off, &quad)) {
            len = 8;
            (void)snprintf(shown, sizeof shown, ".quad 0x%" PRIx64, quad);
        } else {
            mark_data(arch, code, addr, off, is_data);
            len = arch->format(rest, addr + off, shown, sizeof shown);
            if (len == 0)
                len = arch->insn_align_bytes < rest.len_bytes ? arch->insn_align_bytes : rest.len_bytes;
        }
        say_hex(&hex, rest.data, len);
        say(out, "+%02zx  %-32s %s\n", off, hex.chars, shown);
        free(hex.chars);
        off += len;
    }
}

static const char *status_name(redefine_status status)
{
    switch (status) {
#define NAME_CASE(name, number, sentence) \
    case REDEFINE_##name: return #name;
        REDEFINE_STATUS_LIST(NAME_CASE)
#undef NAME_CASE
    }
    return "?";
}

/* Is every byte still what it was filled with? */
static bool is_filled(const void *memory, size_t len_bytes)
{
    const uint8_t *bytes = memory;

    for (size_t i = 0; i < len_bytes; i++)
        if (bytes[i] != FILL)
            return false;
    return true;
}

static void answer_relocate(struct text *out, const struct rdf_arch *arch, const struct golden_case *c)
{
    const struct rdf_relocate_request request = {
        .window = {c->bytes, c->byte_count},
        .window_addr = c->addr,
        .patched_start = c->has_patched ? c->patched_start : c->addr,
        .patched_end = c->has_patched ? c->patched_end : c->addr + c->byte_count,
        .trampoline_addr = c->trampoline_addr,
    };
    struct rdf_relocated relocated;
    struct rdf_error err = {.status = REDEFINE_OK};

    memset(&relocated, FILL, sizeof relocated);
    redefine_status status = arch->relocate(&request, &relocated, &err);
    if (status != REDEFINE_OK) {
        say(out, "%s\n%s\n", status_name(status), err.sentence);
        if (status != err.status)
            say(out, "BUG: the record says %s\n", status_name(err.status));
        if (!is_filled(&relocated, sizeof relocated))
            say(out, "BUG: the result was touched on failure\n");
        return;
    }
    say_code(out, arch, (struct rdf_span){relocated.code, relocated.len_bytes}, c->trampoline_addr);
    say(out, "pcs");
    for (size_t i = 0; i < relocated.pc_count; i++)
        say(out, " %02x:%02x", relocated.pcs[i].old_off, relocated.pcs[i].new_off);
    say(out, "\n");
}

static const char *flow_name(enum rdf_flow flow)
{
    static const char *const names[] = {
        [RDF_FLOW_NEXT] = "next",
        [RDF_FLOW_JUMP] = "jump",
        [RDF_FLOW_BRANCH] = "branch",
        [RDF_FLOW_CALL] = "call",
        [RDF_FLOW_JUMP_INDIRECT] = "jump-indirect",
        [RDF_FLOW_CALL_INDIRECT] = "call-indirect",
        [RDF_FLOW_RETURN] = "return",
        [RDF_FLOW_SYSCALL] = "syscall",
        [RDF_FLOW_STOP] = "stop",
    };
    return (size_t)flow < sizeof names / sizeof names[0] ? names[flow] : "?";
}

static const char *role_name(enum rdf_insn_role role)
{
    static const char *const names[] = {
        [RDF_ROLE_PLAIN] = "plain",
        [RDF_ROLE_LANDING] = "landing",
        [RDF_ROLE_LANDING_SIGNS] = "landing-signs",
        [RDF_ROLE_NOP] = "nop",
        [RDF_ROLE_TRAP] = "trap",
    };
    return (size_t)role < sizeof names / sizeof names[0] ? names[role] : "?";
}

static void answer_decode(struct text *out, const struct rdf_arch *arch, const struct golden_case *c)
{
    struct rdf_span code = {c->bytes, c->byte_count};

    for (size_t off = 0; off < code.len_bytes;) {
        struct rdf_span rest = rdf_span_slice(code, off, code.len_bytes - off);
        struct rdf_insn insn;
        char shown[160];
        size_t len = arch->format(rest, c->addr + off, shown, sizeof shown);

        if (!arch->decode(rest, c->addr + off, &insn)) {
            say(out, "+%02zx  %s%s\n", off, shown, len ? "  BUG: format knows it" : "");
            return;
        }
        say(out, "+%02zx  %-40s %s %s", off, shown, flow_name(insn.flow), role_name(insn.role));
        if (insn.has_target)
            say(out, " target=0x%" PRIx64, insn.target);
        if (insn.has_ref)
            say(out, " ref=0x%" PRIx64 "%s", insn.ref, insn.ref_is_load ? " load" : "");
        if (insn.len_bytes != len || insn.addr != c->addr + off)
            say(out, "  BUG: %u bytes at 0x%" PRIx64 ", format says %zu", insn.len_bytes, insn.addr, len);
        say(out, "\n");
        off += insn.len_bytes;
    }
}

typedef size_t emit_fn(uint8_t ret_code[RDF_JUMP_BYTES_MAX], uint64_t from, uint64_t to);

static void answer_jump(struct text *out, const struct rdf_arch *arch, emit_fn *emit, uint64_t from,
                        uint64_t to)
{
    uint8_t code[RDF_JUMP_BYTES_MAX];
    size_t len = emit(code, from, to);

    if (len == 0)
        say(out, "unreachable\n");
    else
        say_code(out, arch, (struct rdf_span){code, len}, from);
}

static bool answer_select(struct golden_case *c, const struct rdf_arch *arch, uint64_t from, uint64_t slot,
                          struct rdf_thread_word thread_word, uint64_t index)
{
    uint8_t code[RDF_SELECT_BYTES_MAX];
    size_t len = arch->emit_select(code, from, thread_word, (uint32_t)index, slot);

    if (len == 0)
        say(&c->answers, "unreachable\n");
    else
        say_code(&c->answers, arch, (struct rdf_span){code, len}, from);
    return true;
}

/* Code that counts lies anywhere and does not depend on it; the addresses shown do. */
static void answer_count(struct text *out, const struct rdf_arch *arch, uint64_t from, uint64_t counter)
{
    uint8_t code[RDF_COUNT_BYTES_MAX];

    say_code(out, arch, (struct rdf_span){code, arch->emit_count(code, counter)}, from);
}

/* ---- .in files --------------------------------------------------------------------------------- */

static bool take_hex(struct golden_case *c, const char *hex)
{
    while (*hex) {
        unsigned value;
        if (isspace((unsigned char)*hex)) {
            hex++;
            continue;
        }
        if (!isxdigit((unsigned char)hex[0]) || !isxdigit((unsigned char)hex[1]) ||
            sscanf(hex, "%2x", &value) != 1 || c->byte_count == sizeof c->bytes)
            return false;
        c->bytes[c->byte_count++] = (uint8_t)value;
        hex += 2;
    }
    return true;
}

static bool answer_retarget(struct golden_case *c, const struct rdf_arch *arch, uint64_t addr, uint64_t to,
                            const char *hex)
{
    uint8_t code[RDF_JUMP_BYTES_MAX];

    c->byte_count = 0;
    if (!take_hex(c, hex))
        return false;
    size_t len = arch->retarget(code, (struct rdf_span){c->bytes, c->byte_count}, addr, to);
    if (len == 0)
        say(&c->answers, "no\n");
    else
        say_code(&c->answers, arch, (struct rdf_span){code, len}, addr);
    return true;
}

static bool take_addr(const char **at, uint64_t *ret)
{
    char *end;

    *ret = strtoull(*at, &end, 0);
    if (end == *at)
        return false;
    *at = end;
    return true;
}

static bool take_line(struct golden_case *c, const struct rdf_arch *arch, const char *line)
{
    char word[16] = "";
    int at = 0;
    uint64_t from, to;

    if (sscanf(line, " %15s %n", word, &at) != 1)
        return false;
    line += at;
    if (strcmp(word, "case") == 0) {
        free(c->name);
        c->name = strdup(line);
        return c->name && *c->name;
    }
    if (strcmp(word, "bytes") == 0)
        return take_hex(c, line);
    if (strcmp(word, "decode") == 0)
        return c->has_decode = true, take_hex(c, line);
    if (!take_addr(&line, &from))
        return false;
    if (strcmp(word, "window") == 0)
        return c->addr = from, c->has_window = true;
    if (strcmp(word, "trampoline") == 0)
        return c->trampoline_addr = from, c->has_trampoline = true;
    if (strcmp(word, "addr") == 0)
        return c->addr = from, true;
    if (!take_addr(&line, &to))
        return false;
    if (strcmp(word, "patched") == 0)
        return c->patched_start = from, c->patched_end = to, c->has_patched = true;
    if (strcmp(word, "jump") == 0)
        return answer_jump(&c->answers, arch, arch->emit_jump, from, to), true;
    if (strcmp(word, "shortjump") == 0 && arch->emit_short_jump)
        return answer_jump(&c->answers, arch, arch->emit_short_jump, from, to), true;
    if (strcmp(word, "retarget") == 0 && arch->retarget)
        return answer_retarget(c, arch, from, to, line);
    if (strcmp(word, "count") == 0)
        return answer_count(&c->answers, arch, from, to), true;
    if (strcmp(word, "slotjump") == 0)
        return answer_jump(&c->answers, arch, arch->emit_slot_jump, from, to), true;
    uint64_t word_off, index;
    bool is_select = strcmp(word, "select") == 0;
    if ((is_select || strcmp(word, "selectother") == 0) && take_addr(&line, &word_off) &&
        take_addr(&line, &index)) {
        struct rdf_thread_word thread_word = {(int64_t)word_off, !is_select};
        return answer_select(c, arch, from, to, thread_word, index);
    }
    return false;
}

/* Answers a finished block as "case NAME", lines, and an empty line. */
static void finish_case(struct text *out, const struct rdf_arch *arch, struct golden_case *c,
                        const char *path)
{
    if (c->name) {
        say(out, "case %s\n", c->name);
        if (c->has_decode)
            answer_decode(out, arch, c);
        else if (c->has_window && c->has_trampoline)
            answer_relocate(out, arch, c);
        else if (c->answers.len)
            say(out, "%s", c->answers.chars);
        else
            die("a case asks nothing", path);
        say(out, "\n");
    }
    free(c->name);
    free(c->answers.chars);
    *c = (struct golden_case){0};
}

static struct text answer_file(const struct rdf_arch *arch, const char *path)
{
    FILE *file = fopen(path, "r");
    struct golden_case c = {0};
    struct text out = {0};
    char line[4096];

    if (!file)
        die("cannot read", path);
    say(&out, "# Written by `golden --rebase %s`; the .in file asks.\n\n", arch->name);
    while (fgets(line, sizeof line, file)) {
        bool is_comment = line[strspn(line, " \t")] == '#';
        line[strcspn(line, "#\n")] = '\0';
        size_t end = strlen(line);
        while (end > 0 && isspace((unsigned char)line[end - 1]))
            line[--end] = '\0';
        if (is_comment)
            continue;
        if (end == 0)
            finish_case(&out, arch, &c, path);
        else if (!take_line(&c, arch, line))
            die("cannot understand", line);
    }
    finish_case(&out, arch, &c, path);
    fclose(file);
    return out;
}

/* ---- .out files -------------------------------------------------------------------------------- */

static struct text read_text(const char *path)
{
    FILE *file = fopen(path, "r");
    struct text text = {0};
    char piece[4096];
    size_t got;

    say(&text, "%s", "");
    if (!file)
        return text;
    while ((got = fread(piece, 1, sizeof piece - 1, file)) > 0)
        say(&text, "%.*s", (int)got, piece);
    fclose(file);
    return text;
}

static void write_text(const char *path, const struct text *text)
{
    FILE *file = fopen(path, "w");

    if (!file || fwrite(text->chars, 1, text->len, file) != text->len || fclose(file) != 0)
        die("cannot write", path);
    printf("# wrote %s\n", path);
}

/* The block "case NAME…" at or behind `from`, without its closing empty line; false at the end. */
static bool next_block(const char *from, const char **ret_block, size_t *ret_len)
{
    for (const char *at = from; at && *at; at = strchr(at, '\n') ? strchr(at, '\n') + 1 : NULL) {
        if (strncmp(at, "case ", 5) == 0) {
            const char *end = strstr(at, "\n\n");
            *ret_block = at;
            *ret_len = end ? (size_t)(end - at) + 1 : strlen(at);
            return true;
        }
    }
    return false;
}

static bool find_block(const char *text, const char *name, size_t name_len, const char **ret_block,
                       size_t *ret_len)
{
    while (next_block(text, ret_block, ret_len)) {
        if (*ret_len > name_len && strncmp(*ret_block, name, name_len) == 0 && (*ret_block)[name_len] == '\n')
            return true;
        text = *ret_block + *ret_len;
    }
    return false;
}

static void print_lines(char sign, const char *block, size_t len)
{
    while (len > 0) {
        size_t line = strcspn(block, "\n");
        line = line < len ? line : len;
        printf("#  %c %.*s\n", sign, (int)line, block);
        block += line < len ? line + 1 : line;
        len -= line < len ? line + 1 : line;
    }
}

static void print_verdict(bool is_ok, const char *file, const char *block, int *count)
{
    const char *name = block + strlen("case ");

    printf("%s %d - %s: %.*s\n", is_ok ? "ok" : "not ok", ++*count, file, (int)strcspn(name, "\n"), name);
}

/* Prints a TAP line for each case of either text; returns how many differ. */
static int compare(const char *file, const struct text *expected, const struct text *actual, int *count)
{
    const char *block, *other;
    size_t len, other_len;
    int failed = 0;

    for (const char *at = actual->chars; next_block(at, &block, &len); at = block + len) {
        bool is_known = find_block(expected->chars, block, strcspn(block, "\n"), &other, &other_len);
        bool is_ok = is_known && other_len == len && memcmp(block, other, len) == 0;

        print_verdict(is_ok, file, block, count);
        if (!is_ok) {
            failed++;
            if (is_known)
                print_lines('-', other, other_len);
            print_lines('+', block, len);
        }
    }
    for (const char *at = expected->chars; next_block(at, &block, &len); at = block + len) {
        if (find_block(actual->chars, block, strcspn(block, "\n"), &other, &other_len))
            continue;
        print_verdict(false, file, block, count);
        printf("#  its question is gone\n");
        failed++;
    }
    return failed;
}

/* ---- the run ----------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of a folder's .in files, without that end, sorted. */
static size_t list_inputs(const char *path, char *ret[FILES_MAX])
{
    DIR *folder = opendir(path);
    size_t count = 0;

    for (const struct dirent *entry; folder && (entry = readdir(folder));) {
        size_t len = strlen(entry->d_name);

        if (len <= 3 || strcmp(entry->d_name + len - 3, ".in") != 0)
            continue;
        if (count == FILES_MAX)
            die("too many files in", path);
        ret[count] = strdup(entry->d_name);
        ret[count++][len - 3] = '\0';
    }
    if (folder)
        closedir(folder);
    qsort(ret, count, sizeof *ret, by_name);
    return count;
}

static const struct rdf_arch *find_arch(const char *name)
{
    const struct rdf_arch *const archs[] = {&rdf_arch_x86_64, &rdf_arch_aarch64, &rdf_arch_riscv64};

    for (size_t i = 0; i < sizeof archs / sizeof archs[0]; i++)
        if (archs[i] && strcmp(archs[i]->name, name) == 0)
            return archs[i];
    die("this build has no room for the CPU", name);
}

int main(int argc, char **argv)
{
    bool is_rebase = argc > 1 && strcmp(argv[1], "--rebase") == 0;
    char **args = argv + 1 + is_rebase;

    if (argc - 1 - is_rebase != 2)
        die("usage", "golden [--rebase] ARCH DIR");
    const struct rdf_arch *arch = find_arch(args[0]);
    char *names[FILES_MAX];
    size_t file_count = list_inputs(args[1], names);
    int failed = 0, count = 0;

    if (file_count == 0)
        die("no .in file in", args[1]);
    for (size_t i = 0; i < file_count; i++) {
        char in[PATH_BYTES_MAX], out[PATH_BYTES_MAX];

        if (snprintf(in, sizeof in, "%s/%s.in", args[1], names[i]) >= (int)sizeof in)
            die("the path is too long", names[i]);
        (void)snprintf(out, sizeof out, "%.*s.out", (int)strlen(in) - 3, in);
        struct text actual = answer_file(arch, in);
        struct text expected = read_text(out);
        if (is_rebase)
            write_text(out, &actual);
        else
            failed += compare(names[i], &expected, &actual, &count);
        free(actual.chars);
        free(expected.chars);
        free(names[i]);
    }
    if (!is_rebase)
        printf("1..%d\n", count);
    return failed ? 1 : 0;
}
