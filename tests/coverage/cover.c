/* SPDX-License-Identifier: MIT */
#include "cover.h"

#include <redefine/apply.h>
#include <redefine/redefine.h>

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STRATEGIES_MAX = 16, STATUSES = 16, UNSIZED_BYTES = 16 };

struct tally {
    size_t functions;
    size_t accepted;
    size_t wrong;
    size_t refused[STATUSES];
    struct {
        char name[64];
        size_t count;
    } strategy[STRATEGIES_MAX];
};

struct text {
    uint8_t *live;
    uint8_t *saved;
    size_t len;
};

struct library {
    const char *name;
    struct link_map *map;
    const Elf64_Sym *symbol;
    const char *strings;
    size_t symbol_count;
    struct text text[8];
    size_t text_count;
};

static bool show_refused;
static volatile int arrived;

static long replacement(void)
{
    arrived++;
    return 0;
}

/* ---- One library ---- */

static int note_text(struct dl_phdr_info *info, size_t size, void *ctx)
{
    struct library *library = ctx;
    (void)size;
    if (info->dlpi_addr != library->map->l_addr || strcmp(info->dlpi_name, library->map->l_name) != 0)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const Elf64_Phdr *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_X) || library->text_count == 8)
            continue;
        struct text *text = &library->text[library->text_count++];
        text->live = (uint8_t *)(info->dlpi_addr + header->p_vaddr);
        text->len = header->p_memsz;
        text->saved = malloc(text->len);
        memcpy(text->saved, text->live, text->len);
    }
    return 1;
}

/* The number of dynamic symbols: as many as the GNU hash table's chains reach. */
static size_t count_symbols(const uint32_t *hash)
{
    uint32_t buckets = hash[0], first = hash[1], words = hash[2], last = 0;
    const uint32_t *bucket = hash + 4 + 2 * words;
    const uint32_t *chain = bucket + buckets;
    for (uint32_t i = 0; i < buckets; i++)
        if (bucket[i] > last)
            last = bucket[i];
    if (last < first)
        return first;
    while (!(chain[last - first] & 1))
        last++;
    return last + 1;
}

/* Null: the program itself. */
static bool open_object(const char *name, struct library *ret)
{
    void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    *ret = (struct library){.name = name};
    if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &ret->map) != 0)
        return false;
    for (const Elf64_Dyn *entry = ret->map->l_ld; entry->d_tag != DT_NULL; entry++) {
        const void *value = (const void *)entry->d_un.d_ptr;
        if (entry->d_tag == DT_SYMTAB)
            ret->symbol = value;
        if (entry->d_tag == DT_STRTAB)
            ret->strings = value;
        if (entry->d_tag == DT_GNU_HASH)
            ret->symbol_count = count_symbols(value);
    }
    dl_iterate_phdr(note_text, ret);
    return ret->symbol && ret->strings && ret->symbol_count && ret->text_count;
}

/* ---- One function ---- */

/* Between a redefinition and its restore nothing of the C library is called: it may be what is redefined. */
__attribute__((optimize("no-tree-loop-distribute-patterns"))) static bool
same_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
    uint64_t left, right;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        __builtin_memcpy(&left, a + i, 8);
        __builtin_memcpy(&right, b + i, 8);
        if (left != right)
            return false;
    }
    for (; i < len; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

static size_t text_bytes(const struct library *library)
{
    size_t len = 0;
    for (size_t i = 0; i < library->text_count; i++)
        len += library->text[i].len;
    return len;
}

static bool text_is_saved(const struct library *library)
{
    for (size_t i = 0; i < library->text_count; i++)
        if (!same_bytes(library->text[i].live, library->text[i].saved, library->text[i].len))
            return false;
    return true;
}

static bool arrives(void *function)
{
    int before = arrived;
    ((long (*)(void))(uintptr_t)function)();
    return arrived == before + 1;
}

struct function {
    const Elf64_Sym *symbol;
    void *start;
};

/* Those of a group follow each other in memory. */
static bool is_of(const struct function *group, size_t count, uint64_t addr)
{
    size_t low = 0;
    size_t high = count;
    while (low < high) { /* the first that starts behind it */
        size_t middle = low + (high - low) / 2;
        if ((uint64_t)(uintptr_t)group[middle].start > addr)
            high = middle;
        else
            low = middle + 1;
    }
    for (size_t i = low; i-- > 0 && low - i < 8;) { /* a longer one may begin farther ahead */
        /* What has no size may be any function that its file does not name. */
        uint64_t size = group[i].symbol->st_size ? group[i].symbol->st_size : UNSIZED_BYTES;
        if (addr - (uint64_t)(uintptr_t)group[i].start < size)
            return true;
    }
    return false;
}

static const char *wrong_now(const struct library *library, const struct function *group, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!arrives(group[i].start))
            return "the call did not arrive at the replacement";
    for (size_t i = 0; i < library->text_count; i++) {
        const struct text *text = &library->text[i];
        for (size_t page = 0; page < text->len; page += 4096) {
            size_t len = text->len - page < 4096 ? text->len - page : 4096;
            if (same_bytes(text->live + page, text->saved + page, len))
                continue;
            for (size_t at = page; at < page + len; at++) {
                uint64_t addr = (uint64_t)(uintptr_t)(text->live + at);
                uint8_t was = text->saved[at];
                bool own = is_of(group, count, addr);
                bool padding = was == 0x90 || was == 0xcc || was == 0x66 || was == 0x0f || was == 0x1f ||
                               was == 0x2e || was == 0x40 || was == 0x44 || was == 0x80 || was == 0x84 ||
                               was == 0;
                static char other[96];
                if (text->live[at] == was || own || padding)
                    continue;
                (void)snprintf(other, sizeof other, "the byte at 0x%lx, of another function, changed",
                               (unsigned long)(addr - library->map->l_addr));
                return other;
            }
        }
    }
    return NULL;
}

static void count_strategy(struct tally *tally, const char *description)
{
    char name[64] = "";
    if (strncmp(description, "restored: ", 10) == 0)
        description += 10;
    size_t len = strcspn(description, ":");
    const char *at = strstr(description, " at 0x");
    if (at && (size_t)(at - description) < len)
        len = (size_t)(at - description);
    (void)snprintf(name, sizeof name, "%.*s", (int)len, description);
    size_t i = 0;
    while (i < STRATEGIES_MAX - 1 && tally->strategy[i].count && strcmp(tally->strategy[i].name, name) != 0)
        i++;
    memcpy(tally->strategy[i].name, name, sizeof name);
    tally->strategy[i].count++;
}

static void try_function(const struct library *library, const struct function *one, struct tally *tally)
{
    const char *name = library->strings + one->symbol->st_name;
    void *function = one->start;
    tally->functions++;
    redefine_status status = redefine_func(function, (void *)(uintptr_t)replacement);
    if (status != REDEFINE_OK) {
        tally->refused[status]++;
        if (show_refused)
            printf("refused: %s: %s\n", name, redefine_explain());
        if (!text_is_saved(library)) {
            tally->wrong++;
            printf("WRONG: %s: refused, and bytes changed\n", name);
            exit(1);
        }
        return;
    }
    tally->accepted++;
    const char *wrong = wrong_now(library, one, 1);
    status = redefine_func_restore(function);
    count_strategy(tally, redefine_describe(function));
    if (status != REDEFINE_OK)
        wrong = redefine_explain();
    else if (!text_is_saved(library))
        wrong = "bytes differ after the restore";
    if (wrong) {
        tally->wrong++;
        printf("WRONG: %s: %s\n", name, wrong);
    }
}

/* ---- Many at once ---- */

/* In a big object a commit looks through all of its code, and so do we: by groups, each one batch. */
enum { BIG_BYTES = 16 << 20, GROUP = 256 };

static bool commit_group(const struct function *group, size_t count)
{
    redefine_batch *batch = redefine_batch_new();
    redefine_status status = REDEFINE_OK;
    for (size_t i = 0; i < count && status == REDEFINE_OK; i++)
        status = redefine_batch_add(batch, group[i].start, (void *)(uintptr_t)replacement);
    if (status == REDEFINE_OK)
        status = redefine_batch_commit(batch);
    redefine_batch_free(batch);
    return status == REDEFINE_OK;
}

/* One that is refused is looked for by halves. */
static void try_group(const struct library *library, const struct function *group, size_t count,
                      struct tally *tally)
{
    if (count <= 1) {
        if (count)
            try_function(library, group, tally);
        return;
    }
    if (!commit_group(group, count)) {
        try_group(library, group, count / 2, tally);
        try_group(library, group + count / 2, count - count / 2, tally);
        return;
    }
    const char *wrong = wrong_now(library, group, count);
    if (redefine_restore_all() != REDEFINE_OK)
        wrong = redefine_explain();
    else if (!text_is_saved(library))
        wrong = "bytes differ after the restore";
    tally->functions += count;
    tally->accepted += count;
    for (size_t i = 0; i < count; i++)
        count_strategy(tally, redefine_describe(group[i].start));
    if (wrong) {
        tally->wrong++;
        printf("WRONG: one of the %zu from %s on: %s\n", count, library->strings + group->symbol->st_name,
               wrong);
    }
}

/* ---- All of a library ---- */

static int by_address(const void *a, const void *b)
{
    const struct function *left = a, *right = b;
    if (left->start != right->start)
        return left->start < right->start ? -1 : 1;
    /* A function of no bytes, all of it unreachable, has the address of the next one. */
    return left->symbol->st_size > right->symbol->st_size ? -1
                                                          : left->symbol->st_size < right->symbol->st_size;
}

/* What an IFUNC resolves to is tried as the address that runs. */
static void *start_of(const struct library *library, const Elf64_Sym *symbol)
{
    void *start = (void *)(library->map->l_addr + symbol->st_value);
    const char *object = strrchr(library->map->l_name, '/');
    char name[512];
    if (ELF64_ST_TYPE(symbol->st_info) != STT_GNU_IFUNC)
        return start;
    (void)snprintf(name, sizeof name, "%s!%s", object ? object + 1 : library->map->l_name,
                   library->strings + symbol->st_name);
    void *found = NULL;
    return redefine_find(name, &found) == REDEFINE_OK ? found : start;
}

/* Several names of one address are one function. */
static size_t list_functions(const struct library *library, struct function *list)
{
    size_t count = 0;
    for (size_t i = 0; i < library->symbol_count; i++) {
        const Elf64_Sym *symbol = &library->symbol[i];
        unsigned type = ELF64_ST_TYPE(symbol->st_info);
        if (symbol->st_shndx != SHN_UNDEF && symbol->st_value && (type == STT_FUNC || type == STT_GNU_IFUNC))
            list[count++] = (struct function){symbol, start_of(library, symbol)};
    }
    if (count)
        qsort(list, count, sizeof *list, by_address);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || list[kept - 1].start != list[i].start)
            list[kept++] = list[i];
    return kept;
}

static void try_all(const struct library *library, struct tally *tally)
{
    struct function *list = calloc(library->symbol_count, sizeof *list);
    size_t count = list ? list_functions(library, list) : 0;
    size_t group = text_bytes(library) > BIG_BYTES ? GROUP : 1;
    for (size_t i = 0; i < count; i += group)
        try_group(library, list + i, count - i < group ? count - i : group, tally);
    free(list);
}

static void print(const char *name, const struct tally *tally)
{
    printf("%-22s %6zu functions, %6zu accepted (%.2f %%), %zu wrong\n", name, tally->functions,
           tally->accepted,
           tally->functions ? 100.0 * (double)tally->accepted / (double)tally->functions : 0.0, tally->wrong);
    for (size_t i = 0; i < STRATEGIES_MAX; i++)
        if (tally->strategy[i].count)
            printf("    %-52s %6zu\n", tally->strategy[i].name, tally->strategy[i].count);
    for (size_t i = 0; i < STATUSES; i++)
        if (tally->refused[i])
            printf("    refused: %-43s %6zu\n", redefine_strerror((redefine_status)i), tally->refused[i]);
    fflush(stdout);
}

bool cover(const char *object, const char *title, bool tell_refused)
{
    struct library library;
    struct tally tally = {0};
    show_refused = tell_refused;
    if (!open_object(object, &library)) {
        const char *why = dlerror();
        printf("%-22s skipped: %s\n", title, why ? why : "it exports nothing");
        return true;
    }
    try_all(&library, &tally);
    print(title, &tally);
    return tally.wrong == 0;
}
