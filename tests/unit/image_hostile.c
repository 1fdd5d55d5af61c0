/* SPDX-License-Identifier: MIT
 *
 * Objects that lie: truncated, with cycles, with counts that cannot be, in spaces that refuse memory. And
 * objects of the other CPU, which this one cannot run but must be able to read.
 */
#include "image_common.h"

#include "image_layout.h"
#include "image/elf/internal.h"

struct object {
    uint8_t *bytes;
    size_t len;
};

static struct object read_object(const char *path)
{
    static uint8_t buffer[1 << 20];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t len = fread(buffer, 1, sizeof buffer, file);
    fclose(file);
    struct object object = {malloc(len), len}; /* exactly as long: a sanitizer sees what is read behind */
    memcpy(object.bytes, buffer, len);
    return object;
}

static struct object make_object(const char *compiler, const char *name, const char *options)
{
    char all[512];
    snprintf(all, sizeof all, "-fPIC -nostdlib -Wl,-z,noseparate-code -Wl,-z,max-page-size=4096 %s", options);
    return read_object(compile(compiler, name, "image_a.c image_b.c", all));
}

struct session {
    struct layout layout;
    struct rdf_space space;
    struct rdf_page_source source;
    struct rdf_arena arena;
    struct rdf_images images;
    struct rdf_error err;
};

static void lay_out(struct session *session, struct object object)
{
    memset(session, 0, sizeof *session);
    layout_init(&session->layout, object.bytes, object.len);
    layout_relocate_slots(&session->layout);
    session->space = (struct rdf_space){&layout_ops, &session->layout};
    session->source = (struct rdf_page_source){.get = layout_get, .put = layout_put, .ctx = &session->layout};
}

static redefine_status load(struct session *session, const struct rdf_arch *arch)
{
    rdf_arena_init(&session->arena, &session->source);
    return rdf_images_load(&session->space, arch, &session->arena, &session->images, &session->err);
}

static void end(struct session *session)
{
    rdf_images_free(&session->images);
    rdf_arena_free(&session->arena);
    assert_int_equal(session->layout.files_open, 0);
    assert_int_equal(session->layout.pages_bytes, 0);
    layout_free(&session->layout);
}

static uint64_t name_in(struct session *session, const char *name)
{
    uint64_t addr = 0;
    memset(&session->err, 0, sizeof session->err);
    (void)rdf_images_find(&session->images, name, &addr, &session->err);
    return addr;
}

/* The `nth` program header of a type, or dynamic entry of a tag, in memory, to be changed. */
static Elf64_Phdr *header_of(struct session *session, uint32_t type)
{
    Elf64_Ehdr *elf = (Elf64_Ehdr *)layout_at(&session->layout, LAYOUT_BASE, sizeof *elf);
    Elf64_Phdr *program = (Elf64_Phdr *)(session->layout.memory + elf->e_phoff);
    for (unsigned i = 0; i < elf->e_phnum; i++)
        if (program[i].p_type == type)
            return &program[i];
    fail_msg("no program header %u", type);
    return NULL;
}

static Elf64_Dyn *dynamic_of(struct session *session, int64_t tag)
{
    Elf64_Dyn *entry = (Elf64_Dyn *)(session->layout.memory + header_of(session, PT_DYNAMIC)->p_vaddr);
    for (; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == tag)
            return entry;
    fail_msg("no dynamic entry %ld", (long)tag);
    return NULL;
}

static void check_whole(struct session *session, const struct rdf_arch *arch)
{
    assert_int_equal(load(session, arch), REDEFINE_OK);
    assert_int_equal(session->images.count, 1);
    uint64_t exported = name_in(session, "fixture_exported"), b = name_in(session, "fixture_b");
    assert_true(exported && b);
    assert_true(name_in(session, "laid-out.so!only_in_a") != 0);
    assert_int_equal(name_in(session, "twin"), 0);
    assert_int_equal(session->err.status, REDEFINE_EAMBIGUOUS);
    struct rdf_function function;
    assert_int_equal(rdf_images_function(&session->images, exported, &function, &session->err), REDEFINE_OK);
    assert_int_equal(function.source, RDF_BOUNDS_UNWIND);
    assert_string_equal(function.name, "fixture_exported");
    /* Every address in code: where a stub leads to fixture_b, it is one. */
    unsigned stubs = 0, ifuncs = 0, halves = arch->elf_machine == EM_X86_64 ? 2 : 1;
    for (size_t i = 0; i < session->layout.map_count; i++) {
        const struct rdf_map *map = &session->layout.map[i];
        for (uint64_t at = map->start; (map->prot & RDF_PROT_EXEC) && at < map->end;
             at += arch->insn_align_bytes) {
            uint64_t to = at;
            struct rdf_error err = {0};
            (void)rdf_images_follow(&session->images, at, &to, &err);
            stubs += to == b && at != b;
            ifuncs += to != at && to != b;
        }
    }
    assert_int_equal(stubs, halves); /* on x86-64 the lazy half leads there too */
    assert_true(ifuncs >= 1);
}

static void test_laid_out(void **state)
{
    (void)state;
    struct session session;
    struct object object = make_object("cc", "whole.so", "-shared -Wl,-z,lazy");
    for (int views = 0; views < 2; views++) {
        lay_out(&session, object);
        session.layout.has_views = views;
        check_whole(&session, rdf_arch_native());
        end(&session);
    }
    free(object.bytes);
}

/* Without a file there are no sections: what is a stub is told by other evidence. */
static void test_without_sections(void **state)
{
    (void)state;
    struct session session;
    struct object object = make_object("cc", "tail.so", "-shared -s -fno-plt");
    lay_out(&session, object);
    session.layout.has_file = false;
    assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
    /* fixture_tail is exported; without its symbol only its unwind range shows that it is a function. */
    uint64_t tail = name_in(&session, "fixture_tail"), to = 0;
    assert_true(tail != 0);
    end(&session);
    lay_out(&session, object);
    session.layout.has_file = false;
    dynamic_of(&session, DT_SYMTAB)->d_un.d_val = 0;
    assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
    assert_int_equal(name_in(&session, "fixture_tail"), 0);
    assert_int_equal(rdf_images_follow(&session.images, tail, &to, &session.err), REDEFINE_OK);
    assert_int_equal(to, tail);
    end(&session);
    free(object.bytes);

    object = make_object("cc", "lazy-plt.so", "-shared -Wl,-z,lazy");
    lay_out(&session, object);
    assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
    uint64_t b = name_in(&session, "fixture_b"), stub = 0;
    for (uint64_t at = LAYOUT_BASE; at < LAYOUT_BASE + 0x2000 && !stub; at += 4)
        if (rdf_images_follow(&session.images, at, &to, NULL) == REDEFINE_OK && to == b && at != b)
            stub = at;
    assert_true(stub != 0);
    end(&session);
    lay_out(&session, object);
    session.layout.has_file = false;
    assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
    assert_int_equal(rdf_images_follow(&session.images, stub, &to, &session.err), REDEFINE_OK);
    assert_int_equal(to, b);
    end(&session);
    free(object.bytes);
}

static void test_other_cpu(void **state)
{
    (void)state;
    if (system("command -v aarch64-linux-gnu-gcc >/dev/null") != 0) {
        print_message("# SKIP no aarch64-linux-gnu-gcc\n");
        skip();
    }
    static const char *const options[] = {
        "-shared -Wl,-z,lazy", "-shared -Wl,-z,lazy -mbranch-protection=standard -Wl,-z,force-bti"};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        struct session session;
        struct object object = make_object("aarch64-linux-gnu-gcc", "whole-aarch64.so", options[i]);
        lay_out(&session, object);
        struct rdf_arch words = *rdf_arch_native(); /* stubs are read by words: no decoder is asked */
        words.elf_machine = EM_AARCH64;
        words.insn_align_bytes = 4;
        check_whole(&session, &words);
        assert_int_equal(session.images.image[0]->machine, EM_AARCH64);
        end(&session);
        free(object.bytes);
    }
}

/* Everything that can be asked, for the sanitizers and for the checks in the layout itself. */
static void ask_everything(struct session *session)
{
    static const char *const name[] = {"fixture_exported",    "twin",          "twin@image_a.c",
                                       "laid-out.so!nothing", "fixture_b@V_1", "a::b(int)"};
    if (load(session, rdf_arch_native()) != REDEFINE_OK)
        return;
    for (size_t i = 0; i < sizeof name / sizeof *name; i++)
        (void)name_in(session, name[i]);
    for (size_t i = 0; i < session->layout.map_count; i++) {
        for (uint64_t at = session->layout.map[i].start; at < session->layout.map[i].end; at += 61) {
            struct rdf_function function;
            struct rdf_error err = {0};
            uint64_t to;
            if (rdf_images_function(&session->images, at, &function, &err) == REDEFINE_OK)
                assert_true(function.start == at && function.end > at &&
                            rdf_images_next_start(&session->images, &function) >= function.end);
            (void)rdf_images_follow(&session->images, at, &to, NULL);
        }
    }
}

static void test_truncated(void **state)
{
    (void)state;
    struct object object = make_object("cc", "cut.so", "-shared -Wl,-z,lazy");
    for (size_t len = 0; len < object.len; len += len < 1024 ? 7 : 131) {
        struct session session;
        struct object cut = {malloc(len ? len : 1), len};
        memcpy(cut.bytes, object.bytes, len);
        lay_out(&session, cut);
        ask_everything(&session);
        end(&session);
        free(cut.bytes);
    }
    free(object.bytes);
}

/* The loader's list as a circle, and through memory that is not there. */
static void test_cyclic_link_map(void **state)
{
    (void)state;
    struct object object = make_object("cc", "cycle", "-pie -Wl,-e,fixture_exported");
    struct session session;
    for (int variant = 0; variant < 4; variant++) {
        lay_out(&session, object);
        uint64_t dynamic = header_of(&session, PT_DYNAMIC)->p_vaddr + LAYOUT_BASE;
        const struct rdf_map *data = NULL;
        for (size_t i = 0; i < session.layout.map_count; i++)
            if (session.layout.map[i].prot & RDF_PROT_WRITE)
                data = &session.layout.map[i];
        assert_non_null(data);
        uint64_t debug = data->end - 256, first = debug + 64, second = debug + 128;
        uint64_t *words = (uint64_t *)(session.layout.memory + (debug - LAYOUT_BASE));
        dynamic_of(&session, DT_DEBUG)->d_un.d_val = debug;
        words[1] = first;                              /* r_map */
        words[8 + 2] = dynamic, words[8 + 3] = second; /* first: l_ld, l_next */
        words[16 + 2] = 0x1000, words[16 + 3] = first; /* second, and round */
        if (variant == 1)
            words[8 + 3] = first; /* itself */
        if (variant == 2)
            words[1] = data->end - 8; /* cut off by the end of the mapping */
        if (variant == 3)
            dynamic_of(&session, DT_DEBUG)->d_un.d_val = UINT64_MAX - 4;
        assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
        assert_int_equal(session.images.count, 1);
        assert_int_equal(session.images.linked_count, 1);
        assert_true(name_in(&session, "fixture_exported") != 0);
        end(&session);
    }
    free(object.bytes);
}

static void test_endless_chains(void **state)
{
    (void)state;
    struct session session;
    struct object object = make_object("cc", "gnu.so", "-shared -Wl,--hash-style=gnu");
    lay_out(&session, object);
    uint32_t *hash = (uint32_t *)(session.layout.memory + dynamic_of(&session, DT_GNU_HASH)->d_un.d_val);
    uint32_t buckets = hash[0], bloom_words = hash[2];
    memset(hash + 4, 0xff, (size_t)bloom_words * 8); /* the filter lets all pass */
    uint32_t *chain = hash + 4 + (size_t)bloom_words * 2 + buckets;
    for (uint32_t i = 0; i < 64; i++)
        chain[i] &= ~1u; /* no chain ends */
    assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
    assert_int_equal(name_in(&session, "nothing_of_that_name"), 0);
    end(&session);

    lay_out(&session, object); /* counts that cannot be */
    hash = (uint32_t *)(session.layout.memory + dynamic_of(&session, DT_GNU_HASH)->d_un.d_val);
    hash[0] = hash[2] = UINT32_MAX;
    assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
    assert_true(name_in(&session, "fixture_exported") != 0); /* by .symtab */
    end(&session);
    free(object.bytes);

    object = make_object("cc", "sysv.so", "-shared -Wl,--hash-style=sysv");
    lay_out(&session, object);
    hash = (uint32_t *)(session.layout.memory + dynamic_of(&session, DT_HASH)->d_un.d_val);
    buckets = hash[0];
    for (uint32_t i = 0; i < hash[1]; i++)
        hash[2 + buckets + i] = i; /* each symbol's next one is itself */
    hash[1] = UINT32_MAX;
    assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
    assert_int_equal(name_in(&session, "nothing_of_that_name"), 0);
    assert_true(session.layout.pages_peak < 4 << 20);
    end(&session);
    free(object.bytes);
}

/* An unwind header whose count is a lie is not used; .eh_frame itself still tells. */
static void test_lying_unwind_header(void **state)
{
    (void)state;
    struct session session;
    struct object object = make_object("cc", "unwind.so", "-shared");
    struct rdf_function honest, other;
    lay_out(&session, object);
    assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
    uint64_t addr = name_in(&session, "fixture_exported");
    assert_int_equal(rdf_images_function(&session.images, addr, &honest, &session.err), REDEFINE_OK);
    end(&session);

    lay_out(&session, object);
    uint32_t *header = (uint32_t *)(session.layout.memory + header_of(&session, PT_GNU_EH_FRAME)->p_vaddr);
    header[2] = UINT32_MAX;
    assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
    assert_int_equal(rdf_images_function(&session.images, addr, &other, &session.err), REDEFINE_OK);
    assert_int_equal(other.end, honest.end);
    assert_int_equal(other.source, RDF_BOUNDS_UNWIND);
    end(&session);

    /* An FDE that claims more than the segment has is not believed; the symbol is. */
    lay_out(&session, object);
    header = (uint32_t *)(session.layout.memory + header_of(&session, PT_GNU_EH_FRAME)->p_vaddr);
    uint64_t base = header_of(&session, PT_GNU_EH_FRAME)->p_vaddr;
    for (uint32_t i = 0; i < header[2]; i++) {
        if (base + (uint64_t)(int32_t)header[3 + 2 * i] + LAYOUT_BASE != addr)
            continue;
        uint32_t *fde = (uint32_t *)(session.layout.memory + base + (uint64_t)(int32_t)header[4 + 2 * i]);
        fde[3] = 0x7fffffff;
    }
    assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
    assert_int_equal(rdf_images_function(&session.images, addr, &other, &session.err), REDEFINE_OK);
    assert_int_equal(other.source, RDF_BOUNDS_SYMBOL);
    assert_int_equal(other.end, honest.end);
    end(&session);
    free(object.bytes);
}

/* The Nth page is refused: the right answer, or REDEFINE_ENOMEM; never a wrong one. */
static void test_no_memory(void **state)
{
    (void)state;
    struct object object = make_object("cc", "memory.so", "-shared");
    struct session session;
    unsigned refused = 0;
    lay_out(&session, object);
    assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
    uint64_t want = name_in(&session, "fixture_exported");
    struct rdf_function honest;
    assert_int_equal(rdf_images_function(&session.images, want, &honest, &session.err), REDEFINE_OK);
    end(&session);
    for (size_t nth = 1; nth < 8; nth++) {
        for (size_t used = 0; used < 256 * 1024; used += 1024) { /* where in the chunk it runs out */
            lay_out(&session, object);
            session.layout.has_views = false;
            session.layout.fail_at = nth;
            rdf_arena_init(&session.arena, &session.source);
            if (used)
                (void)rdf_arena_alloc(&session.arena, used);
            redefine_status status = rdf_images_load(&session.space, rdf_arch_native(), &session.arena,
                                                     &session.images, &session.err);
            struct rdf_function function;
            if (status == REDEFINE_OK) {
                uint64_t got = name_in(&session, "fixture_exported");
                if (got != want && session.err.status != REDEFINE_ENOMEM)
                    fail_msg("0x%lx: %s", (unsigned long)got, session.err.sentence);
                refused += got != want;
                memset(&session.err, 0, sizeof session.err);
                status = rdf_images_function(&session.images, want, &function, &session.err);
                if (status == REDEFINE_OK) {
                    assert_string_equal(function.name, "fixture_exported");
                    assert_int_equal(function.source, honest.source);
                    assert_int_equal(function.end, honest.end);
                }
            }
            if (status != REDEFINE_OK && status != REDEFINE_ENOMEM)
                fail_msg("%s", session.err.sentence);
            refused += status == REDEFINE_ENOMEM;
            end(&session);
        }
    }
    assert_true(refused > 64);
    free(object.bytes);
}

static void test_resolver_refuses(void **state)
{
    (void)state;
    struct object object = make_object("cc", "odd.so", "-shared -Wl,-z,lazy -falign-functions=1");
    struct session session;
    lay_out(&session, object);
    assert_int_equal(load(&session, rdf_arch_native()), REDEFINE_OK);
    uint64_t addr = 0, resolver = 0;
    memset(&session.err, 0, sizeof session.err);
    redefine_status status = rdf_images_find(&session.images, "local_ifunc", &addr, &session.err);
    assert_true(status == REDEFINE_OK || status == REDEFINE_EUNSUPPORTED || status == REDEFINE_ENOTFOUND);
    /* The layout's call_resolver refuses odd addresses: make the IRELATIVE's resolver one. */
    Elf64_Rela *rela = (Elf64_Rela *)(session.layout.memory + dynamic_of(&session, DT_JMPREL)->d_un.d_val);
    size_t count = dynamic_of(&session, DT_PLTRELSZ)->d_un.d_val / sizeof *rela;
    uint16_t machine = rdf_arch_native()->elf_machine;
    uint32_t irelative = machine == EM_X86_64  ? R_X86_64_IRELATIVE
                         : machine == EM_RISCV ? R_RISCV_IRELATIVE
                                               : R_AARCH64_IRELATIVE;
    for (size_t i = 0; i < count; i++) {
        if (ELF64_R_TYPE(rela[i].r_info) != irelative)
            continue;
        rela[i].r_addend |= 1;
        resolver = (uint64_t)rela[i].r_addend + LAYOUT_BASE;
    }
    assert_true(resolver != 0);
    memset(&session.err, 0, sizeof session.err);
    addr = 77;
    assert_int_equal(rdf_images_follow(&session.images, resolver, &addr, &session.err),
                     REDEFINE_EUNSUPPORTED);
    assert_says(&session.err, REDEFINE_EUNSUPPORTED, "(IFUNC)");
    assert_int_equal(addr, 77);
    end(&session);
    free(object.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_laid_out),
        cmocka_unit_test(test_without_sections),
        cmocka_unit_test(test_other_cpu),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_cyclic_link_map),
        cmocka_unit_test(test_endless_chains),
        cmocka_unit_test(test_lying_unwind_header),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_resolver_refuses),
    };
    return run_group("image_hostile", tests, sizeof tests / sizeof *tests);
}
