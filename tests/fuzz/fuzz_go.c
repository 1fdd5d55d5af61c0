/* SPDX-License-Identifier: MIT
 *
 * Go tables that lie must give answers or sentences: no crash, no read outside of what is mapped, no endless
 * loop, no memory out of proportion.
 *
 * A real Go program is too long to be a seed, so the file is made here: a program of three functions, an
 * inline tree, a handful of types, for one of the known layouts. The first two bytes of the input choose the
 * layout and how it is read; the rest are edits of it, three bytes each: where, and what to put there.
 */
#include <stdint.h>
#include <stdio.h>

#include "../unit/image_layout.h"
#include "image/go.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
    TEXT = 0x800,
    PCLNTAB = 0x1000,
    GOFUNC = 0x1c00,
    TYPES = 0x2000,
    ETYPES = 0x2e00,
    DATA = 0x3000,
    MODULEDATA = 0x3400,
    DYNAMIC = 0x3800,
    RELA = 0x3880,
    FILE_BYTES = 0x4000,
    PROPORTION_BYTES = 8 << 20,
};

#define require(condition)                                                          \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

/* ---- the file ---- */

struct release {
    const char *version;
    uint32_t magic;
    unsigned func_bytes, inlined_bytes;
    unsigned types, etypes, gofunc; /* words */
};

static const struct release releases[] = {
    {"go1.19.8", 0xfffffff0, 40, 20, 35, 36, 38}, {"go1.21.1", 0xfffffff1, 44, 16, 37, 38, 40},
    {"go1.25.1", 0xfffffff1, 44, 16, 37, 38, 40}, {"go1.26.1", 0xfffffff1, 44, 16, 37, 38, 40},
    {"go1.27.1", 0xfffffff1, 44, 16, 37, 39, 43},
};

struct file {
    const struct release *release;
    uint8_t bytes[FILE_BYTES];
    bool relocated; /* pointers are in the table of relocations only */
    unsigned relocations;
};

static void put(struct file *file, unsigned at, uint64_t value, unsigned len)
{
    memcpy(file->bytes + at, &value, len);
}

/* A pointer as the loader leaves it, or as the linker does. */
static void point(struct file *file, unsigned at, uint64_t to)
{
    if (!file->relocated) {
        put(file, at, LAYOUT_BASE + to, 8);
        return;
    }
    unsigned entry = RELA + 24 * file->relocations++;
    put(file, entry, at, 8);
    put(file, entry + 8, R_X86_64_RELATIVE, 8);
    put(file, entry + 16, to, 8);
}

static void slice(struct file *file, unsigned at, uint64_t to, uint64_t count)
{
    point(file, at, to);
    put(file, at + 8, count, 8);
    put(file, at + 16, count, 8);
}

static void put_headers(struct file *file)
{
    Elf64_Ehdr header = {.e_type = ET_DYN,
                         .e_machine = EM_X86_64,
                         .e_version = EV_CURRENT,
                         .e_phoff = sizeof header,
                         .e_ehsize = sizeof header,
                         .e_phentsize = sizeof(Elf64_Phdr),
                         .e_phnum = 4};
    memcpy(header.e_ident,
           "\x7f"
           "ELF\x02\x01\x01",
           7);
    const Elf64_Phdr program[] = {
        {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = PCLNTAB, .p_memsz = PCLNTAB},
        {.p_type = PT_LOAD,
         .p_flags = PF_R,
         .p_offset = PCLNTAB,
         .p_vaddr = PCLNTAB,
         .p_filesz = DATA - PCLNTAB,
         .p_memsz = DATA - PCLNTAB},
        {.p_type = PT_LOAD,
         .p_flags = PF_R | PF_W,
         .p_offset = DATA,
         .p_vaddr = DATA,
         .p_filesz = FILE_BYTES - DATA,
         .p_memsz = FILE_BYTES - DATA},
        {.p_type = PT_DYNAMIC,
         .p_flags = PF_R | PF_W,
         .p_offset = DYNAMIC,
         .p_vaddr = DYNAMIC,
         .p_filesz = 64,
         .p_memsz = 64},
    };
    memcpy(file->bytes, &header, sizeof header);
    memcpy(file->bytes + sizeof header, program, sizeof program);
    memset(file->bytes + TEXT, 0x90, PCLNTAB - TEXT);
    memcpy(file->bytes + TEXT + 4, "\xe8\x37\x00\x00\x00", 5); /* main.main calls main.f */
}

/* funcnametab, cutab, filetab, pctab, pclntable, behind the header in this order. */
enum { NAMES = 0x50, UNITS = 0xc0, FILES = 0xd0, PCTAB = 0x100, FUNCS = 0x140, RECORDS = 0x40 };

static void put_func(struct file *file, unsigned index, unsigned entry, unsigned name, unsigned pcs)
{
    unsigned at = PCLNTAB + FUNCS, record = RECORDS + index * 0x60, fixed = file->release->func_bytes;
    put(file, at + index * 8, entry, 4);
    put(file, at + index * 8 + 4, record, 4);
    put(file, at + record, entry, 4);
    put(file, at + record + 4, name, 4);
    for (unsigned table = 16; table <= 24; table += 4)
        put(file, at + record + table, pcs, 4);
    put(file, at + record + 28, 3, 4);                         /* npcdata */
    put(file, at + record + fixed - 4, index, 1);              /* funcID */
    put(file, at + record + fixed - 1, 4, 1);                  /* nfuncdata */
    put(file, at + record + fixed + 8, index == 0 ? 9 : 0, 4); /* the inline index of main.main */
    for (unsigned i = 0; i < 4; i++)
        put(file, at + record + fixed + 12 + i * 4, index == 0 && i == 3 ? 0 : UINT32_MAX, 4);
}

static void put_pclntab(struct file *file)
{
    static const char names[] = "\0main.main\0main.f[...]\0type:.eq.main.T\0main.inlined\0main.nested";
    static const unsigned offsets[] = {NAMES, UNITS, FILES, PCTAB, FUNCS};
    put(file, PCLNTAB, file->release->magic, 4);
    put(file, PCLNTAB + 6, 0x0801, 2);
    put(file, PCLNTAB + 8, 3, 8);
    for (unsigned i = 0; i < 5; i++)
        put(file, PCLNTAB + 32 + i * 8, offsets[i], 8);
    memcpy(file->bytes + PCLNTAB + NAMES, names, sizeof names);
    memcpy(file->bytes + PCLNTAB + FILES, "main.go\0<autogenerated>", 24);
    put(file, PCLNTAB + UNITS + 4, 8, 4);
    /* One range of value 0; then 16 of -1, 8 of 0, 24 of 1, 16 of -1. */
    memcpy(file->bytes + PCLNTAB + PCTAB, "\0\x02\x40\0\x02\x10\0\0\0\0\x10\x02\x08\x02\x18\x03\x10\0", 18);
    put_func(file, 0, 0, 1, 1);
    put_func(file, 1, 0x40, 11, 4);
    put_func(file, 2, 0x50, 23, 4);
    put(file, PCLNTAB + FUNCS + 24, 0x60, 4);
    unsigned bytes = file->release->inlined_bytes;
    for (unsigned i = 0; i < 2; i++) {
        unsigned record = GOFUNC + i * bytes, old = bytes == 20;
        if (old)
            put(file, record, i ? 0 : UINT16_MAX, 2);
        put(file, record + (old ? 12 : 4), i ? 52 : 39, 4);
        put(file, record + (old ? 16 : 8), i ? 0x12 : 0x02, 4);
    }
}

/* name: flags, length, text. Returns its offset from `types`. */
static unsigned put_name(struct file *file, unsigned *at, const char *text)
{
    unsigned off = *at - TYPES, len = (unsigned)strlen(text);
    put(file, *at, 1, 1);
    put(file, *at + 1, len, 1);
    memcpy(file->bytes + *at + 2, text, len);
    *at += 2 + len;
    return off;
}

static void put_type(struct file *file, unsigned at, unsigned kind, unsigned bytes, unsigned tflag,
                     unsigned name)
{
    put(file, at, bytes, 8);
    put(file, at + 16, at, 4);
    put(file, at + 20, tflag, 1);
    put(file, at + 21, 8, 1);
    put(file, at + 23, kind, 1);
    put(file, at + 40, name, 4);
}

enum {
    T_INT64 = TYPES + 8,
    T_STRUCT = T_INT64 + 48, /* main.T {A int64; p *T}, with one method */
    T_POINTER = T_STRUCT + 80 + 16 + 48 + 16,
    T_FUNC = T_POINTER + 56,
    T_INTERFACE = T_FUNC + 56 + 16,
    T_ARRAY = T_INTERFACE + 80 + 8,
    T_MAP = T_ARRAY + 72,
    T_END = T_MAP + 136,
};

static void put_types(struct file *file)
{
    unsigned text = T_END;
    unsigned name_t = put_name(file, &text, "*main.T"), name_a = put_name(file, &text, "A");
    unsigned name_int64 = put_name(file, &text, "int64"), name_get = put_name(file, &text, "Get");
    unsigned name_other = put_name(file, &text, "*main.other");
    unsigned fields = T_STRUCT + 96;
    put_type(file, T_INT64, RDF_GO_INT64, 8, 4, name_int64);
    put_type(file, T_STRUCT, RDF_GO_STRUCT, 16, 7, name_t);
    slice(file, T_STRUCT + 56, fields, 2);
    put(file, T_STRUCT + 84, 0x00010001, 4);
    put(file, T_STRUCT + 88, 16 + 48, 4);
    for (unsigned i = 0; i < 2; i++) {
        point(file, fields + i * 24, TYPES + name_a);
        point(file, fields + i * 24 + 8, i ? T_POINTER : T_INT64);
        put(file, fields + i * 24 + 16, i * 8, 8);
    }
    put(file, T_STRUCT + 144, name_get, 4);
    put(file, T_STRUCT + 148, T_FUNC - TYPES, 4);
    put(file, T_STRUCT + 152, 0x40, 4);
    put(file, T_STRUCT + 156, 0x40, 4);
    put_type(file, T_POINTER, RDF_GO_POINTER, 8, 0, name_t);
    point(file, T_POINTER + 48, T_STRUCT);
    put_type(file, T_FUNC, RDF_GO_FUNC, 8, 0, name_other);
    put(file, T_FUNC + 48, 0x00010001, 4);
    point(file, T_FUNC + 56, T_INT64);
    point(file, T_FUNC + 64, T_MAP);
    put_type(file, T_INTERFACE, RDF_GO_INTERFACE, 16, 4, name_other);
    slice(file, T_INTERFACE + 56, T_INTERFACE + 80, 1);
    put(file, T_INTERFACE + 80, name_get, 4);
    put(file, T_INTERFACE + 84, T_FUNC - TYPES, 4);
    put_type(file, T_ARRAY, RDF_GO_ARRAY, 16, 0, name_other);
    point(file, T_ARRAY + 48, T_INT64);
    put(file, T_ARRAY + 64, 2, 8);
    put_type(file, T_MAP, RDF_GO_MAP, 8, 0, name_other);
    point(file, T_MAP + 48, T_INT64);
    point(file, T_MAP + 56, T_ARRAY);
}

static void put_module(struct file *file)
{
    const struct release *release = file->release;
    static const unsigned tables[] = {NAMES, UNITS, FILES, PCTAB, FUNCS, FUNCS};
    static const unsigned counts[] = {UNITS - NAMES, 4, PCTAB - FILES, FUNCS - PCTAB, 0x200, 4};
    memcpy(file->bytes + DATA, "\xff Go buildinf:\x08\x02", 16);
    put(file, DATA + 32, strlen(release->version), 1);
    memcpy(file->bytes + DATA + 33, release->version, strlen(release->version));
    point(file, MODULEDATA, PCLNTAB);
    for (unsigned i = 0; i < 6; i++)
        slice(file, MODULEDATA + 8 + i * 24, PCLNTAB + tables[i], counts[i]);
    static const unsigned words[][2] = {{20, TEXT}, {21, TEXT + 0x60}, {22, TEXT}, {23, TEXT + 0x60}};
    for (unsigned i = 0; i < 4; i++)
        point(file, MODULEDATA + words[i][0] * 8, words[i][1]);
    point(file, MODULEDATA + release->types * 8, TYPES);
    point(file, MODULEDATA + release->etypes * 8, ETYPES);
    point(file, MODULEDATA + release->gofunc * 8, GOFUNC);
    put(file, DYNAMIC, DT_RELA, 8);
    put(file, DYNAMIC + 8, RELA, 8);
    put(file, DYNAMIC + 16, DT_RELASZ, 8);
    put(file, DYNAMIC + 24, file->relocations * 24, 8);
}

/* ---- the questions ---- */

struct session {
    struct rdf_images images;
    const struct rdf_go *go;
    struct rdf_go_type type[8];
    unsigned type_count, visits;
};

static bool see_range(void *ctx, uint64_t start, uint64_t end, int32_t value)
{
    const struct rdf_go_func *func = ctx;
    (void)value;
    require(start >= func->entry && start < end && end <= func->end);
    return true;
}

static bool see_site(void *ctx, const struct rdf_go_site *site)
{
    require(site->name && site->caller && site->file);
    return ++((struct session *)ctx)->visits < 1000;
}

static void ask_type(struct session *session, uint64_t addr)
{
    struct rdf_go_type type;
    struct rdf_go_field field;
    struct rdf_go_method method;
    struct rdf_error err = {0};
    uint64_t param;
    if (rdf_go_type(&session->images, session->go, addr, &type, &err) != REDEFINE_OK) {
        require(err.sentence[0]);
        return;
    }
    require(type.name && type.kind > RDF_GO_INVALID && type.kind < RDF_GO_KINDS);
    for (uint32_t i = 0; i < 8; i++) {
        (void)rdf_go_type_field(&session->images, &type, i, &field, NULL);
        (void)rdf_go_type_param(&session->images, &type, i, &param, NULL);
        (void)rdf_go_type_method(&session->images, &type, i, &method, NULL);
    }
    session->type[session->type_count++] = type;
}

static enum rdf_visit see_name(void *ctx, struct rdf_image *image, const char *name, const char *readable,
                               uint64_t addr, bool is_ifunc)
{
    struct session *session = ctx;
    struct rdf_function function;
    struct rdf_error err = {0};
    (void)image, (void)readable, (void)is_ifunc;
    require(name);
    if (rdf_images_function(&session->images, addr, &function, &err) != REDEFINE_OK)
        require(err.sentence[0]);
    else
        require(function.start == addr && function.end > addr);
    return RDF_VISIT_TAKEN;
}

static void ask_functions(struct session *session)
{
    const struct rdf_go *go = session->go;
    uint32_t count = rdf_go_func_count(go);
    for (uint32_t i = 0; i < count && i < 64; i++) {
        struct rdf_go_func func;
        const char *file = NULL;
        uint32_t line;
        if (!rdf_go_func(go, i, &func))
            continue;
        require(func.name && func.entry < func.end && func.end <= rdf_go_text_end(go));
        for (int table = RDF_GO_SP; table <= RDF_GO_INL_INDEX; table++)
            (void)rdf_go_each_range(&func, (enum rdf_go_table)table, see_range, &func);
        if (rdf_go_line(&func, func.entry, &file, &line))
            require(file);
        (void)rdf_go_funcdata(&func, i);
    }
    size_t damaged;
    rdf_go_each_inlined(go, NULL, see_site, session, &damaged);
    rdf_go_inlined(&session->images, "main.nested", see_site, session);
    (void)rdf_go_each_call(&session->images, go, rdf_go_text(go) + 0x40, NULL, NULL);
}

static void ask_types(struct session *session)
{
    static const unsigned places[] = {T_INT64, T_STRUCT, T_POINTER, T_FUNC, T_INTERFACE, T_ARRAY, T_MAP};
    struct rdf_error err;
    session->type_count = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        ask_type(session, LAYOUT_BASE + places[i]);
    for (unsigned i = 0; i < session->type_count; i++) {
        for (unsigned j = 0; j < session->type_count; j++) {
            err = (struct rdf_error){0};
            if (rdf_go_same_layout(&session->images, &session->type[i], &session->type[j], &err) !=
                REDEFINE_OK)
                require(err.sentence[0] && (i != j || err.status == REDEFINE_ENOMEM));
        }
    }
}

static void ask(struct session *session)
{
    static const char *const names[] = {"main.main", "main.f[...]", "main.nested", "main.mane"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        uint64_t addr = 1;
        struct rdf_error err = {0};
        if (rdf_images_find(&session->images, names[i], &addr, &err) != REDEFINE_OK)
            require(addr == 1 && err.sentence[0]);
    }
    rdf_images_each(&session->images, "*", see_name, session);
    for (size_t i = 0; i < session->images.count; i++) {
        struct rdf_error err = {0};
        session->go = NULL;
        if (rdf_go_open(&session->images, session->images.image[i], &session->go, &err) != REDEFINE_OK) {
            require(!session->go && err.sentence[0]);
            continue;
        }
        ask_functions(session);
        ask_types(session);
    }
}

/* Types made at run time lie in memory that no snapshot of the mappings knows: the space says what it has. */
static int read_or_not(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len)
{
    return layout_holds(space->os, addr, len) ? layout_read(space, addr, ret_bytes, len) : -EFAULT;
}

/* `true_file`: nothing was edited, so there are answers to everything. */
static void run(struct file *file, const uint8_t *choice, bool true_file)
{
    struct layout layout;
    layout_init(&layout, file->bytes, sizeof file->bytes);
    layout.has_views = choice[1] & 1;
    layout.has_file = choice[1] & 2;
    layout.fail_at = choice[1] & 4 ? choice[1] >> 3 : 0;
    struct rdf_space_ops ops = layout_ops;
    ops.read = read_or_not;
    struct rdf_space space = {&ops, &layout};
    struct rdf_page_source source = {.get = layout_get, .put = layout_put, .ctx = &layout};
    struct rdf_arena arena;
    struct session session = {.visits = 0};
    struct rdf_error err = {0};
    rdf_arena_init(&arena, &source);
    if (rdf_images_load(&space, &rdf_arch_x86_64, &arena, &session.images, &err) == REDEFINE_OK) {
        ask(&session);
        require(!true_file || layout.fail_at || (session.go && session.type_count > 6));
        rdf_images_free(&session.images);
    }
    require(layout.files_open == 0);
    require(layout.pages_peak < PROPORTION_BYTES);
    rdf_arena_free(&arena);
    require(layout.pages_bytes == 0);
    layout_free(&layout);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct file file;
    if (size < 2)
        return 0;
    memset(&file, 0, sizeof file);
    file.release = &releases[data[0] % (sizeof releases / sizeof *releases)];
    file.relocated = data[0] & 0x80;
    put_headers(&file);
    put_pclntab(&file);
    put_types(&file);
    put_module(&file);
    for (size_t i = 2; i + 3 <= size; i += 3)
        file.bytes[(data[i] | data[i + 1] << 8) % FILE_BYTES] = data[i + 2];
    run(&file, data, size < 5);
    return 0;
}
