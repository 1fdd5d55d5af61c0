/* SPDX-License-Identifier: MIT
 *
 * What a name means.
 *
 *   1. as the dynamic loader would: the first object of the global scope that exports it
 *   2. every object and every symbol table: exactly one function may remain
 *   3. the same for the demangled names of C++
 *
 * What is exported in the global scope wins over static functions of the same name: it is what the
 * name means to every caller but those in one file. Two functions are the same if they are at the same
 * address once stubs and resolvers have been followed.
 */
#include "image/elf/go_internal.h"

#include <stdio.h>

enum { CANDIDATES_MAX = 8, NAMES_LOOKED_AT_MAX = 300 * 1000, TEXT_BYTES = RDF_IMAGE_NAME_MAX };

struct text {
    const char *at;
    size_t len;
};

/* OBJECT!NAME@SUFFIX, taken apart; `at` is null for what is absent. */
struct question {
    struct text object;
    struct text name;
    struct text suffix;
    bool suffix_is_addr;
    uint64_t suffix_addr;
};

struct candidate {
    struct rdf_image *image;
    struct rdf_symbol symbol;
    uint64_t addr; /* followed */
    const char *file;
    bool is_exported;
};

struct search {
    struct rdf_images *images;
    struct question question;
    struct candidate candidate[CANDIDATES_MAX];
    size_t count;                  /* of different functions; may be more than are kept */
    struct rdf_error follow_error; /* of a candidate that leads nowhere */
    struct rdf_demangler demangler;
    bool is_cxx;         /* compare demangled */
    const char *file;    /* only static functions of this file; null: all */
    const char *go_name; /* the name without what surrounds it, as a string */
    char needle[256];
    char wanted[TEXT_BYTES];
    size_t wanted_len;
    char text[TEXT_BYTES]; /* the symbol at hand, demangled */
    char other[TEXT_BYTES];
};

/* ---- the question ---- */

static bool parse_addr(struct text text, uint64_t *ret)
{
    if (text.len < 3 || text.len > 18 || text.at[0] != '0' || text.at[1] != 'x')
        return false;
    uint64_t value = 0;
    for (size_t i = 2; i < text.len; i++) {
        char c = text.at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret = value;
    return true;
}

static struct question parse(const char *name)
{
    struct question question = {.name = {name, rdf_text_len(name)}};
    /* "!" also ends operator! and begins operator!=, which no object's name does. */
    for (size_t i = 0; name[i] && name[i] != '('; i++) {
        if (name[i] != '!')
            continue;
        if (i >= 8 && rdf_text_starts(name + i - 8, "operator"))
            break;
        question.object = (struct text){name, i};
        question.name = (struct text){name + i + 1, question.name.len - i - 1};
        break;
    }
    for (size_t i = 1; i < question.name.len; i++) {
        if (question.name.at[i] != '@')
            continue;
        size_t skip = i + 1 < question.name.len && question.name.at[i + 1] == '@' ? 2 : 1;
        question.suffix = (struct text){question.name.at + i + skip, question.name.len - i - skip};
        question.name.len = i;
        question.suffix_is_addr = parse_addr(question.suffix, &question.suffix_addr);
        break;
    }
    return question;
}

static bool is_object(struct rdf_images *images, struct rdf_image *image, struct text object)
{
    if (!object.at)
        return true;
    const char *soname = rdf_image_soname(images, image);
    if (soname && rdf_text_is(soname, object.at, object.len))
        return true;
    /* The whole path, or its end from a slash on. */
    size_t path_len = rdf_text_len(image->object.path);
    if (object.len > path_len || !object.len)
        return false;
    size_t skip = path_len - object.len;
    return rdf_text_is(image->object.path + skip, object.at, object.len) &&
           (!skip || image->object.path[skip - 1] == '/' || object.at[0] == '/');
}

static bool is_asked(const struct search *search, struct rdf_image *image)
{
    return !image->object.is_hidden && is_object(search->images, image, search->question.object);
}

/* ---- candidates ---- */

static bool is_global(const struct candidate *candidate)
{
    return candidate->is_exported && candidate->image->is_in_global;
}

static void add_candidate(struct search *search, const struct candidate *offered)
{
    struct candidate candidate = *offered;
    size_t kept = search->count < CANDIDATES_MAX ? search->count : CANDIDATES_MAX;
    for (size_t i = 0; i < kept; i++) {
        const struct candidate *other = &search->candidate[i];
        /* A weak function that many objects define: the loader binds every caller to the first. */
        if (other->image != candidate.image && is_global(other) && candidate.is_exported &&
            rdf_text_same(other->symbol.name, candidate.symbol.name) && !search->question.object.at)
            return;
    }
    enum rdf_follow_as as = candidate.symbol.type == STT_GNU_IFUNC ? RDF_FOLLOW_IFUNC : RDF_FOLLOW_FUNC;
    if (rdf_images_follow_as(search->images, candidate.symbol.addr, as, &candidate.addr,
                             &search->follow_error) != REDEFINE_OK)
        return;
    for (size_t i = 0; i < kept; i++) {
        struct candidate *other = &search->candidate[i];
        if (other->addr == candidate.addr) {
            if (!other->file && other->image == candidate.image)
                other->file = candidate.file;
            return;
        }
    }
    if (search->count < CANDIDATES_MAX)
        search->candidate[search->count] = candidate;
    search->count++;
}

static bool add_exported(struct search *search, struct rdf_image *image, struct text version)
{
    struct candidate candidate = {.image = image, .is_exported = true};
    if (!is_asked(search, image) ||
        !rdf_image_exported(search->images, image, search->question.name.at, search->question.name.len,
                            version.at, version.len, &candidate.symbol))
        return false;
    add_candidate(search, &candidate);
    return true;
}

/* As the loader binds it, `version` or the default one. In a named object: what that object exports. */
static bool find_exported(struct search *search, struct text version)
{
    struct rdf_images *images = search->images;
    bool any = false;
    if (search->question.object.at) {
        for (size_t i = 0; i < images->count; i++)
            any |= add_exported(search, images->image[i], version);
        return any;
    }
    for (size_t i = 0; i < images->count; i++)
        if (images->image[i]->is_in_global && add_exported(search, images->image[i], version))
            return true;
    for (size_t i = 0; version.at && i < images->count; i++)
        any |= add_exported(search, images->image[i], version);
    return any;
}

/* ---- every symbol ---- */

static bool demangles_to_wanted(struct search *search, const struct rdf_symbols *symbols,
                                const Elf64_Sym *raw)
{
    if (raw->st_name >= symbols->str.len_bytes || symbols->str.len_bytes - raw->st_name < 3 ||
        symbols->str.data[raw->st_name] != '_' || symbols->str.data[raw->st_name + 1] != 'Z')
        return false;
    const char *mangled = rdf_span_string(symbols->str, raw->st_name);
    if (!mangled || !rdf_cxx_contains(mangled, search->needle) ||
        !rdf_demangle(&search->demangler, mangled, search->other, sizeof search->other))
        return false;
    size_t len = rdf_cxx_normalize(search->other, rdf_text_len(search->other), search->text,
                                   sizeof search->text);
    return rdf_cxx_matches(search->text, len, search->wanted, search->wanted_len);
}

static bool is_match(struct search *search, const struct rdf_image *image, const struct rdf_symbols *symbols,
                     const Elf64_Sym *raw, const char *file)
{
    const struct question *question = &search->question;
    if (search->file && (!file || !rdf_text_same(rdf_text_base(file), search->file)))
        return false;
    if (question->suffix_is_addr && question->suffix_addr != raw->st_value &&
        question->suffix_addr != raw->st_value + image->object.bias)
        return false;
    if (search->is_cxx ? !demangles_to_wanted(search, symbols, raw)
                       : !rdf_symbol_is_named(symbols, raw, question->name.at, question->name.len))
        return false;
    return rdf_symbol_is_function(image, symbols, raw);
}

/* Local symbols follow the STT_FILE symbol of their source file (gABI, "Symbol Table"); the global ones
 * come last and belong to none. */
static void scan_table(struct search *search, struct rdf_image *image, const struct rdf_symbols *symbols,
                       bool is_exported)
{
    const char *file = NULL;
    Elf64_Sym raw;
    for (uint32_t i = 0; rdf_symbols_raw(symbols, i, &raw); i++) {
        bool is_local = ELF64_ST_BIND(raw.st_info) == STB_LOCAL;
        if (ELF64_ST_TYPE(raw.st_info) == STT_FILE) {
            file = rdf_span_string(symbols->str, raw.st_name);
            continue;
        }
        const char *of_file = is_local && file && *file ? file : NULL;
        if (raw.st_shndx == SHN_UNDEF || !is_match(search, image, symbols, &raw, of_file))
            continue;
        struct candidate candidate = {.image = image, .file = of_file, .is_exported = is_exported};
        rdf_symbol_fill(image, symbols, i, &raw, &candidate.symbol);
        if (!rdf_go_at(search->images, candidate.symbol.addr)) /* scan_go tells of those */
            add_candidate(search, &candidate);
    }
}

static bool is_asked_of_go(const struct search *search, const struct rdf_go_func *func)
{
    const struct question *question = &search->question;
    const char *file;
    uint32_t line;
    if (search->file &&
        (!rdf_go_line(func, func->entry, &file, &line) || !rdf_text_same(rdf_text_base(file), search->file)))
        return false;
    return !question->suffix_is_addr || question->suffix_addr == func->entry ||
           question->suffix_addr == func->entry - rdf_image_bias(rdf_go_image(func->go));
}

/* What the compiler wrapped around a function has its name too: the function is meant, if there is one. */
static void scan_go(struct search *search, struct rdf_image *image)
{
    const struct rdf_go *go;
    size_t before = search->count;
    if (!search->go_name || !rdf_go_is_go(search->images, image) ||
        rdf_go_open(search->images, image, &go, NULL) != REDEFINE_OK)
        return;
    for (int wrappers = 0; wrappers < 2 && search->count == before; wrappers++) {
        struct rdf_go_func func;
        for (uint32_t i = 0; rdf_go_func_named(go, search->go_name, i, &func); i = func.index + 1) {
            if (func.is_wrapper != wrappers || !is_asked_of_go(search, &func))
                continue;
            struct candidate candidate = {.image = image, .symbol = rdf_go_symbol(&func)};
            add_candidate(search, &candidate);
        }
    }
}

static void scan(struct search *search)
{
    struct rdf_images *images = search->images;
    for (int global = 1; global >= 0; global--) {
        for (size_t i = 0; i < images->count; i++) {
            struct rdf_image *image = images->image[i];
            if (image->is_in_global != global || !is_asked(search, image))
                continue;
            if (!search->file)
                scan_table(search, image, rdf_image_dynsym(images, image), true);
            scan_table(search, image, rdf_image_symtab(images, image), false);
            if (!search->is_cxx)
                scan_go(search, image);
        }
    }
}

static void scan_cxx(struct search *search)
{
    search->is_cxx = true;
    search->wanted_len = rdf_cxx_normalize(search->question.name.at, search->question.name.len,
                                           search->wanted, sizeof search->wanted);
    rdf_cxx_needle(search->wanted, search->wanted_len, search->needle, sizeof search->needle);
    scan(search);
}

static void scan_all(struct search *search)
{
    scan(search);
    if (!search->count && search->follow_error.status == REDEFINE_OK)
        scan_cxx(search);
}

/* Most of a search is buffers, which nobody reads before they are written. */
static void begin(struct search *search, struct rdf_images *images)
{
    search->images = images;
    search->count = 0;
    search->follow_error.status = REDEFINE_OK;
    search->is_cxx = false;
    search->file = NULL;
    search->needle[0] = search->wanted[0] = 0;
    search->wanted_len = 0;
}

static void run(struct search *search)
{
    struct question *question = &search->question;
    struct text none = {NULL, 0};
    search->go_name = rdf_arena_copy(search->images->arena, question->name.at, question->name.len);
    if (!search->go_name)
        search->images->out_of_memory = true;
    rdf_images_find_scope(search->images);
    if (question->suffix_is_addr || !question->suffix.at) {
        if (question->suffix_is_addr || !find_exported(search, none))
            scan_all(search);
        return;
    }
    if (find_exported(search, question->suffix))
        return;
    size_t skip = question->suffix.len; /* symbol tables keep only the last part of a path */
    while (skip && question->suffix.at[skip - 1] != '/')
        skip--;
    search->file = rdf_arena_copy(search->images->arena, question->suffix.at + skip,
                                  question->suffix.len - skip);
    if (!search->file)
        search->images->out_of_memory = true;
    else
        scan_all(search);
}

/* ---- answers ---- */

/* In a form that can be given back. `by_addr`: with the address, when the rest does not tell them
 * apart: of the file, unless two objects have the same name. */
static void candidate_text(struct search *search, const struct candidate *candidate, bool by_addr,
                           bool same_object, char *ret_text, size_t text_bytes)
{
    const char *object = rdf_image_short_name(candidate->image), *name = candidate->symbol.name;
    const char *version = candidate->is_exported && candidate->symbol.is_hidden_version
                              ? rdf_image_version(search->images, candidate->image, candidate->symbol.index)
                              : NULL;
    if (by_addr) {
        uint64_t addr = candidate->symbol.addr - (same_object ? 0 : candidate->image->object.bias);
        (void)snprintf(ret_text, text_bytes, "%.64s!%.128s@0x%llx", object, name, (unsigned long long)addr);
        return;
    }
    if (search->is_cxx && rdf_demangle(&search->demangler, name, search->other, sizeof search->other))
        name = search->other;
    const char *suffix = candidate->file ? rdf_text_base(candidate->file) : version;
    (void)snprintf(ret_text, text_bytes, "%.64s!%.160s%s%.64s", object, name, suffix ? "@" : "",
                   suffix ? suffix : "");
}

static redefine_status fail_ambiguous(struct search *search, struct rdf_error *err)
{
    enum { LINE_BYTES = 320 };
    size_t kept = search->count < CANDIDATES_MAX ? search->count : CANDIDATES_MAX;
    char list[RDF_SENTENCE_BYTES] = "", line[CANDIDATES_MAX][LINE_BYTES], more[64] = "";
    for (size_t i = 0; i < kept; i++)
        candidate_text(search, &search->candidate[i], false, false, line[i], LINE_BYTES);
    bool ambiguous[CANDIDATES_MAX] = {false}, same_object[CANDIDATES_MAX] = {false};
    for (size_t i = 0; i < kept; i++) {
        for (size_t j = 0; j < kept; j++) {
            ambiguous[i] |= i != j && rdf_text_same(line[i], line[j]);
            same_object[i] |= search->candidate[i].image != search->candidate[j].image &&
                              rdf_text_same(rdf_image_short_name(search->candidate[i].image),
                                            rdf_image_short_name(search->candidate[j].image));
        }
    }
    size_t put = 0;
    for (size_t i = 0; i < kept; i++) {
        if (ambiguous[i])
            candidate_text(search, &search->candidate[i], true, same_object[i], line[i], LINE_BYTES);
        int wrote = snprintf(list + put, sizeof list - put, "%s%s (at 0x%llx)", i ? ", " : "", line[i],
                             (unsigned long long)search->candidate[i].symbol.addr);
        if (wrote < 0 || (size_t)wrote >= sizeof list - put) {
            list[put] = 0;
            kept = i;
            break;
        }
        put += (size_t)wrote;
    }
    if (search->count > kept)
        (void)snprintf(more, sizeof more, ", and %zu more", search->count - kept);
    return rdf_fail(err, REDEFINE_EAMBIGUOUS, "%.*s names %zu functions; give one of %s%s",
                    (int)(search->question.name.len < 128 ? search->question.name.len : 128),
                    search->question.name.at, search->count, list, more);
}

/* Names that are near, in what was searched; whether it is the name of data; how much is stripped. */
struct survey {
    struct rdf_suggestions suggestions;
    struct rdf_image *data_in;
    size_t objects, stripped;
};

/* Whether a readable name is an instance of the template: "int twice<int>(int)" of "twice". */
static bool is_instance_of(const char *text, const char *wanted, size_t len)
{
    for (const char *at = text; len && *at; at++) {
        size_t same = 0;
        while (same < len && at[same] == wanted[same])
            same++;
        if ((at == text || at[-1] == ' ') && same == len && at[len] == '<')
            return true;
    }
    return false;
}

/* Of C++ names: the same one with other parameters, an instance of the template, then its last part in
 * another scope. */
static void suggest_cxx(struct search *search, struct rdf_suggestions *suggestions, const char *mangled)
{
    enum { OTHER_PARAMETERS = 0, OTHER_SCOPE = 3 };
    if (!search->needle[0] || !rdf_cxx_contains(mangled, search->needle) ||
        !rdf_demangle(&search->demangler, mangled, search->other, sizeof search->other))
        return;
    size_t len = rdf_cxx_normalize(search->other, rdf_text_len(search->other), search->text,
                                   sizeof search->text);
    size_t name_len = rdf_cxx_without_parameters(search->wanted, search->wanted_len);
    bool is_near = rdf_cxx_matches(search->text, len, search->wanted, name_len) ||
                   is_instance_of(search->other, search->wanted, name_len);
    unsigned far = is_near ? OTHER_PARAMETERS : OTHER_SCOPE;
    if (suggestions->count == RDF_SUGGESTIONS_MAX && suggestions->distance[suggestions->count - 1] <= far)
        return;
    const char *copy = rdf_arena_copy(search->images->arena, search->other, rdf_text_len(search->other));
    if (copy)
        rdf_suggestions_add(suggestions, copy, far);
}

static void survey_table(struct search *search, struct survey *survey, struct rdf_image *image,
                         const struct rdf_symbols *symbols)
{
    struct rdf_suggestions *suggestions = &survey->suggestions;
    Elf64_Sym raw;
    for (uint32_t i = 0; suggestions->names_left && rdf_symbols_raw(symbols, i, &raw); i++) {
        unsigned type = ELF64_ST_TYPE(raw.st_info);
        if (raw.st_shndx != SHN_UNDEF && (type == STT_OBJECT || type == STT_TLS) &&
            rdf_symbol_is_named(symbols, &raw, search->question.name.at, search->question.name.len))
            survey->data_in = image;
        const char *name = rdf_symbol_is_function(image, symbols, &raw)
                               ? rdf_span_string(symbols->str, raw.st_name)
                               : NULL;
        if (!name)
            continue;
        rdf_suggest(suggestions, name);
        if (rdf_text_starts(name, "_Z"))
            suggest_cxx(search, suggestions, name);
    }
}

static void survey_go(struct survey *survey, const struct rdf_go *go)
{
    for (uint32_t i = 0; survey->suggestions.names_left && i < rdf_go_func_count(go); i++) {
        const char *name = rdf_go_func_name(go, i);
        if (name)
            rdf_suggest(&survey->suggestions, name);
    }
}

/* Go code that was inlined everywhere has no body of its own; tables that could not be read have a reason. */
static redefine_status fail_go(struct search *search, struct survey *survey, struct rdf_error *err)
{
    struct rdf_images *images = search->images;
    for (size_t i = 0; i < images->count; i++) {
        const struct rdf_go *go;
        struct rdf_image *image = images->image[i];
        if (!is_asked(search, image) || !rdf_go_is_go(images, image))
            continue;
        redefine_status status = rdf_go_open(images, image, &go, err);
        if (status == REDEFINE_OK)
            status = rdf_go_fail_inlined(go, search->go_name, err);
        if (status != REDEFINE_OK)
            return status;
        survey_go(survey, go);
    }
    return REDEFINE_OK;
}

static redefine_status fail_not_found(struct search *search, struct rdf_error *err)
{
    const struct question *question = &search->question;
    struct rdf_images *images = search->images;
    struct survey survey = {.suggestions = {.wanted = question->name.at,
                                            .wanted_bytes = question->name.len,
                                            .names_left = NAMES_LOOKED_AT_MAX}};
    for (size_t i = 0; i < images->count; i++) {
        struct rdf_image *image = images->image[i];
        if (!is_asked(search, image))
            continue;
        survey.objects++;
        survey.stripped += rdf_image_symtab(images, image)->count == 0;
        survey_table(search, &survey, image, rdf_image_dynsym(images, image));
        survey_table(search, &survey, image, rdf_image_symtab(images, image));
    }
    redefine_status status = fail_go(search, &survey, err);
    if (status != REDEFINE_OK)
        return status;
    int name_len = (int)(question->name.len < 160 ? question->name.len : 160);
    int object_len = (int)(question->object.len < 160 ? question->object.len : 160);
    int suffix_len = (int)(question->suffix.len < 160 ? question->suffix.len : 160);
    if (question->object.at && !survey.objects)
        return rdf_fail(err, REDEFINE_ENOTFOUND,
                        "no loaded object is called %.*s, so %.*s cannot be looked up in it; give its file "
                        "name as /proc/PID/maps shows it",
                        object_len, question->object.at, name_len, question->name.at);
    if (survey.data_in)
        return rdf_fail(err, REDEFINE_ENOTFOUND, "%.*s in %s is data, not a function", name_len,
                        question->name.at, rdf_image_short_name(survey.data_in));
    char where[256], stripped[160] = "", near[RDF_SENTENCE_BYTES / 2];
    if (question->object.at)
        (void)snprintf(where, sizeof where, "in %.*s", object_len, question->object.at);
    else
        (void)snprintf(where, sizeof where, "in %zu loaded objects", survey.objects);
    if (survey.stripped)
        (void)snprintf(stripped, sizeof stripped,
                       " (%zu of them stripped: names of their static functions "
                       "are not known)",
                       survey.stripped);
    rdf_suggestions_text(&survey.suggestions, near, sizeof near);
    if (search->demangler.tried && !search->demangler.demangle)
        (void)snprintf(near, sizeof near,
                       "; names of C++ cannot be read here, for nothing loaded has __cxa_demangle and "
                       "libstdc++ cannot be loaded: give it as it is mangled (_Z…), or link a static "
                       "program with -Wl,-u,__cxa_demangle");
    if (question->suffix.at)
        return rdf_fail(err, REDEFINE_ENOTFOUND,
                        "no function %.*s %s is of version %.*s or static in a file of that name%s; without "
                        "@%.*s any would do%s",
                        name_len, question->name.at, where, suffix_len, question->suffix.at, stripped,
                        suffix_len, question->suffix.at, near);
    return rdf_fail(err, REDEFINE_ENOTFOUND, "no function is called %.*s %s%s%s", name_len, question->name.at,
                    where, stripped, near);
}

redefine_status rdf_images_find(struct rdf_images *images, const char *name, uint64_t *ret_addr,
                                struct rdf_error *err)
{
    if (!name || !*name || rdf_text_len(name) >= RDF_IMAGE_NAME_MAX)
        return rdf_fail(err, REDEFINE_EINVAL,
                        name && *name ? "the name is longer than %d bytes" : "the name is empty",
                        RDF_IMAGE_NAME_MAX);
    struct search *search = images->search;
    if (!search)
        images->search = search = rdf_arena_alloc(images->arena, sizeof *search);
    if (!search)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to look for %.128s", name);
    begin(search, images);
    search->question = parse(name);
    const struct question *question = &search->question;
    if (!question->name.len || (question->object.at && !question->object.len) ||
        (question->suffix.at && !question->suffix.len))
        return rdf_fail(err, REDEFINE_EINVAL,
                        "%.128s has an empty part; write NAME, OBJECT!NAME, NAME@FILE or NAME@VERSION", name);
    run(search);
    if (images->out_of_memory)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory to look for %.128s", name);
    if (search->count == 1) {
        *ret_addr = search->candidate[0].addr;
        return REDEFINE_OK;
    }
    if (search->count > 1)
        return fail_ambiguous(search, err);
    if (search->follow_error.status != REDEFINE_OK)
        return rdf_fail(err, search->follow_error.status, "%s", search->follow_error.sentence);
    return fail_not_found(search, err);
}
