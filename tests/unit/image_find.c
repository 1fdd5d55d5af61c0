/* SPDX-License-Identifier: MIT
 *
 * What names mean: as the dynamic loader says (dlsym, dlvsym), static functions, ambiguity and the way
 * out of it that the message itself offers, versions, C++, near names.
 */
#include "image_common.h"

#include <dlfcn.h>
#include <link.h>

static int __attribute__((noinline)) static_of_this_test(int x)
{
    __asm__ volatile("");
    return x + 1;
}

static int __attribute__((noinline))
getopt_long_only(int x) /* libc exports one: that is what the name means */
{
    __asm__ volatile("");
    return x + 2;
}

static void test_static_of_this_program(void **state)
{
    (void)state;
    struct loaded loaded;
    load_self(&loaded);
    uint64_t want = address((void *)(uintptr_t)&static_of_this_test);
    assert_int_equal(find(&loaded, "static_of_this_test"), want);
    assert_int_equal(find(&loaded, "static_of_this_test@image_find.c"), want);
    assert_int_equal(find(&loaded, "static_of_this_test@tests/unit/image_find.c"), want);
    assert_int_equal(find(&loaded, "image_find!static_of_this_test"), want);
    assert_int_equal(find(&loaded, "image_find!static_of_this_test@image_find.c"), want);
    assert_int_equal(find(&loaded, "static_of_this_test@other.c"), 0);
    assert_says(&loaded.err, REDEFINE_ENOTFOUND, "without @other.c any would do");
    /* The loader's meaning wins over a static function. */
    assert_int_not_equal(find(&loaded, "getopt_long_only"), address((void *)(uintptr_t)&getopt_long_only));
    assert_int_not_equal(find(&loaded, "getopt_long_only"), 0);
    assert_int_equal(find(&loaded, "getopt_long_only@image_find.c"),
                     address((void *)(uintptr_t)&getopt_long_only));
    assert_int_equal(static_of_this_test(1) + getopt_long_only(1), 5);
    unload(&loaded);
}

/* Every function that libc and libm export: what dlsym says, versions included. */
static void test_as_the_loader(void **state)
{
    (void)state;
    void *libm = dlopen("libm.so.6", RTLD_NOW);
    void *libc = dlopen("libc.so.6", RTLD_NOW);
    assert_non_null(libm);
    struct loaded loaded;
    load_self(&loaded);
    static const char *const name[] = {"qsort",    "printf", "malloc",         "free",          "memcpy",
                                       "strlen",   "time",   "gettimeofday",   "memmove",       "strchr",
                                       "getpid",   "fopen",  "pthread_create", "clock_gettime", "system",
                                       "realpath", "pclose", "__cxa_finalize"};
    for (size_t i = 0; i < sizeof name / sizeof *name; i++) {
        char text[128];
        snprintf(text, sizeof text, "libc.so.6!%s", name[i]);
        uint64_t got = find(&loaded, text);
        if (!got || got != address(dlsym(libc, name[i])))
            fail_msg("%s: 0x%lx, not %p: %s", text, (unsigned long)got, dlsym(libc, name[i]),
                     loaded.err.sentence);
        uint64_t plain = find(&loaded, name[i]);
        if (plain != address(dlsym(RTLD_DEFAULT, name[i])))
            fail_msg("%s: 0x%lx, not %p: %s", name[i], (unsigned long)plain, dlsym(RTLD_DEFAULT, name[i]),
                     loaded.err.sentence);
    }
    static const char *const versioned[][2] = {{"memcpy", "GLIBC_2.2.5"},
                                               {"memcpy", "GLIBC_2.14"},
                                               {"realpath", "GLIBC_2.2.5"},
                                               {"realpath", "GLIBC_2.3"},
                                               {"pthread_cond_wait", "GLIBC_2.3.2"},
                                               {"fmemopen", "GLIBC_2.22"}};
    for (size_t i = 0; i < sizeof versioned / sizeof *versioned; i++) {
        char text[128];
        snprintf(text, sizeof text, "libc.so.6!%s@%s", versioned[i][0], versioned[i][1]);
        void *want = dlvsym(libc, versioned[i][0], versioned[i][1]);
        if (!want)
            continue; /* another CPU has other versions */
        assert_int_equal(find(&loaded, text), address(want));
    }
    /* exp is exported in two versions from libm, the old one hidden. */
    assert_int_equal(find(&loaded, "libm.so.6!exp"), address(dlsym(libm, "exp")));
    unload(&loaded);
}

static void *open_fixture(const char *name, const char *options)
{
    void *handle = dlopen(compile("cc", name, "image_a.c image_b.c", options), RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        fail_msg("%s", dlerror());
    return handle;
}

static uint64_t ask(void *handle, const char *function)
{
    union {
        void *object;
        void *(*call)(void);
    } pointer = {.object = dlsym(handle, function)};
    assert_non_null(pointer.object);
    return address(pointer.call());
}

/* What the message lists, given back, finds each of them. */
static unsigned follow_the_message(struct loaded *loaded, uint64_t *ret_addr, unsigned max)
{
    char sentence[RDF_SENTENCE_BYTES];
    unsigned count = 0;
    snprintf(sentence, sizeof sentence, "%s", loaded->err.sentence);
    char *list = strstr(sentence, "give one of ");
    assert_non_null(list);
    list += strlen("give one of ");
    while (list && count < max) {
        char *end = strstr(list, " (at 0x");
        assert_non_null(end);
        *end = 0;
        uint64_t want = strtoull(end + 7, NULL, 16);
        ret_addr[count] = find(loaded, list);
        if (ret_addr[count] != want)
            fail_msg("%s finds 0x%lx, not 0x%lx: %s", list, (unsigned long)ret_addr[count],
                     (unsigned long)want, loaded->err.sentence);
        count++;
        list = strstr(end + 1, "), ");
        list = list ? list + 3 : NULL;
    }
    return count;
}

static void test_two_of_one_name(void **state)
{
    (void)state;
    void *handle = open_fixture("twins.so", "-fPIC -shared");
    uint64_t a = ask(handle, "fixture_twin_a"), b = ask(handle, "fixture_twin_b"), found[4];
    struct loaded loaded;
    load_self(&loaded);
    assert_int_equal(find(&loaded, "twin"), 0);
    assert_says(&loaded.err, REDEFINE_EAMBIGUOUS, "twin names 2 functions");
    assert_says(&loaded.err, REDEFINE_EAMBIGUOUS, "twins.so!twin@image_a.c");
    assert_says(&loaded.err, REDEFINE_EAMBIGUOUS, "twins.so!twin@image_b.c");
    assert_int_equal(follow_the_message(&loaded, found, 4), 2);
    assert_true((found[0] == a && found[1] == b) || (found[0] == b && found[1] == a));
    assert_int_equal(find(&loaded, "twin@image_a.c"), a);
    assert_int_equal(find(&loaded, "twin@src/image_b.c"), b);
    assert_int_equal(find(&loaded, "twins.so!only_in_a"), ask(handle, "fixture_only_in_a"));
    assert_int_equal(find(&loaded, "only_in_a"), ask(handle, "fixture_only_in_a"));
    assert_int_equal(find(&loaded, "fixture_exported"), address(dlsym(handle, "fixture_exported")));
    assert_int_equal(find(&loaded, "fixture_data"), 0);
    assert_says(&loaded.err, REDEFINE_ENOTFOUND, "fixture_data in twins.so is data");
    unload(&loaded);

    /* What dlopen brought is not in the global scope: the first is no better than the second. */
    void *second = open_fixture("second.so", "-fPIC -shared");
    load_self(&loaded);
    assert_int_equal(find(&loaded, "fixture_exported"), 0);
    assert_says(&loaded.err, REDEFINE_EAMBIGUOUS, "fixture_exported names 2 functions");
    assert_int_equal(follow_the_message(&loaded, found, 4), 2);
    unload(&loaded);
    dlclose(second);

    /* The same object in another namespace: the main one's is meant by its name alone, and statics, of
     * which none is the loader's choice, are told apart by address. */
    char path[512];
    snprintf(path, sizeof path, "%s/twins.so", work_folder());
    void *again = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
    if (again) {
        load_self(&loaded);
        assert_int_equal(find(&loaded, "only_in_a"), 0);
        assert_int_equal(follow_the_message(&loaded, found, 4), 2);
        assert_int_not_equal(found[0], found[1]);
        unload(&loaded);
        dlclose(again);
    }
    dlclose(handle);
}

/* Hidden images: not by name, but by address. */
static void test_hidden(void **state)
{
    (void)state;
    void *handle = open_fixture("hidden.so", "-fPIC -shared");
    uint64_t want = ask(handle, "fixture_only_in_a");
    struct loaded loaded;
    load_self(&loaded);
    assert_int_equal(find(&loaded, "only_in_a"), want);
    struct rdf_image *image = rdf_images_at(&loaded.images, want);
    rdf_image_hide(image);
    assert_int_equal(find(&loaded, "only_in_a"), 0);
    assert_says(&loaded.err, REDEFINE_ENOTFOUND, "no function is called only_in_a");
    assert_int_equal(find(&loaded, "hidden.so!only_in_a"), 0);
    assert_says(&loaded.err, REDEFINE_ENOTFOUND, "no loaded object is called hidden.so");
    struct rdf_function function;
    memset(&loaded.err, 0, sizeof loaded.err);
    assert_int_equal(rdf_images_function(&loaded.images, want, &function, &loaded.err), REDEFINE_OK);
    assert_string_equal(function.name, "only_in_a");
    unload(&loaded);
    dlclose(handle);
}

/* Hash tables of either kind, or none that we know, find the same. */
static void test_hash_styles(void **state)
{
    (void)state;
    static const char *const style[] = {"gnu", "sysv", "both"};
    for (size_t i = 0; i < sizeof style / sizeof *style; i++) {
        char name[64], options[128], text[128];
        snprintf(name, sizeof name, "hash-%s.so", style[i]);
        snprintf(options, sizeof options, "-fPIC -shared -s -Wl,--hash-style=%s", style[i]);
        void *handle = open_fixture(name, options);
        struct loaded loaded;
        load_self(&loaded);
        snprintf(text, sizeof text, "%s!fixture_exported", name);
        assert_int_equal(find(&loaded, text), address(dlsym(handle, "fixture_exported")));
        snprintf(text, sizeof text, "%s!fixture_nothing", name);
        assert_int_equal(find(&loaded, text), 0);
        struct rdf_function function;
        uint64_t stripped = ask(handle, "fixture_twin_a"); /* bounds without a name */
        assert_int_equal(rdf_images_function(&loaded.images, stripped, &function, &loaded.err), REDEFINE_OK);
        assert_null(function.name);
        assert_int_equal(function.source, RDF_BOUNDS_UNWIND);
        unload(&loaded);
        dlclose(handle);
    }
}

static void test_cxx(void **state)
{
    (void)state;
    void *handle = dlopen(compile("c++", "cxx.so", "image_cxx.cc", "-fPIC -shared"), RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        fail_msg("%s", dlerror());
    struct loaded loaded;
    load_self(&loaded);
    static const char *const same[][2] = {
        {"ns::C::m(int)", "_ZN2ns1C1mEi"},
        {"ns::C::m( int )", "_ZN2ns1C1mEi"},
        {"cxx.so!ns::C::m(int)", "_ZN2ns1C1mEi"},
        {"ns::C::m(char const*, int*)", "_ZN2ns1C1mEPKcPi"},
        {"ns::C::m(char const *,int *)", "_ZN2ns1C1mEPKcPi"},
        {"ns::C::only", "_ZNK2ns1C4onlyEv"},
        {"ns::C::only() const", "_ZNK2ns1C4onlyEv"},
        {"ns::C::operator_free", "_ZN2ns1C13operator_freeEi"},
        {"ns::C::operator!=", "_ZNK2ns1CneERKS0_"},
        {"ns::C::operator!=(ns::C const&) const", "_ZNK2ns1CneERKS0_"},
        {"ns::C::operator()", "_ZN2ns1CclEi"},
        {"ns::C::operator()(int)", "_ZN2ns1CclEi"},
        {"ns::C::C(int)", "_ZN2ns1CC1Ei"},
        {"ns::C::~C", "_ZN2ns1CD1Ev"},
        {"ns::twice<int>", "_ZN2ns5twiceIiEET_S1_"},
        {"int ns::twice<int>(int)", "_ZN2ns5twiceIiEET_S1_"},
        {"ns::twice<long>(long)", "_ZN2ns5twiceIlEET_S1_"},
        {"ns::greet", "_ZN2ns5greetERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"},
        {"_ZN2ns1C1mEi", "_ZN2ns1C1mEi"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        uint64_t want = address(dlsym(handle, same[i][1]));
        if (!want) {
            print_message("# %s is not there\n", same[i][1]);
            if (i < sizeof same / sizeof *same - 2) /* the string's ABI may differ */
                fail();
        }
        if (want && find(&loaded, same[i][0]) != want)
            fail_msg("%s: %s", same[i][0], loaded.err.sentence);
    }
    assert_int_equal(find(&loaded, "(anonymous namespace)::hidden_one"), 0);
    assert_int_equal(find(&loaded, "ns::(anonymous namespace)::hidden_one"), ask(handle, "cxx_hidden_one"));
    assert_int_equal(find(&loaded, "ns::(anonymous namespace)::hidden_one(unsigned int)"),
                     ask(handle, "cxx_hidden_one"));
    assert_int_equal(find(&loaded, "static_cxx"), ask(handle, "cxx_static"));
    assert_int_equal(find(&loaded, "static_cxx(int)"), ask(handle, "cxx_static"));
    assert_int_equal(find(&loaded, "static_cxx@image_cxx.cc"), ask(handle, "cxx_static"));

    uint64_t found[4];
    assert_int_equal(find(&loaded, "ns::C::m"), 0);
    assert_says(&loaded.err, REDEFINE_EAMBIGUOUS, "ns::C::m names 2 functions");
    assert_int_equal(follow_the_message(&loaded, found, 4), 2);
    assert_int_equal(find(&loaded, "ns::C::m(long)"), 0);
    assert_says(&loaded.err, REDEFINE_ENOTFOUND, "did you mean ns::C::m(");
    assert_int_equal(find(&loaded, "ns::twice"), 0);
    assert_says(&loaded.err, REDEFINE_ENOTFOUND, "did you mean int");
    assert_says(&loaded.err, REDEFINE_ENOTFOUND, "twice<long>(long)");
    unload(&loaded);
    dlclose(handle);
}

static void test_near_names(void **state)
{
    (void)state;
    struct loaded loaded;
    load_self(&loaded);
    assert_int_equal(find(&loaded, "static_of_this_tset"), 0);
    assert_says(&loaded.err, REDEFINE_ENOTFOUND, "did you mean static_of_this_test?");
    assert_int_equal(find(&loaded, "qsrot"), 0);
    assert_says(&loaded.err, REDEFINE_ENOTFOUND, "qsort");
    assert_int_equal(find(&loaded, "libq.so!x"), 0);
    assert_says(&loaded.err, REDEFINE_ENOTFOUND, "no loaded object is called libq.so");
    static const char *const bad[] = {"", "!", "libc.so.6!", "x@", "a!b@", "!time"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(find(&loaded, bad[i]), 0);
        assert_says(&loaded.err, REDEFINE_EINVAL, "empty");
    }
    char *endless = calloc(1, 10001);
    memset(endless, 'a', 10000);
    assert_int_equal(find(&loaded, endless), 0);
    assert_says(&loaded.err, REDEFINE_EINVAL, "longer than");
    free(endless);
    unload(&loaded);
}

static void test_describe(void **state)
{
    (void)state;
    struct loaded loaded;
    load_self(&loaded);
    char text[200];
    uint64_t here = address((void *)(uintptr_t)&static_of_this_test);
    rdf_images_describe(&loaded.images, here, text, sizeof text);
    assert_string_equal(text, "static_of_this_test in image_find");
    rdf_images_describe(&loaded.images, here + 1, text, sizeof text);
    assert_string_equal(text, "static_of_this_test+0x1 in image_find");
    rdf_images_describe(&loaded.images, 16, text, sizeof text);
    assert_string_equal(text, "0x10");
    rdf_images_describe(&loaded.images, address(text), text, sizeof text);
    assert_non_null(strstr(text, " in [stack]"));
    char tiny[4] = "xyz";
    rdf_images_describe(&loaded.images, here, tiny, sizeof tiny);
    assert_string_equal(tiny, "sta");
    unload(&loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_static_of_this_program),
        cmocka_unit_test(test_as_the_loader),
        cmocka_unit_test(test_two_of_one_name),
        cmocka_unit_test(test_hidden),
        cmocka_unit_test(test_hash_styles),
        cmocka_unit_test(test_cxx),
        cmocka_unit_test(test_near_names),
        cmocka_unit_test(test_describe),
    };
    return run_group("image_find", tests, sizeof tests / sizeof *tests);
}
