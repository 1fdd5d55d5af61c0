/* SPDX-License-Identifier: MIT
 *
 * Counting: counters in the command's file for every function that a pattern names.
 */
#include "agent/agent.h"
#include "agent/count.h"

#include <redefine/apply.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHAIN_MAX = 1 << 16 }; /* who else maps the file may have made a circle of it */

struct counting {
    struct rdf_count_file *file;
    const char *const *glob;
    size_t glob_count;
};

/* ---- Texts ---- */

static uint32_t hash(uint32_t kind, uint32_t other, const char *text)
{
    uint32_t value = 2166136261u; /* FNV-1a */
    value = (value ^ kind) * 16777619u;
    value = (value ^ other) * 16777619u;
    for (; *text; text++)
        value = (value ^ (unsigned char)*text) * 16777619u;
    return value;
}

static struct rdf_count_text *text_at(struct rdf_count_file *file, uint32_t at)
{
    if (at < RDF_COUNT_TEXT_ALIGN || at % RDF_COUNT_TEXT_ALIGN ||
        at > sizeof file->text - sizeof(struct rdf_count_text) - RDF_COUNT_NAME_MAX)
        return NULL;
    return (struct rdf_count_text *)(void *)(file->text + at);
}

static uint32_t find_text(struct rdf_count_file *file, uint32_t at, uint32_t kind, uint32_t other,
                          const char *text)
{
    for (int steps = 0; steps < CHAIN_MAX; steps++) {
        const struct rdf_count_text *known = text_at(file, at);
        if (!known)
            return 0;
        if (known->kind == kind && known->other == other &&
            strncmp(known->text, text, RDF_COUNT_NAME_MAX) == 0)
            return at;
        at = known->next;
    }
    return 0;
}

/* Where the text lies, old or new; 0: no room. */
static uint32_t intern(struct rdf_count_file *file, uint32_t kind, uint32_t other, const char *text)
{
    uint32_t *bucket = &file->bucket[hash(kind, other, text) % RDF_COUNT_BUCKETS];
    uint32_t head = __atomic_load_n(bucket, __ATOMIC_ACQUIRE);
    uint32_t at = find_text(file, head, kind, other, text);
    if (at)
        return at;
    size_t len = strnlen(text, RDF_COUNT_NAME_MAX - 1);
    uint64_t bytes = (sizeof(struct rdf_count_text) + len + RDF_COUNT_TEXT_ALIGN) / RDF_COUNT_TEXT_ALIGN *
                     RDF_COUNT_TEXT_ALIGN;
    uint64_t place = __atomic_fetch_add(&file->text_bytes, bytes, __ATOMIC_RELAXED);
    struct rdf_count_text *made = place < sizeof file->text ? text_at(file, (uint32_t)place) : NULL;
    if (!made)
        return 0;
    made->kind = kind;
    made->other = other;
    memcpy(made->text, text, len); /* what follows is still a hole: zeros */
    do {
        /* Another process may have been faster; what was taken for it is then not used. */
        at = find_text(file, head, kind, other, text);
        if (at)
            return at;
        made->next = head;
    } while (!__atomic_compare_exchange_n(bucket, &head, (uint32_t)place, false, __ATOMIC_RELEASE,
                                          __ATOMIC_ACQUIRE));
    return (uint32_t)place;
}

/* An entry of its own for what lies at `at`; behind the first half one that is there already. -1: no room. */
static int64_t take_entry(struct rdf_count_file *file, uint32_t at)
{
    struct rdf_count_text *text = text_at(file, at);
    uint32_t known = text ? __atomic_load_n(&text->entry, __ATOMIC_RELAXED) : 0;
    uint64_t taken = __atomic_load_n(&file->entries, __ATOMIC_RELAXED);
    if (taken >= RDF_COUNT_ENTRIES_MAX / 2 && known && known <= RDF_COUNT_ENTRIES_MAX)
        return (int64_t)known - 1;
    taken = text ? __atomic_fetch_add(&file->entries, 1, __ATOMIC_RELAXED) : RDF_COUNT_ENTRIES_MAX;
    if (taken >= RDF_COUNT_ENTRIES_MAX)
        return -1;
    __atomic_store_n(&file->text_of[taken], at, __ATOMIC_RELEASE);
    __atomic_store_n(&text->entry, (uint32_t)taken + 1, __ATOMIC_RELAXED);
    return (int64_t)taken;
}

/* ---- What redefine_count asks ---- */

/* "*" stands for any text, "?" for one character; as redefine_count does it. */
static bool matches(const char *pattern, const char *text)
{
    const char *star = NULL;
    const char *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            resume = text;
        } else if (*pattern && (*pattern == '?' || *pattern == *text)) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

/* OBJECT!GLOB: the object by the last part of its path, or by all of it. Null: of any object. */
static bool names(const char *glob, const char *object, const char *name)
{
    const char *mark = strchr(glob, '!');
    if (!matches(mark ? mark + 1 : glob, name))
        return false;
    if (!mark || !object)
        return true;
    char pattern[RDF_COUNT_NAME_MAX];
    (void)snprintf(pattern, sizeof pattern, "%.*s", (int)(mark - glob), glob);
    const char *slash = strrchr(object, '/');
    return matches(pattern, object) || (slash && matches(pattern, slash + 1));
}

static bool is_wanted(const struct counting *counting, const char *object, const char *name)
{
    for (size_t i = 0; i < counting->glob_count; i++)
        if (names(counting->glob[i], object, name))
            return true;
    return false;
}

static uint64_t *counter(void *ctx, const char *object, const char *name, const char *readable)
{
    const struct counting *counting = ctx;
    struct rdf_count_file *file = counting->file;
    if (rdf_agent_is_self(object) || !is_wanted(counting, object, readable ? readable : name))
        return NULL;
    uint32_t owner = intern(file, RDF_COUNT_OBJECT, 0, object);
    uint32_t at = owner ? intern(file, RDF_COUNT_FUNCTION, owner, name) : 0;
    int64_t entry = at ? take_entry(file, at) : -1;
    if (entry >= 0)
        return &file->calls[entry];
    __atomic_fetch_add(&file->lost, 1, __ATOMIC_RELAXED);
    return NULL;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Addresses differ from process to process, and a function's name from function to function; reasons do not:
 * what is left is the same for all to which it applies. */
static void generalise(const char *from, const char *name, char *to, size_t to_bytes)
{
    static const char instead[] = "the function";
    size_t name_len = strlen(name);
    size_t put = 0;
    for (char before = ' '; *from && put + sizeof instead < to_bytes; before = from[-1]) {
        if (name_len && !is_word(before) && strncmp(from, name, name_len) == 0 && !is_word(from[name_len])) {
            memcpy(to + put, instead, sizeof instead);
            put += sizeof instead - 1;
            from += name_len;
        } else if (!is_word(before) && strncmp(from, "0x", 2) == 0) {
            memcpy(to + put, "0x...", 5);
            put += 5;
            from += 2 + strspn(from + 2, "0123456789abcdefABCDEF");
        } else {
            to[put++] = *from++;
        }
    }
    to[put] = '\0';
}

static void not_counted(void *ctx, const char *name, const char *why)
{
    const struct counting *counting = ctx;
    struct rdf_count_file *file = counting->file;
    char reason[RDF_COUNT_NAME_MAX];
    /* What was wanted as people write it is here as it is in the table. */
    if (strncmp(name, "_Z", 2) != 0 && !is_wanted(counting, NULL, name))
        return;
    generalise(why, name, reason, sizeof reason);
    uint32_t other = intern(file, RDF_COUNT_REASON, 0, reason);
    uint32_t at = other ? intern(file, RDF_COUNT_REFUSED, other, name) : 0;
    const struct rdf_count_text *text = text_at(file, at);
    if (text && text->entry == 0)
        (void)take_entry(file, at); /* only so that the command finds it */
}

/* ---- The file ---- */

static void say_why(bool is_first, const char *why)
{
    rdf_agent_say("%s %s: %s", program_invocation_short_name,
                  is_first ? "is not started, since it cannot be counted" : "runs without being counted",
                  why);
}

static struct rdf_count_file *map_file(const char *path, bool is_first)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
    /* A process that outlives the command has nobody to count for, and nobody to tell. */
    if (fd < 0 && (is_first || errno != ENOENT))
        say_why(is_first, strerror(errno));
    if (fd < 0)
        return NULL;
    struct rdf_count_file *file = MAP_FAILED;
    bool fits = fstat(fd, &st) == 0 && st.st_size == (off_t)sizeof *file;
    if (fits)
        file = mmap(NULL, sizeof *file, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fits && file == MAP_FAILED)
        say_why(is_first, "the memory of the counters cannot be mapped (is there a limit, ulimit -v?)");
    close(fd);
    if (file == MAP_FAILED)
        return NULL;
    if (memcmp(file->magic, RDF_COUNT_MAGIC, sizeof file->magic) == 0 && file->version == RDF_COUNT_VERSION)
        return file;
    munmap(file, sizeof *file);
    return NULL;
}

bool rdf_agent_count(const char *path, const char *const *glob, size_t glob_count, bool is_first)
{
    struct counting counting = {.glob = glob, .glob_count = glob_count};
    counting.file = map_file(path, is_first);
    if (!counting.file)
        return false;
    /* One pass over all names, also for several patterns: who comes second finds the function redefined. */
    const char *mark = strchr(glob[0], '!');
    const char *pattern = glob_count > 1 ? "*" : mark ? mark + 1 : glob[0];
    if (redefine_count(pattern, counter, not_counted, &counting) == REDEFINE_OK) {
        __atomic_fetch_add(&counting.file->programs, 1, __ATOMIC_RELAXED);
        return true;
    }
    say_why(is_first, redefine_explain());
    return false;
}
