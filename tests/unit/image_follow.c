/* SPDX-License-Identifier: MIT
 *
 * From what a program calls to what runs: PLT stubs of every style, bound and not, in this process and in
 * another one that is read through the same table without views (as a traced process is); IFUNCs; and
 * functions that only look like stubs.
 */
#include "image_common.h"

#include <dlfcn.h>
#include <math.h>
#include <time.h>

static uint64_t follow(struct loaded *loaded, uint64_t addr)
{
    uint64_t ret = 0;
    memset(&loaded->err, 0, sizeof loaded->err);
    if (rdf_images_follow(&loaded->images, addr, &ret, &loaded->err) != REDEFINE_OK)
        print_message("# %s\n", loaded->err.sentence);
    return ret;
}

/* Code that makes a call or jump to a stub: the target of the first direct call or jump out of the
 * function at `addr`. */
static uint64_t first_target(struct loaded *loaded, uint64_t addr)
{
    struct rdf_function function;
    const struct rdf_arch *arch = rdf_arch_native();
    if (rdf_images_function(&loaded->images, addr, &function, &loaded->err) != REDEFINE_OK)
        fail_msg("%s", loaded->err.sentence);
    for (uint64_t at = addr; at < function.end;) {
        struct rdf_insn insn;
        uint8_t code[16];
        assert_int_equal(loaded->space.ops->read(&loaded->space, at, code, sizeof code), 0);
        struct rdf_span span = {code, sizeof code};
        uint64_t to;
        uint8_t first_bytes;
        if (arch->read_jump && arch->read_jump(span, at, &first_bytes, &to))
            return to;
        assert_true(arch->decode(span, at, &insn));
        if (insn.has_target && (insn.target < addr || insn.target >= function.end))
            return insn.target;
        at += insn.len_bytes;
    }
    return 0;
}

static void test_ifuncs(void **state)
{
    (void)state;
    struct loaded loaded;
    load_self(&loaded);
    void *libc = dlopen("libc.so.6", RTLD_NOW);
    static const char *const name[] = {"time", "gettimeofday", "memcpy", "strlen", "memmove", "strchr"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char text[64];
        snprintf(text, sizeof text, "libc.so.6!%s", name[i]);
        void *chosen = dlsym(libc, name[i]); /* dlsym calls the resolver */
        assert_int_equal(find(&loaded, text), address(chosen));
        assert_int_equal(follow(&loaded, address(chosen)), address(chosen));
    }
    /* The resolver's own address: from the symbol table, by hand. */
    struct rdf_function function;
    uint64_t resolver = 0;
    struct rdf_image *image = rdf_images_at(&loaded.images, address(dlsym(libc, "qsort")));
    char command[512];
    snprintf(command, sizeof command,
             "readelf -W --dyn-syms %s | awk '$4==\"IFUNC\" && $8 ~ /^strlen@/ {print $2}'",
             rdf_image_name(image));
    FILE *pipe = popen(command, "r");
    if (fscanf(pipe, "%lx", &resolver) != 1) {
        pclose(pipe);
        print_message("# SKIP no readelf, or strlen is no IFUNC here\n");
        skip();
    }
    pclose(pipe);
    resolver += rdf_image_bias(image);
    assert_int_equal(follow(&loaded, resolver), address(dlsym(libc, "strlen")));
    assert_int_equal(rdf_images_function(&loaded.images, resolver, &function, &loaded.err), REDEFINE_OK);
    unload(&loaded);
}

/* Every stub of a shared object: those that the loader has bound and those that it has not. */
static void check_library(const char *name, const char *options, bool has_stubs)
{
    void *handle = dlopen(compile("cc", name, "image_a.c image_b.c", options), RTLD_LAZY | RTLD_LOCAL);
    if (!handle)
        fail_msg("%s: %s", name, dlerror());
    struct loaded loaded;
    load_self(&loaded);
    uint64_t fixture_b = address(dlsym(handle, "fixture_b"));
    uint64_t tail = address(dlsym(handle, "fixture_tail"));
    uint64_t user = address(dlsym(handle, "fixture_ifunc_user"));
    union {
        void *object;
        void *(*call)(void);
        int (*call_int)(int);
    } pointer = {.object = dlsym(handle, "fixture_chosen")};
    uint64_t chosen = address(pointer.call());
    /* A function that is one jump is a function. */
    assert_int_equal(follow(&loaded, tail), tail);
    if (has_stubs) {
        uint64_t stub = first_target(&loaded, tail);
        assert_int_not_equal(stub, fixture_b);
        if (follow(&loaded, stub) != fixture_b)
            fail_msg("%s: unbound stub 0x%lx leads to 0x%lx, not 0x%lx", name, (unsigned long)stub,
                     (unsigned long)follow(&loaded, stub), (unsigned long)fixture_b);
        struct rdf_function function;
        memset(&loaded.err, 0, sizeof loaded.err);
        assert_int_equal(rdf_images_function(&loaded.images, stub, &function, &loaded.err), REDEFINE_EINVAL);
        pointer.object = dlsym(handle, "fixture_tail");
        assert_int_equal(pointer.call_int(1), 3);
        assert_int_equal(follow(&loaded, stub), fixture_b);
        stub = first_target(&loaded, user);
        assert_int_equal(follow(&loaded, stub), chosen);
        pointer.object = dlsym(handle, "fixture_ifunc_user");
        assert_int_equal(pointer.call_int(1), 0);
        assert_int_equal(follow(&loaded, stub), chosen);
    }
    /* The resolver of an IFUNC that is not exported. */
    uint64_t resolver = find(&loaded, "choose");
    if (resolver)
        assert_int_equal(follow(&loaded, resolver), chosen);
    resolver = find(&loaded, "choose_exported");
    uint64_t exported = address(dlsym(handle, "fixture_ifunc"));
    assert_int_not_equal(exported, resolver);
    if (resolver)
        assert_int_equal(follow(&loaded, resolver), exported);
    assert_int_equal(find(&loaded, "fixture_ifunc"), exported);
    assert_int_equal(find(&loaded, "local_ifunc") ? find(&loaded, "local_ifunc") : chosen, chosen);
    unload(&loaded);
    dlclose(handle);
}

static void test_stubs_of_libraries(void **state)
{
    (void)state;
    check_library("lazy.so", "-fPIC -shared -Wl,-z,lazy", true);
    check_library("now.so", "-fPIC -shared -Wl,-z,now", true);
    check_library("stripped.so", "-fPIC -shared -Wl,-z,lazy -s", true);
    check_library("noplt.so", "-fPIC -shared -fno-plt", false);
    check_library("noplt-stripped.so", "-fPIC -shared -fno-plt -s", false);
#ifdef __x86_64__
    check_library("ibt.so", "-fPIC -shared -Wl,-z,lazy -fcf-protection=full -Wl,-z,ibtplt", true);
    check_library("ibt-now.so", "-fPIC -shared -Wl,-z,now -fcf-protection=full -Wl,-z,ibtplt", true);
#elif defined(__aarch64__)
    check_library("bti.so", "-fPIC -shared -Wl,-z,lazy -mbranch-protection=standard", true);
#endif
}

struct told {
    uint64_t twin_a, twin_b, only_in_a, chosen, exported, fixture_b, puts, getpid, time, strlen;
};

static void listen_to(struct remote *remote, struct told *told)
{
    char line[128], name[32];
    unsigned long value;
    memset(told, 0, sizeof *told);
    while (fgets(line, sizeof line, remote->output) && strcmp(line, "ready\n") != 0) {
        if (sscanf(line, "%31s %lx", name, &value) != 2)
            continue;
        static const char *const field[] = {"twin_a",    "twin_b", "only_in_a", "chosen", "exported",
                                            "fixture_b", "puts",   "getpid",    "time",   "strlen"};
        for (size_t i = 0; i < sizeof field / sizeof *field; i++)
            if (strcmp(name, field[i]) == 0)
                ((uint64_t *)told)[i] = value;
    }
    assert_true(told->twin_a && told->time);
}

/* A program of each kind, seen from outside. */
static void check_program(const char *name, const char *options, const char *environment, bool is_static)
{
    char all[512];
    snprintf(all, sizeof all, "-DFIXTURE_MAIN %s", options);
    char path[512];
    snprintf(path, sizeof path, "%s", compile("cc", name, "image_a.c image_b.c", all));
    struct remote remote;
    struct told told;
    struct loaded loaded;
    start_program(&remote, path, environment);
    listen_to(&remote, &told);
    loaded.space = (struct rdf_space){&remote_ops, &remote};
    load_space(&loaded);
    assert_string_equal(rdf_image_name(loaded.images.image[0]), path); /* the program first */
    assert_int_equal(follow(&loaded, told.exported), told.exported);
    uint64_t puts_addr = follow(&loaded, told.puts), getpid_addr = follow(&loaded, told.getpid);
    struct rdf_function function;
    if (rdf_images_function(&loaded.images, puts_addr, &function, &loaded.err) != REDEFINE_OK)
        fail_msg("%s: %s", name, loaded.err.sentence);
    if (!is_static) {
        assert_int_equal(puts_addr, find(&loaded, "libc.so.6!puts"));
        assert_int_equal(getpid_addr, find(&loaded, "libc.so.6!getpid")); /* never called: not bound */
        assert_string_equal(function.name, "puts");
        /* An IFUNC that the loader has resolved. */
        assert_int_equal(follow(&loaded, told.time), find(&loaded, "[vdso]!time"));
    } else {
        /* An IFUNC through .iplt, whose relocation no dynamic section mentions. */
        char text[128];
        uint64_t chosen = follow(&loaded, told.strlen);
        rdf_images_describe(&loaded.images, chosen, text, sizeof text);
        print_message("# %s: strlen at 0x%lx leads to %s\n", name, (unsigned long)told.strlen, text);
        if (chosen == told.strlen && strstr(options, "-no-pie")) /* a static PIE has no stub here */
            fail_msg("%s: strlen leads nowhere", name);
        if (!strstr(text, "strlen") && !strstr(options, "-s "))
            fail_msg("%s: strlen leads to %s", name, text);
    }
    if (!strstr(options, "-s ")) {
        char one[256];
        snprintf(one, sizeof one, "%s!only_in_a", name);
        assert_int_equal(find(&loaded, one), told.only_in_a);
        assert_int_equal(find(&loaded, "twin@image_b.c"), told.twin_b);
        assert_int_equal(find(&loaded, "twin"), 0);
        assert_says(&loaded.err, REDEFINE_EAMBIGUOUS, "2 functions");
    }
    assert_int_equal(rdf_images_function(&loaded.images, told.twin_a, &function, &loaded.err), REDEFINE_OK);
    unload(&loaded);
    stop_program(&remote);
}

static void test_programs_from_outside(void **state)
{
    (void)state;
    if (is_emulated()) {
        print_message("# under an emulator no other program can be started\n");
        skip();
    }
    check_program("pie", "", NULL, false);
    check_program("pie-lazy", "-Wl,-z,lazy", NULL, false);
    check_program("nopie", "-no-pie -fno-pie", NULL, false);
    check_program("nopie-lazy", "-no-pie -fno-pie -Wl,-z,lazy", NULL, false);
    check_program("nopie-noplt", "-no-pie -fno-pie -fno-plt", NULL, false);
    check_program("nopie-stripped", "-no-pie -fno-pie -s ", NULL, false);
    check_program("nopie-now", "-no-pie -fno-pie", "LD_BIND_NOW=1", false);
    check_program("old-layout", "-no-pie -fno-pie -Wl,-z,noseparate-code", NULL, false);
#ifdef __x86_64__
    check_program("nopie-ibt", "-no-pie -fno-pie -Wl,-z,lazy -fcf-protection=full -Wl,-z,ibtplt", NULL,
                  false);
#endif
    check_program("static", "-static -no-pie -fno-pie ", NULL, true);
    check_program("static-pie", "-static-pie", NULL, true);
    check_program("static-stripped", "-static -no-pie -fno-pie -s ", NULL, true);
}

int main(void)
{
    unsetenv("LD_BIND_NOW");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ifuncs),
        cmocka_unit_test(test_stubs_of_libraries),
        cmocka_unit_test(test_programs_from_outside),
    };
    return run_group("image_follow", tests, sizeof tests / sizeof *tests);
}
