/* SPDX-License-Identifier: MIT
 *
 * Where functions begin and end: every exported function of real libraries against an oracle made with
 * libelf and libdw, which share no code with src/image; objects of other namespaces, opened later,
 * stripped; the vDSO; assembly.
 */
#include "image_common.h"

#include <dlfcn.h>
#include <elfutils/libdw.h>
#include <gelf.h>
#include <link.h>
#include <sys/auxv.h>

/* ---- the oracle ---- */

struct fde {
    uint64_t start, end;
};

struct oracle {
    Elf *elf;
    int fd;
    struct fde *fde;
    size_t fde_count;
    GElf_Sym *sym; /* functions of .dynsym and .symtab, by ascending address */
    size_t sym_count;
};

static int compare_fde(const void *a, const void *b)
{
    const struct fde *left = a, *right = b;
    return (left->start > right->start) - (left->start < right->start);
}

static int compare_sym(const void *a, const void *b)
{
    const GElf_Sym *left = a, *right = b;
    return (left->st_value > right->st_value) - (left->st_value < right->st_value);
}

/* .eh_frame by libdw; x86-64 and aarch64 compilers write pcrel|sdata4. */
static void read_fdes(struct oracle *oracle)
{
    size_t names;
    elf_getshdrstrndx(oracle->elf, &names);
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(oracle->elf, scn));) {
        GElf_Shdr section;
        gelf_getshdr(scn, &section);
        if (strcmp(elf_strptr(oracle->elf, names, section.sh_name), ".eh_frame") != 0)
            continue;
        Elf_Data *data = elf_getdata(scn, NULL);
        const unsigned char *ident = (const unsigned char *)elf_getident(oracle->elf, NULL);
        Dwarf_CFI_Entry entry;
        for (Dwarf_Off off = 0, next; off < data->d_size; off = next) {
            int result = dwarf_next_cfi(ident, data, true, off, &next, &entry);
            if (result == 1)
                break;
            if (result != 0 || dwarf_cfi_cie_p(&entry))
                continue;
            int32_t start;
            uint32_t len;
            memcpy(&start, entry.fde.start, 4);
            memcpy(&len, entry.fde.start + 4, 4);
            uint64_t at = section.sh_addr + (uint64_t)(entry.fde.start - (const uint8_t *)data->d_buf);
            oracle->fde = realloc(oracle->fde, (oracle->fde_count + 1) * sizeof *oracle->fde);
            oracle->fde[oracle->fde_count].start = at + (uint64_t)(int64_t)start;
            oracle->fde[oracle->fde_count].end = oracle->fde[oracle->fde_count].start + len;
            oracle->fde_count++;
        }
    }
    qsort(oracle->fde, oracle->fde_count, sizeof *oracle->fde, compare_fde);
}

static void read_symbols(struct oracle *oracle)
{
    for (Elf_Scn *scn = NULL; (scn = elf_nextscn(oracle->elf, scn));) {
        GElf_Shdr section;
        gelf_getshdr(scn, &section);
        if (section.sh_type != SHT_DYNSYM && section.sh_type != SHT_SYMTAB)
            continue;
        Elf_Data *data = elf_getdata(scn, NULL);
        for (size_t i = 0; i < section.sh_size / section.sh_entsize; i++) {
            GElf_Sym sym;
            gelf_getsym(data, (int)i, &sym);
            int type = GELF_ST_TYPE(sym.st_info);
            if (sym.st_shndx == SHN_UNDEF || (type != STT_FUNC && type != STT_GNU_IFUNC))
                continue;
            oracle->sym = realloc(oracle->sym, (oracle->sym_count + 1) * sizeof sym);
            oracle->sym[oracle->sym_count++] = sym;
        }
    }
    qsort(oracle->sym, oracle->sym_count, sizeof *oracle->sym, compare_sym);
}

static struct oracle open_oracle(const char *path)
{
    struct oracle oracle = {.fd = open(path, O_RDONLY)};
    elf_version(EV_CURRENT);
    oracle.elf = elf_begin(oracle.fd, ELF_C_READ_MMAP, NULL);
    if (!oracle.elf)
        fail_msg("%s: %s", path, elf_errmsg(-1));
    read_fdes(&oracle);
    read_symbols(&oracle);
    return oracle;
}

static void close_oracle(struct oracle *oracle)
{
    elf_end(oracle->elf);
    close(oracle->fd);
    free(oracle->fde);
    free(oracle->sym);
}

static const struct fde *oracle_fde(const struct oracle *oracle, uint64_t addr)
{
    for (size_t i = 0; i < oracle->fde_count; i++)
        if (addr >= oracle->fde[i].start && addr < oracle->fde[i].end)
            return &oracle->fde[i];
    return NULL;
}

/* The rule of image.h said another way: an FDE is one function, unless it is longer than every symbol at
 * its start and another function begins inside. */
static uint64_t oracle_end(const struct oracle *oracle, uint64_t addr, enum rdf_bounds_source *ret_source)
{
    const struct fde *fde = oracle_fde(oracle, addr);
    uint64_t next = UINT64_MAX, size = 0, next_fde = UINT64_MAX;
    for (size_t i = 0; i < oracle->sym_count; i++) {
        if (oracle->sym[i].st_value > addr && oracle->sym[i].st_value < next)
            next = oracle->sym[i].st_value;
        if (oracle->sym[i].st_value == addr && oracle->sym[i].st_size > size)
            size = oracle->sym[i].st_size;
    }
    for (size_t i = 0; i < oracle->fde_count; i++)
        if (oracle->fde[i].start > addr && oracle->fde[i].start < next_fde)
            next_fde = oracle->fde[i].start;
    *ret_source = fde && fde->start == addr ? RDF_BOUNDS_UNWIND : RDF_BOUNDS_SYMBOL;
    uint64_t end;
    if (fde && fde->start == addr)
        return size == fde->end - addr || next > fde->end ? fde->end : next;
    if (fde)
        end = size && addr + size < fde->end ? addr + size : fde->end < next ? fde->end : next;
    else
        end = size ? addr + size : next;
    return end < next_fde ? end : next_fde;
}

static struct rdf_image *image_of(struct loaded *loaded, const char *part)
{
    for (size_t i = 0; i < loaded->images.count; i++)
        if (strstr(rdf_image_name(loaded->images.image[i]), part))
            return loaded->images.image[i];
    fail_msg("%s is not loaded", part);
    return NULL;
}

/* Every function symbol of the object at `bias`. */
static void check_object(struct loaded *loaded, const char *path, uint64_t bias)
{
    struct oracle oracle = open_oracle(path);
    size_t wrong = 0, by_unwind = 0, by_symbol = 0, refused = 0;
    uint64_t last = 0;
    for (size_t i = 0; i < oracle.sym_count; i++) {
        uint64_t addr = oracle.sym[i].st_value;
        if (addr == last)
            continue;
        last = addr;
        enum rdf_bounds_source source;
        uint64_t end = oracle_end(&oracle, addr, &source);
        struct rdf_function function = {0};
        struct rdf_error err = {0};
        if (rdf_images_function(&loaded->images, addr + bias, &function, &err) != REDEFINE_OK) {
            refused++;
            print_message("# %s\n", err.sentence);
            continue;
        }
        if (function.start != addr + bias || function.end != end + bias || function.source != source ||
            !function.name || rdf_images_next_start(&loaded->images, &function) < function.end) {
            if (wrong++ < 10)
                print_message("# 0x%lx: end 0x%lx, wanted 0x%lx (%s)\n", (unsigned long)addr,
                              (unsigned long)(function.end - bias), (unsigned long)end,
                              function.name ? function.name : "no name");
        }
        by_unwind += source == RDF_BOUNDS_UNWIND;
        by_symbol += source == RDF_BOUNDS_SYMBOL;
    }
    print_message("# %s: %zu by unwind table, %zu by symbol\n", path, by_unwind, by_symbol);
    close_oracle(&oracle);
    assert_int_equal(wrong, 0);
    assert_int_equal(refused, 0);
    assert_true(by_unwind > 0);
}

static void test_real_libraries(void **state)
{
    (void)state;
    static const char *const library[] = {"libc.so.6", "libm.so.6", "libcrypto.so.3", "libsqlite3.so.0",
                                          "libz.so.1"};
    struct loaded loaded;
    for (size_t i = 0; i < sizeof library / sizeof *library; i++)
        if (!dlopen(library[i], RTLD_NOW | RTLD_LOCAL))
            print_message("# SKIP %s: %s\n", library[i], dlerror());
    load_self(&loaded);
    for (size_t i = 0; i < sizeof library / sizeof *library; i++) {
        void *handle = dlopen(library[i], RTLD_NOW | RTLD_NOLOAD);
        struct link_map *map;
        if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0)
            continue;
        struct rdf_image *image = image_of(&loaded, library[i]);
        assert_int_equal(rdf_image_bias(image), map->l_addr);
        check_object(&loaded, rdf_image_name(image), map->l_addr);
    }
    unload(&loaded);
}

/* The unwind table alone: what a stripped object leaves. */
static void test_every_fde(void **state)
{
    (void)state;
    struct loaded loaded;
    load_self(&loaded);
    struct rdf_image *image = image_of(&loaded, "libc.so.6");
    uint64_t bias = rdf_image_bias(image);
    struct oracle oracle = open_oracle(rdf_image_name(image));
    size_t checked = 0, inside = 0;
    for (size_t i = 0; i < oracle.fde_count; i++) {
        struct rdf_function function;
        struct rdf_error err = {0};
        uint64_t start = oracle.fde[i].start, end = oracle.fde[i].end;
        redefine_status status = rdf_images_function(&loaded.images, start + bias, &function, &err);
        if (status != REDEFINE_OK) {
            assert_says(&err, REDEFINE_EINVAL, "procedure linkage table");
            continue;
        }
        enum rdf_bounds_source source;
        assert_int_equal(function.end, oracle_end(&oracle, start, &source) + bias);
        assert_int_equal(function.source, RDF_BOUNDS_UNWIND);
        checked++;
        if (end - start < 3 || function.end != end + bias)
            continue;
        /* One byte in: no entry, unless a symbol says so. */
        status = rdf_images_function(&loaded.images, start + bias + 1, &function, &err);
        assert_int_equal(status, REDEFINE_EINVAL);
        inside++;
    }
    print_message("# %zu entries of libc.so.6, %zu addresses inside\n", checked, inside);
    assert_true(checked > 2000);
    close_oracle(&oracle);
    unload(&loaded);
}

static void test_other_namespace(void **state)
{
    (void)state;
    void *handle = dlmopen(LM_ID_NEWLM, "libz.so.1", RTLD_NOW);
    if (!handle) {
        print_message("# SKIP dlmopen: %s\n", dlerror());
        skip();
    }
    struct link_map *map;
    assert_int_equal(dlinfo(handle, RTLD_DI_LINKMAP, &map), 0);
    void *inflate = dlsym(handle, "inflate");
    struct loaded loaded;
    struct rdf_function function;
    load_self(&loaded);
    assert_int_equal(rdf_images_function(&loaded.images, address(inflate), &function, &loaded.err), 0);
    assert_string_equal(function.name, "inflate");
    assert_int_equal(rdf_image_bias(function.image), map->l_addr);
    check_object(&loaded, rdf_image_name(function.image), map->l_addr);
    /* Two copies of libc: each is its own image, and a name still means the program's own. */
    assert_int_equal(find(&loaded, "qsort"), address(dlsym(RTLD_DEFAULT, "qsort")));
    unload(&loaded);
    dlclose(handle);
}

static void test_vdso(void **state)
{
    (void)state;
    struct loaded loaded;
    load_self(&loaded);
    uint64_t base = getauxval(AT_SYSINFO_EHDR);
    if (!base) {
        print_message("# SKIP no vDSO here\n");
        skip();
    }
    assert_string_equal(rdf_image_name(rdf_images_at(&loaded.images, base)), "[vdso]");
    const char *const name[] = {"time", "__vdso_time", "clock_gettime", "gettimeofday", "getcpu"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char text[64];
        struct rdf_function function;
        snprintf(text, sizeof text, "[vdso]!%s", name[i]);
        uint64_t addr = find(&loaded, text);
        assert_true(addr > base);
        assert_int_equal(rdf_images_function(&loaded.images, addr, &function, &loaded.err), REDEFINE_OK);
        assert_int_equal(function.source, RDF_BOUNDS_UNWIND);
        assert_true(function.end > addr + 8 && function.end < base + 0x4000);
        assert_true(rdf_images_next_start(&loaded.images, &function) >= function.end);
    }
    assert_int_equal(find(&loaded, "[vdso]!time"), find(&loaded, "[vdso]!__vdso_time"));
    assert_int_equal(find(&loaded, "linux-vdso.so.1!time"), find(&loaded, "[vdso]!time"));
    assert_int_equal(find(&loaded, "[vdso]!time@LINUX_2.6"), find(&loaded, "[vdso]!time"));
    unload(&loaded);
}

static __attribute__((unused)) void check_asm(void *handle)
{
    struct loaded loaded;
    load_self(&loaded);
    static const struct {
        const char *name;
        unsigned len;
        enum rdf_bounds_source source;
    } want[] = {
        {"asm_first", 16, RDF_BOUNDS_UNWIND}, /* up to the next function: padding included */
        {"asm_second", 16, RDF_BOUNDS_SYMBOL},
        {"asm_third", 4, RDF_BOUNDS_SYMBOL},
        {"asm_sized", 3, RDF_BOUNDS_SYMBOL},
        {"asm_unsized", 16, RDF_BOUNDS_SYMBOL},
        {"asm_behind", 1, RDF_BOUNDS_SYMBOL},
        {"asm_outer", 3, RDF_BOUNDS_UNWIND}, /* its size says that the second entry is its own */
        {"asm_alternate", 2, RDF_BOUNDS_SYMBOL},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct rdf_function function;
        uint64_t addr = address(dlsym(handle, want[i].name));
        if (rdf_images_function(&loaded.images, addr, &function, &loaded.err) != REDEFINE_OK)
            fail_msg("%s: %s", want[i].name, loaded.err.sentence);
        assert_string_equal(function.name, want[i].name);
        if (function.end - addr != want[i].len || function.source != want[i].source)
            fail_msg("%s: %u bytes, not %u", want[i].name, (unsigned)(function.end - addr), want[i].len);
    }
    struct rdf_function function;
    uint64_t sized = address(dlsym(handle, "asm_sized"));
    assert_int_equal(rdf_images_function(&loaded.images, sized + 2, &function, &loaded.err), REDEFINE_EINVAL);
    assert_says(&loaded.err, REDEFINE_EINVAL, "0x2 bytes inside asm_sized in ");
    memset(&loaded.err, 0, sizeof loaded.err);
    uint64_t nothing = address(dlsym(handle, "asm_outer")) + 16;
    assert_int_equal(rdf_images_function(&loaded.images, nothing, &function, &loaded.err),
                     REDEFINE_EUNSUPPORTED);
    assert_says(&loaded.err, REDEFINE_EUNSUPPORTED, "-fasynchronous-unwind-tables");
    uint64_t followed = 0;
    assert_int_equal(rdf_images_follow(&loaded.images, nothing + 16, &followed, NULL), REDEFINE_OK);
    assert_int_equal(followed, nothing + 16);
    unload(&loaded);
}

static void test_asm(void **state)
{
    (void)state;
#ifdef __x86_64__
    void *handle = dlopen(compile("cc", "asm.so", "image_asm.S", "-shared"), RTLD_NOW);
    assert_non_null(handle);
    check_asm(handle);
    dlclose(handle);
    handle = dlopen(compile("cc", "asm-no-hdr.so", "image_asm.S", "-shared -Wl,--no-eh-frame-hdr"), RTLD_NOW);
    assert_non_null(handle);
    check_asm(handle); /* .eh_frame found by its section and walked */
    dlclose(handle);
    handle = dlopen(compile("cc", "asm-strip.so", "image_asm.S", "-shared -s"), RTLD_NOW);
    assert_non_null(handle);
    check_asm(handle);
    dlclose(handle);
#else
    skip();
#endif
}

static int not_a_function_but_data = 4;

static void test_refusals(void **state)
{
    (void)state;
    struct loaded loaded;
    struct rdf_function function, untouched;
    memset(&function, 0x5a, sizeof function);
    untouched = function;
    load_self(&loaded);
    assert_int_equal(rdf_images_function(&loaded.images, 0, &function, &loaded.err), REDEFINE_EINVAL);
    assert_says(&loaded.err, REDEFINE_EINVAL, "nothing is mapped at 0x0");
    memset(&loaded.err, 0, sizeof loaded.err);
    assert_int_equal(rdf_images_function(&loaded.images, address(&not_a_function_but_data), &function,
                                         &loaded.err),
                     REDEFINE_EINVAL);
    assert_says(&loaded.err, REDEFINE_EINVAL, "is data (rw-) in image_bounds");
    memset(&loaded.err, 0, sizeof loaded.err);
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD); /* a sanitizer may have its own */
    uint64_t qsort_addr = address(dlsym(libc, "qsort_r"));
    assert_int_equal(rdf_images_function(&loaded.images, qsort_addr + 4, &function, &loaded.err),
                     REDEFINE_EINVAL);
    assert_says(&loaded.err, REDEFINE_EINVAL,
                "is 0x4 bytes inside qsort_r in libc.so.6, not at its entry 0x");
    assert_memory_equal(&function, &untouched, sizeof function);
    unload(&loaded);

    void *page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    load_self(&loaded);
    assert_int_equal(rdf_images_function(&loaded.images, address(page), &function, &loaded.err),
                     REDEFINE_EUNSUPPORTED);
    assert_says(&loaded.err, REDEFINE_EUNSUPPORTED, "belongs to no loaded object");
    unload(&loaded);
    munmap(page, 4096);
}

/* An ELF file that is only being read is no image, whichever way it is mapped. */
static void test_mapped_as_data(void **state)
{
    (void)state;
    int fd = open("/proc/self/exe", O_RDONLY);
    struct stat stat;
    struct loaded loaded;
    assert_int_equal(fstat(fd, &stat), 0);
    load_self(&loaded);
    size_t before = loaded.images.count;
    unload(&loaded);
    void *read_only = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    void *executable = mmap(NULL, (size_t)stat.st_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    /* One segment: all of it is where the headers say, only not executable. */
    char path[512];
    snprintf(path, sizeof path, "%s/flat.so", work_folder());
    int flat_fd = open(path, O_RDWR | O_CREAT, 0600);
    if (getauxval(AT_SYSINFO_EHDR))
        assert_int_equal(write(flat_fd, (const void *)(uintptr_t)getauxval(AT_SYSINFO_EHDR), 8192), 8192);
    void *flat = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, flat_fd, 0);
    assert_true(flat != MAP_FAILED);
    load_self(&loaded);
    assert_int_equal(loaded.images.count, before);
    assert_null(rdf_images_at(&loaded.images, address(read_only)));
    unload(&loaded);
    munmap(read_only, (size_t)stat.st_size);
    munmap(executable, (size_t)stat.st_size);
    munmap(flat, 8192);
    close(flat_fd);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_libraries),
        cmocka_unit_test(test_every_fde),
        cmocka_unit_test(test_other_namespace),
        cmocka_unit_test(test_vdso),
        cmocka_unit_test(test_asm),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_mapped_as_data),
    };
    return run_group("image_bounds", tests, sizeof tests / sizeof *tests);
}
