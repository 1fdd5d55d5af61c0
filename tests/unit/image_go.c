/* SPDX-License-Identifier: MIT
 *
 * Go's tables, of real programs: built by the newest Go and by Debian's, plain, stripped, position
 * independent, without inlining, for the race detector; read from the file and from the running process.
 * The symbol table of the file is the oracle for bounds, `go tool addr2line` for lines.
 */
#include "image_go.h"

#include "image/elf/go_internal.h"

struct way {
    const char *name;
    const char *options;
    bool is_stripped;
    bool inlines;
};

static const struct way ways[] = {
    {"plain", "", false, true},
    {"stripped", "-trimpath -ldflags='-s -w -buildid='", true, true},
    {"pie", "-buildmode=pie", false, true},
    {"without inlining", "-gcflags=all=-l", false, false},
    {"race", "-race", false, true},
};

struct fixture {
    const char *go;
    const struct way *way;
};

struct session {
    struct go_file file;
    struct loaded loaded;
    struct rdf_image *image;
    const struct rdf_go *go;
};

static const struct rdf_go *open_go(struct loaded *loaded)
{
    const struct rdf_go *go = NULL;
    if (rdf_go_open(&loaded->images, loaded->images.image[0], &go, &loaded->err) != REDEFINE_OK)
        fail_msg("%s", loaded->err.sentence);
    return go;
}

static void begin(struct session *session, const char *path)
{
    memset(session, 0, sizeof *session);
    go_read_file(&session->file, path);
    session->loaded.space = (struct rdf_space){&go_ops, &session->file};
    load_space(&session->loaded);
    assert_int_equal(session->loaded.images.count, 1);
    session->image = session->loaded.images.image[0];
    session->go = open_go(&session->loaded);
}

static void end(struct session *session)
{
    unload(&session->loaded);
    go_free_file(&session->file);
}

static struct rdf_go_func named(const struct rdf_go *go, const char *name)
{
    struct rdf_go_func func;
    if (!rdf_go_func_named(go, name, 0, &func))
        fail_msg("no function %s", name);
    return func;
}

/* ---- functions ---- */

static void check_names(const struct rdf_go *go, const struct way *way)
{
    static const char *const names[] = {
        "time.Now",      "main.main",         "main.(*counter).Inc", "main.main.func1",   "main.value.Get",
        "main.variadic", "runtime.morestack", "main.(*value).Get",   "main.generic[...]", "main.table.Len",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct rdf_go_func func = named(go, names[i]), same;
        assert_true(rdf_go_func_at(go, func.entry, &same) && same.index == func.index);
        assert_true(rdf_go_func_at(go, func.end - 1, &same) && same.index == func.index);
        assert_true(!rdf_go_func_at(go, func.end, &same) || same.index == func.index + 1);
    }
    assert_false(named(go, "main.value.Get").is_wrapper);
    assert_true(named(go, "main.(*value).Get").is_wrapper);
    assert_true(named(go, "main.(*counter).Inc-fm").is_wrapper);
    assert_true(named(go, "runtime.memmove").flags & RDF_GO_ASM || !named(go, "runtime.memmove").flags);
    assert_true(named(go, "runtime.goexit").flags & RDF_GO_TOP_FRAME);
    struct rdf_go_func func;
    assert_int_equal(rdf_go_func_named(go, "main.gone", 0, &func), !way->inlines);
    assert_false(rdf_go_func_named(go, "main.generic", 0, &func));
    assert_true(rdf_go_name_matches("gopkg.in/yaml.v2.F", "gopkg.in/yaml%2ev2.F"));
    assert_true(rdf_go_name_matches("main.F[...].func1", "main.F[go.shape.[]int].func1"));
    assert_false(rdf_go_name_matches("main.F[...]", "main.F[go.shape.[]int].func1"));
    assert_false(rdf_go_name_matches("main.F[...]", "main.F[go.shape.[]int"));
}

struct coverage {
    uint64_t at;
    bool gap;
};

static bool cover(void *ctx, uint64_t start, uint64_t range_end, int32_t value)
{
    struct coverage *coverage = ctx;
    (void)value;
    coverage->gap |= start != coverage->at || range_end <= start;
    coverage->at = range_end;
    return true;
}

/* Every function can be read, and its tables say something of each of its bytes. */
static void check_tables(const struct rdf_go *go)
{
    unsigned with_lines = 0;
    for (uint32_t i = 0; i < rdf_go_func_count(go); i++) {
        struct rdf_go_func func;
        if (!rdf_go_func(go, i, &func))
            fail_msg("function %u of %u cannot be read", i, rdf_go_func_count(go));
        struct coverage coverage = {func.entry, false};
        int32_t depth;
        if (!rdf_go_value(&func, RDF_GO_LINE, func.entry, &depth))
            continue;
        with_lines++;
        assert_true(rdf_go_each_range(&func, RDF_GO_LINE, cover, &coverage));
        if (coverage.gap || coverage.at != func.end)
            fail_msg("%s: lines up to %lx of %lx", func.name, (long)coverage.at, (long)func.end);
        if (rdf_go_value(&func, RDF_GO_SP, func.entry, &depth))
            assert_int_equal(depth, 0);
    }
    assert_true(with_lines > 1000);
}

/* Symbols of the Go text that have a size: our bounds are the linker's. */
static void check_bounds_by_symbols(struct session *session)
{
    Elf64_Ehdr header;
    memcpy(&header, session->file.bytes, sizeof header);
    unsigned compared = 0;
    for (unsigned i = 0; i < header.e_shnum; i++) {
        Elf64_Shdr section;
        memcpy(&section, session->file.bytes + header.e_shoff + i * sizeof section, sizeof section);
        for (uint64_t at = 0; section.sh_type == SHT_SYMTAB && at < section.sh_size;
             at += sizeof(Elf64_Sym)) {
            Elf64_Sym symbol;
            struct rdf_go_func func;
            memcpy(&symbol, session->file.bytes + section.sh_offset + at, sizeof symbol);
            uint64_t addr = symbol.st_value + rdf_image_bias(session->image);
            if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || !symbol.st_size ||
                !rdf_go_func_at(session->go, addr, &func) || func.entry != addr)
                continue;
            int32_t line;
            if (!rdf_go_value(&func, RDF_GO_LINE, addr, &line))
                continue; /* C code that was linked in has no table that tells its end */
            if (func.end - func.entry != symbol.st_size)
                fail_msg("%s has %lu bytes, not %lu", func.name, (long)symbol.st_size,
                         (long)(func.end - func.entry));
            compared++;
        }
    }
    assert_true(compared > 1000);
}

/* A sample of PCs, the same file and line as Go's own tool finds. */
static void check_lines_by_tool(struct session *session, const char *go, const char *path)
{
    char command[2048], name[600];
    snprintf(name, sizeof name, "%s.pcs", path);
    FILE *pcs = fopen(name, "w");
    assert_non_null(pcs);
    enum { SAMPLES = 200 };
    uint64_t pc[SAMPLES], text = rdf_go_text(session->go), bytes = rdf_go_text_end(session->go) - text;
    unsigned count = 0;
    for (unsigned i = 0; count < SAMPLES && i < 20 * SAMPLES; i++) {
        struct rdf_go_func func;
        const char *file;
        uint32_t line;
        uint64_t at = text + (i * UINT64_C(2654435761)) % bytes;
        if (!rdf_go_func_at(session->go, at, &func) || !rdf_go_line(&func, at, &file, &line))
            continue;
        pc[count++] = at;
        fprintf(pcs, "0x%lx\n", (long)(at - rdf_image_bias(session->image)));
    }
    fclose(pcs);
    snprintf(command, sizeof command, "GOTOOLCHAIN=local %s tool addr2line %s <%s", go, path, name);
    FILE *tool = popen(command, "r");
    assert_non_null(tool);
    for (unsigned i = 0; i < count; i++) {
        char function[8192], place[4096], ours[4096];
        struct rdf_go_func func;
        const char *file;
        uint32_t line;
        assert_non_null(fgets(function, sizeof function, tool));
        assert_non_null(fgets(place, sizeof place, tool));
        assert_true(rdf_go_func_at(session->go, pc[i], &func) && rdf_go_line(&func, pc[i], &file, &line));
        snprintf(ours, sizeof ours, "%s:%u\n", file, line);
        if (strcmp(place, ours) != 0)
            fail_msg("0x%lx in %s: %sis not %s", (long)pc[i], func.name, ours, place);
    }
    pclose(tool);
}

/* ---- inlined copies ---- */

struct sites {
    struct rdf_go_site site[16];
    size_t count;
};

static bool keep_site(void *ctx, const struct rdf_go_site *site)
{
    struct sites *sites = ctx;
    if (sites->count < 16)
        sites->site[sites->count] = *site;
    sites->count++;
    return true;
}

static const struct rdf_go_site *site_at(const struct sites *sites, uint32_t line)
{
    for (size_t i = 0; i < sites->count && i < 16; i++)
        if (sites->site[i].line == line)
            return &sites->site[i];
    fail_msg("no copy that is called in line %u among %zu", line, sites->count);
    return NULL;
}

static void check_inlined(struct session *session, const struct way *way)
{
    struct sites gone = {.count = 0}, outer = {.count = 0};
    size_t damaged = 1;
    rdf_go_each_inlined(session->go, "main.gone", keep_site, &gone, &damaged);
    assert_int_equal(damaged, 0);
    rdf_go_inlined(&session->loaded.images, "main.outer", keep_site, &outer);
    if (!way->inlines) {
        assert_int_equal(gone.count + outer.count, 0);
        return;
    }
    assert_int_equal(gone.count, 3);
    static const char *const lines[] = {"first", "second", "nested"};
    for (size_t i = 0; i < 3; i++) {
        const struct rdf_go_site *site = site_at(&gone, go_line_at(lines[i]));
        assert_string_equal(site->name, "main.gone");
        assert_string_equal(site->func.name, "main.caller");
        assert_string_equal(site->caller, i == 2 ? "main.outer" : "main.caller");
        assert_non_null(strstr(site->file, "main.go"));
        assert_true(site->pc >= site->func.entry && site->pc < site->func.end && site->bytes);
    }
    assert_int_equal(outer.count, 1);
    assert_int_equal(outer.site[0].line, go_line_at("outer"));
    assert_int_equal(find(&session->loaded, "main.gone"), 0);
    assert_says(&session->loaded.err, REDEFINE_EINLINED, "main.caller (main.go:");
    assert_says(&session->loaded.err, REDEFINE_EINLINED, "-gcflags=-l");
    /* All of them, in every function: each tree can be read. */
    struct sites all = {.count = 0};
    rdf_go_each_inlined(session->go, NULL, keep_site, &all, &damaged);
    assert_int_equal(damaged, 0);
    assert_true(all.count > 1000);
}

/* ---- types ---- */

/* The only descriptor of that name, wherever it lies among the module's types. */
static struct rdf_go_type type_named(struct session *session, const char *name)
{
    const struct rdf_go *go = session->go;
    struct rdf_go_type type, found;
    size_t count = 0;
    for (uint64_t addr = go->types & ~UINT64_C(7); addr < go->etypes; addr += 8) {
        if (rdf_go_type_read(&session->loaded.images, go, addr, &type, NULL) != REDEFINE_OK)
            continue;
        struct rdf_span text = rdf_go_type_name(go, &type);
        if (text.len_bytes != strlen(name) || memcmp(text.data, name, text.len_bytes) != 0)
            continue;
        assert_int_equal(rdf_go_type(&session->loaded.images, go, addr, &found, NULL), REDEFINE_OK);
        assert_string_equal(found.name, name);
        count++;
    }
    assert_int_equal(count, 1);
    return found;
}

static void check_methods(struct session *session)
{
    struct rdf_images *images = &session->loaded.images;
    struct rdf_go_type type = type_named(session, "*main.value");
    struct rdf_go_method method;
    assert_int_equal(type.method_count, 1);
    assert_int_equal(rdf_go_type_method(images, &type, 0, &method, NULL), REDEFINE_OK);
    assert_string_equal(method.name, "Get");
    assert_int_equal(method.code, named(session->go, "main.(*value).Get").entry);
    type = type_named(session, "main.table");
    assert_int_equal(type.kind, RDF_GO_MAP);
    assert_int_equal(rdf_go_type_method(images, &type, 0, &method, NULL), REDEFINE_OK);
    assert_string_equal(method.name, "Len");
    assert_int_equal(method.code, named(session->go, "main.table.Len").entry);
    type = type_named(session, "main.getter");
    assert_int_equal(type.method_count, 1);
    assert_int_equal(rdf_go_type_method(images, &type, 0, &method, NULL), REDEFINE_OK);
    assert_string_equal(method.name, "Get");
    assert_int_not_equal(rdf_go_type_method(images, &type, 1, &method, NULL), REDEFINE_OK);
}

static void check_types(struct session *session)
{
    struct rdf_images *images = &session->loaded.images;
    struct rdf_go_type type = type_named(session, "main.doubleCounter");
    struct rdf_go_field field;
    assert_int_equal(type.kind, RDF_GO_STRUCT);
    assert_int_equal(type.size_bytes, 8);
    assert_int_equal(type.align, 4);
    assert_true(type.is_named);
    assert_int_equal(type.field_count, 2);
    assert_int_equal(rdf_go_type_field(images, &type, 1, &field, NULL), REDEFINE_OK);
    assert_string_equal(field.name, "A");
    assert_int_equal(field.offset_bytes, 4);
    assert_int_equal(rdf_go_type(images, session->go, field.type, &type, NULL), REDEFINE_OK);
    assert_string_equal(type.name, "int32");
    type = type_named(session, "func(string, ...int) (int, error)");
    assert_int_equal(type.in_count, 2);
    assert_int_equal(type.out_count, 2);
    assert_true(type.is_variadic);
    uint64_t param;
    assert_int_equal(rdf_go_type_param(images, &type, 1, &param, NULL), REDEFINE_OK);
    assert_int_equal(rdf_go_type(images, session->go, param, &type, NULL), REDEFINE_OK);
    assert_string_equal(type.name, "[]int");
    assert_int_not_equal(rdf_go_type(images, session->go, rdf_go_text(session->go) + 1, &type, NULL),
                         REDEFINE_OK);
    assert_int_not_equal(rdf_go_type(images, session->go, 16, &type, NULL), REDEFINE_OK);
}

static redefine_status same_layout(struct session *session, const char *a, const char *b,
                                   struct rdf_error *err)
{
    struct rdf_go_type type_a = type_named(session, a), type_b = type_named(session, b);
    memset(err, 0, sizeof *err);
    return rdf_go_same_layout(&session->loaded.images, &type_a, &type_b, err);
}

static void check_layouts(struct session *session)
{
    struct rdf_error err;
    assert_int_equal(same_layout(session, "main.counter", "main.otherCounter", &err), REDEFINE_OK);
    assert_int_equal(same_layout(session, "*main.counter", "*main.otherCounter", &err), REDEFINE_OK);
    assert_int_equal(same_layout(session, "*main.list", "*main.sameList", &err), REDEFINE_OK);
    assert_int_equal(same_layout(session, "*main.counter", "*main.doubleCounter", &err), REDEFINE_ETYPE);
    assert_says(
        &err, REDEFINE_ETYPE,
        "main.counter (8 bytes) and main.doubleCounter (8 bytes) are laid out differently: at offset 0 "
        "the one has A int64, the other someOtherField int32");
    assert_says(&err, REDEFINE_ETYPE, "A int64                      someOtherField int32   <- here");
    assert_says(&err, REDEFINE_ETYPE, "\n     4                               A int32");
    assert_int_equal(same_layout(session, "*main.list", "*main.otherList", &err), REDEFINE_ETYPE);
    assert_says(&err, REDEFINE_ETYPE, "main.doubleCounter");
    assert_int_equal(same_layout(session, "main.counter", "main.list", &err), REDEFINE_ETYPE);
    assert_int_equal(same_layout(session, "func(string, ...int) (int, error)", "func()", &err),
                     REDEFINE_ETYPE);
    assert_int_equal(same_layout(session, "main.getter", "main.lener", &err), REDEFINE_ETYPE);
    assert_int_equal(same_layout(session, "main.table", "main.counter", &err), REDEFINE_ETYPE);
}

/* ---- through the questions that are asked of any image ---- */

struct listed {
    unsigned count;
    bool has_now;
};

static enum rdf_visit count_name(void *ctx, struct rdf_image *image, const char *name, const char *readable,
                                 uint64_t addr, bool is_ifunc)
{
    struct listed *listed = ctx;
    (void)image, (void)readable, (void)addr, (void)is_ifunc;
    listed->count++;
    listed->has_now |= strcmp(name, "time.Now") == 0;
    return RDF_VISIT_TAKEN;
}

static void check_images(struct session *session)
{
    struct rdf_images *images = &session->loaded.images;
    struct rdf_go_func now = named(session->go, "time.Now");
    struct rdf_function function;
    struct rdf_error err = {0};
    assert_int_equal(find(&session->loaded, "time.Now"), now.entry);
    assert_int_equal(find(&session->loaded, "program!time.Now"), now.entry);
    assert_int_equal(find(&session->loaded, "time.Now@time.go"), now.entry);
    assert_int_equal(find(&session->loaded, "main.value.Get"), named(session->go, "main.value.Get").entry);
    /* In assembly, with a wrapper of the same name that Go code calls. */
    struct rdf_go_func assembly, wrapper;
    assert_true(rdf_go_func_at(session->go, find(&session->loaded, "runtime.asmcgocall"), &assembly));
    assert_true((assembly.flags & RDF_GO_ASM) && !assembly.is_wrapper);
    wrapper = named(session->go, "runtime.asmcgocall");
    assert_true(wrapper.index != assembly.index ||
                rdf_go_func_named(session->go, "runtime.asmcgocall", wrapper.index + 1, &wrapper));
    assert_true(wrapper.is_wrapper);
    assert_int_equal(find(&session->loaded, "time.Nov"), 0);
    assert_says(&session->loaded.err, REDEFINE_ENOTFOUND, "did you mean time.Now");
    assert_int_equal(find(&session->loaded, "main.generic[...]"), 0);
    assert_says(&session->loaded.err, REDEFINE_EAMBIGUOUS, "names 2 functions");
    assert_int_equal(rdf_images_function(images, now.entry, &function, &err), REDEFINE_OK);
    assert_int_equal(function.source, RDF_BOUNDS_GO);
    assert_int_equal(function.end, now.end);
    assert_string_equal(function.name, "time.Now");
    assert_true(rdf_images_next_start(images, &function) >= now.end);
    assert_int_equal(rdf_images_start_of(images, now.entry + 5), now.entry);
    assert_int_equal(rdf_images_function(images, now.entry + 4, &function, &err), REDEFINE_EINVAL);
    assert_says(&err, REDEFINE_EINVAL, "0x4 bytes inside time.Now");
    char text[256];
    rdf_images_describe(images, now.entry + 4, text, sizeof text);
    assert_string_equal(text, "time.Now+0x4 in program");
    struct listed all = {0}, some = {0};
    rdf_images_each(images, "*", count_name, &all);
    rdf_images_each(images, "time.*", count_name, &some);
    assert_true(all.has_now && some.has_now && some.count < all.count);
    assert_true(all.count > 1000);
}

static void check_calls(struct session *session, const struct way *way)
{
    struct rdf_images *images = &session->loaded.images;
    uint64_t inc = named(session->go, "main.(*counter).Inc").entry;
    assert_int_equal(rdf_go_each_call(images, session->go, inc, NULL, NULL), 2); /* and by its -fm wrapper */
    if (!way->inlines)
        assert_int_equal(rdf_go_each_call(images, session->go, named(session->go, "main.gone").entry, NULL,
                                          NULL),
                         3);
}

static void test_program(void **state)
{
    const struct fixture *fixture = *state;
    struct session session;
    char release[64], name[96];
    snprintf(release, sizeof release, "%s", go_release(fixture->go));
    if (!release[0]) {
        print_message("# SKIP %s is not installed\n", fixture->go);
        skip();
    }
    snprintf(name, sizeof name, "%s-%d", release, (int)(fixture->way - ways));
    const char *path = go_build(fixture->go, name, fixture->way->options);
    if (!path) {
        print_message("# SKIP %s cannot build %s here\n", release, fixture->way->options);
        skip();
    }
    begin(&session, path);
    assert_string_equal(rdf_go_version(session.go), release);
    check_names(session.go, fixture->way);
    check_tables(session.go);
    if (!fixture->way->is_stripped) {
        check_bounds_by_symbols(&session);
        if (!rdf_image_bias(session.image)) /* Go 1.19's tool cannot do the others */
            check_lines_by_tool(&session, fixture->go, path);
    }
    struct rdf_go_func main_func = named(session.go, "main.main");
    const char *file;
    uint32_t line;
    assert_true(rdf_go_line(&main_func, main_func.entry, &file, &line));
    assert_int_equal(line, go_line_at("main"));
    assert_true(main_func.start_line == line || (main_func.start_line == 0 && session.go->minor < 20));
    check_inlined(&session, fixture->way);
    check_types(&session);
    check_methods(&session);
    check_layouts(&session);
    check_images(&session);
    check_calls(&session, fixture->way);
    end(&session);
}

/* ---- where the file does not help ---- */

/* The same without section headers, and without views of the memory: what is read is copied. */
static void test_without_sections(void **state)
{
    const char *path = go_build(*state, "sections", "-ldflags='-s -w'");
    struct session session;
    if (!path) {
        print_message("# SKIP %s is not installed\n", (const char *)*state);
        skip();
    }
    go_read_file(&session.file, path);
    session.file.has_file = session.file.has_views = false;
    session.loaded.space = (struct rdf_space){&go_ops, &session.file};
    load_space(&session.loaded);
    session.image = session.loaded.images.image[0];
    session.go = open_go(&session.loaded);
    check_types(&session);
    check_layouts(&session);
    check_images(&session);
    end(&session);
}

/* A process: addresses that the program itself knows mean the same here. */
static void test_process(void **state)
{
    if (is_emulated()) {
        print_message("# under an emulator no other program can be started\n");
        skip();
    }
    const char *path = go_build(*state, "process", "-buildmode=pie");
    struct remote remote = {0};
    int in[2], err[2];
    if (!path) {
        print_message("# SKIP %s is not installed\n", (const char *)*state);
        skip();
    }
    assert_true(pipe2(in, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0);
    remote.pid = fork();
    if (remote.pid == 0) {
        dup2(in[0], 0);
        dup2(err[1], 2);
        execl(path, path, "wait", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(err[1]);
    remote.input = in[1];
    remote.output = fdopen(err[0], "r");
    unsigned long type_addr, code;
    assert_int_equal(fscanf(remote.output, "%lu %lu", &type_addr, &code), 2);
    struct loaded loaded = {.space = {&remote_ops, &remote}};
    load_space(&loaded);
    const struct rdf_go *go = open_go(&loaded);
    struct rdf_go_type type;
    struct rdf_go_func func;
    assert_int_equal(rdf_go_type(&loaded.images, go, type_addr, &type, &loaded.err), REDEFINE_OK);
    assert_string_equal(type.name, "*main.counter");
    assert_true(rdf_go_func_at(go, code, &func) && func.entry == code);
    assert_string_equal(func.name, "main.main.func2");
    assert_ptr_equal(rdf_go_at(&loaded.images, code), go);
    assert_null(rdf_go_at(&loaded.images, type_addr));
    unload(&loaded);
    stop_program(&remote);
}

/* ---- what is not believed ---- */

static uint8_t *find_text(struct go_file *file, const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < file->map_count; i++)
        for (size_t off = 0; off + len <= file->map[i].end - file->map[i].start; off++)
            if (memcmp(file->memory[i] + off, text, len) == 0)
                return file->memory[i] + off;
    fail_msg("%s is not there", text);
    return NULL;
}

static void refuse(struct session *session, const char *part)
{
    const struct rdf_go *go = NULL;
    struct rdf_error err = {0};
    load_space(&session->loaded);
    assert_true(rdf_go_is_go(&session->loaded.images, session->loaded.images.image[0]));
    assert_int_equal(rdf_go_open(&session->loaded.images, session->loaded.images.image[0], &go, &err),
                     REDEFINE_EUNSUPPORTED);
    assert_null(go);
    assert_says(&err, REDEFINE_EUNSUPPORTED, part);
    assert_int_equal(find(&session->loaded, "time.Now"), 0);
    assert_says(&session->loaded.err, REDEFINE_EUNSUPPORTED, part);
    unload(&session->loaded);
}

static void test_refusals(void **state)
{
    const char *path = go_build(*state, "refusals", "-ldflags='-s -w'");
    struct session session;
    if (!path) {
        print_message("# SKIP %s is not installed\n", (const char *)*state);
        skip();
    }
    begin(&session, path);
    uint64_t moduledata = session.go->moduledata;
    unload(&session.loaded);
    uint8_t *info = find_text(&session.file, "\xff Go buildinf:");
    char saved[8];
    memcpy(saved, info + 33 + 4, 2);
    memcpy(info + 33 + 4, "99", 2);
    refuse(&session, "whose tables are not known here: Go 1.19 to 1.27 are");
    memcpy(info + 33 + 4, saved, 2);
    info[15] = 0;
    refuse(&session, "older than 1.18");
    info[15] = 2;
    info[32] = 0xff;
    refuse(&session, "is damaged");
    info[32] = (uint8_t)strlen(go_release(*state));
    /* Each word that both tables have. */
    for (unsigned word = 0; word < 24; word++) {
        if (word == 19) /* findfunctab: not read here */
            continue;
        uint8_t *at = go_memory(&session.file, moduledata + (uint64_t)word * 8, 8);
        at[1] ^= 0x40;
        const struct rdf_go *go = NULL;
        struct rdf_error err = {0};
        load_space(&session.loaded);
        redefine_status status = rdf_go_open(&session.loaded.images, session.loaded.images.image[0], &go,
                                             &err);
        /* How long a slice is, and the text, is told once only: but for the list of functions. */
        bool may = (word >= 1 && word <= 18 && word % 3 != 1 && word != 17) || word == 23;
        if (status == REDEFINE_OK && !may)
            fail_msg("word %u of moduledata can be anything", word);
        if (status != REDEFINE_OK)
            assert_says(&err, REDEFINE_EUNSUPPORTED, "no runtime.moduledata that agrees with it");
        unload(&session.loaded);
        at[1] ^= 0x40;
    }
    load_space(&session.loaded);
    session.go = open_go(&session.loaded);
    end(&session);
}

/* The flag names the package as the go command knows it, whatever the linker makes of its path. */
static void test_flags(void **state)
{
    static const struct {
        const char *name, *main_package, *flag;
    } cases[] = {
        {"time.Now", "", "-gcflags=time=-l"},
        {"net/http.(*Client).Do", "", "-gcflags=net/http=-l"},
        {"gopkg.in/yaml%2ev2.Marshal", "", "-gcflags=gopkg.in/yaml.v2=-l"},
        {"slices.SortFunc[go.shape.[]example.com/a.T,go.shape.int]", "", "-gcflags=slices=-l"},
        {"example.com/m/list.(*List[go.shape.int]).Push", "", "-gcflags=example.com/m/list=-l"},
        {"main.main.func1", "", "-gcflags=-l"},
        {"main.(*counter).Inc", "example.com/m/cmd/x", "-gcflags=example.com/m/cmd/x=-l"},
        {"maintenance.Do", "", "-gcflags=maintenance=-l"},
    };
    char flag[128];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rdf_go_inlining_flag(cases[i].name, cases[i].main_package, flag, sizeof flag);
        assert_string_equal(flag, cases[i].flag);
    }
}

/* A program that is no Go program has none of this, and says so. */
static void test_other_programs(void **state)
{
    struct loaded loaded;
    const struct rdf_go *go = NULL;
    struct rdf_error err = {0};
    (void)state;
    load_self(&loaded);
    for (size_t i = 0; i < loaded.images.count; i++)
        assert_false(rdf_go_is_go(&loaded.images, loaded.images.image[i]));
    assert_int_equal(rdf_go_open(&loaded.images, loaded.images.image[0], &go, &err), REDEFINE_ENOTFOUND);
    assert_says(&err, REDEFINE_ENOTFOUND, "holds no Go code");
    assert_null(rdf_go_at(&loaded.images, address((const void *)(uintptr_t)test_other_programs)));
    unload(&loaded);
}

int main(void)
{
    enum { WAYS = sizeof ways / sizeof *ways, MOST = 8 * (WAYS + 3) };
    static struct fixture fixtures[MOST];
    static char names[MOST][128], list[1024];
    static struct CMUnitTest tests[MOST + 2];
    const char *commands[8] = {go_commands[0], go_commands[1]};
    size_t count = 0, used = 0, command_count = 2;
    snprintf(list, sizeof list, "%s", getenv("GO_TOOLCHAINS") ? getenv("GO_TOOLCHAINS") : "");
    for (char *go = strtok(list, " "); go && command_count < 8; go = strtok(NULL, " "))
        commands[command_count++] = go;
    for (size_t i = 0; i < command_count; i++) {
        for (size_t j = 0; j < WAYS; j++) {
            fixtures[used] = (struct fixture){commands[i], &ways[j]};
            snprintf(names[count], sizeof names[count], "%s: %s", commands[i], ways[j].name);
            tests[count] = (struct CMUnitTest){names[count], test_program, NULL, NULL, &fixtures[used++]};
            count++;
        }
        static const struct {
            const char *name;
            CMUnitTestFunction run;
        } others[] = {{"no sections, no views", test_without_sections},
                      {"a process", test_process},
                      {"refusals", test_refusals}};
        for (size_t j = 0; j < 3; j++) {
            snprintf(names[count], sizeof names[count], "%s: %s", commands[i], others[j].name);
            tests[count] = (struct CMUnitTest){names[count], others[j].run, NULL, NULL,
                                               (void *)(uintptr_t)commands[i]};
            count++;
        }
    }
    tests[count++] = (struct CMUnitTest){"other programs", test_other_programs, NULL, NULL, NULL};
    tests[count++] = (struct CMUnitTest){"flags", test_flags, NULL, NULL, NULL};
    return run_group("image_go", tests, count);
}
