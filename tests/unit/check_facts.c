/* SPDX-License-Identifier: MIT
 *
 * What code and symbols tell of functions (src/check/facts.h): clones, other names, callers; and of every
 * function of a real library at once.
 */
#include "image_common.h"

#include "check/facts.h"

#include <dlfcn.h>
#include <time.h>

static struct loaded loaded;

static int set_up(void **state)
{
    (void)state;
    const char *path = compile("gcc", "clones.so", "clones.c", "-O3 -fPIC -shared");
    assert_non_null(dlopen(path, RTLD_NOW));
    load_self(&loaded);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    unload(&loaded);
    remove_work_folder();
    return 0;
}

static struct rdf_facts facts_of(const char *name)
{
    struct rdf_function function;
    struct rdf_facts facts;
    uint64_t addr = find(&loaded, name);
    if (!addr || rdf_images_function(&loaded.images, addr, &function, &loaded.err) != REDEFINE_OK)
        fail_msg("%s: %s", name, loaded.err.sentence);
    function.name = name; /* of several, the one that was asked for */
    assert_int_equal(rdf_facts_gather(&loaded.images, &function, 1, &loaded.arena, &facts, &loaded.err),
                     REDEFINE_OK);
    assert_true(facts.is_complete);
    return facts;
}

static const struct rdf_clone *clone_named(const struct rdf_facts *facts, const char *name)
{
    for (size_t i = 0; i < facts->clone_count; i++)
        if (strcmp(facts->clone[i].name, name) == 0)
            return &facts->clone[i];
    fail_msg("no clone %s among %zu", name, facts->clone_count);
    return NULL;
}

static void test_clone_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum rdf_clone_kind kind;
        size_t base;
    } cases[] = {
        {"f.constprop.0", RDF_CLONE_CONSTPROP, 1}, {"f.isra.12", RDF_CLONE_ISRA, 1},
        {"f.part.0", RDF_CLONE_PART, 1},           {"f.cold", RDF_CLONE_COLD, 1},
        {"f.constprop.0.cold", RDF_CLONE_COLD, 1}, {"f.part.0.constprop.1", RDF_CLONE_PART, 1},
        {"f.lto_priv.0", RDF_CLONE_PROMOTED, 1},   {"ab.isra.0.constprop.0", RDF_CLONE_ISRA, 2},
        {"f.llvm.9183", RDF_CLONE_PROMOTED, 1},    {"f.specialized.1", RDF_CLONE_CONSTPROP, 1},
    };
    enum rdf_clone_kind kind;
    size_t base;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(rdf_clone_of(cases[i].name, &kind, &base));
        assert_int_equal(kind, cases[i].kind);
        assert_int_equal(base, cases[i].base);
    }
    assert_false(rdf_clone_of("main.parse", &kind, &base));
    assert_false(rdf_clone_of(".cold", &kind, &base));
    assert_false(rdf_clone_of("", &kind, &base));
}

static void test_clones(void **state)
{
    (void)state;
    struct rdf_facts scaled = facts_of("scaled");
    assert_int_equal(scaled.clone_count, 1);
    const struct rdf_clone *clone = clone_named(&scaled, "scaled.constprop.0");
    assert_int_equal(clone->kind, RDF_CLONE_CONSTPROP);
    assert_int_equal(clone->direct_calls, 3);
    assert_int_equal(scaled.direct_calls, 1);
    assert_int_equal(scaled.taken_addresses, 1);
    assert_int_equal(clone->caller_count, 3);
    for (size_t i = 0; i < clone->caller_count; i++)
        assert_non_null(clone->caller[i].name);

    struct rdf_facts checked = facts_of("checked");
    assert_int_equal(checked.clone_count, 4);
    assert_int_equal(clone_named(&checked, "checked.cold")->kind, RDF_CLONE_COLD);
    assert_int_equal(clone_named(&checked, "checked.part.0")->kind, RDF_CLONE_PART);
    assert_int_equal(clone_named(&checked, "checked.isra.3")->kind, RDF_CLONE_ISRA);
    assert_int_equal(clone_named(&checked, "checked.lto_priv.1")->kind, RDF_CLONE_PROMOTED);
    assert_int_equal(clone_named(&checked, "checked.lto_priv.1")->direct_calls, 1);
    assert_true(checked.is_exported);
}

static void assert_other_name(const char *name, const char *other, bool is_folded)
{
    struct rdf_facts facts = facts_of(name);
    for (size_t i = 0; i < facts.other_name_count; i++)
        if (strcmp(facts.other_name[i].name, other) == 0) {
            assert_int_equal(facts.other_name[i].is_folded, is_folded);
            return;
        }
    fail_msg("%s has no other name %s", name, other);
}

static void test_other_names(void **state)
{
    (void)state;
    assert_other_name("first_name", "second_name", false);
    assert_other_name("celsius", "kelvin", true);
    assert_int_equal(facts_of("scaled").other_name_count, 0);
}

/* ---- a whole library ---- */

struct all {
    struct rdf_function function[20000];
    size_t count;
    struct rdf_image *image;
};

static enum rdf_visit add(void *ctx, struct rdf_image *image, const char *name, const char *readable,
                          uint64_t addr, bool is_ifunc)
{
    struct all *all = ctx;
    struct rdf_error unused = {0};
    (void)name, (void)readable, (void)is_ifunc;
    if (image != all->image || all->count == 20000)
        return RDF_VISIT_TAKEN;
    all->count += rdf_images_function(&loaded.images, addr, &all->function[all->count], &unused) ==
                  REDEFINE_OK;
    return RDF_VISIT_TAKEN;
}

static int by_start(const void *a, const void *b)
{
    const struct rdf_function *left = a, *right = b;
    return (left->start > right->start) - (left->start < right->start);
}

/* What is told of many at once is what is told of each. */
static void test_all(void **state)
{
    (void)state;
    static struct all all;
    all.image = rdf_images_at(&loaded.images, find(&loaded, "malloc"));
    assert_non_null(all.image);
    rdf_images_each(&loaded.images, "*", add, &all);
    qsort(all.function, all.count, sizeof all.function[0], by_start);
    size_t count = 0; /* an IFUNC's resolver may be a function too */
    for (size_t i = 0; i < all.count; i++)
        if (count == 0 || all.function[count - 1].start != all.function[i].start)
            all.function[count++] = all.function[i];
    print_message("# %zu of %zu\n", count, all.count);
    all.count = count;
    assert_true(all.count > 1000);
    struct rdf_facts *facts = rdf_arena_alloc(&loaded.arena, all.count * sizeof *facts);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    assert_int_equal(rdf_facts_gather(&loaded.images, all.function, all.count, &loaded.arena, facts,
                                      &loaded.err),
                     REDEFINE_OK);
    clock_gettime(CLOCK_MONOTONIC, &end);
    size_t relied_on = 0, calls = 0;
    for (size_t i = 0; i < all.count; i++) {
        relied_on += facts[i].left_alone || facts[i].is_misaligned;
        calls += facts[i].direct_calls;
    }
    print_message("# %zu functions, %zu calls, %zu relied on, %.0f ms\n", all.count, calls, relied_on,
                  (double)(end.tv_sec - start.tv_sec) * 1e3 + (double)(end.tv_nsec - start.tv_nsec) / 1e6);
    assert_true(calls > all.count);
    for (size_t i = 0; i < all.count; i += 97) {
        struct rdf_facts one;
        assert_int_equal(rdf_facts_gather(&loaded.images, &all.function[i], 1, &loaded.arena, &one,
                                          &loaded.err),
                         REDEFINE_OK);
        assert_int_equal(one.direct_calls, facts[i].direct_calls);
        assert_int_equal(one.taken_addresses, facts[i].taken_addresses);
        assert_int_equal(one.is_exported, facts[i].is_exported);
        /* Of many, more is looked at before the work is broken off: what one shows is a part of it. */
        assert_int_equal(one.left_alone & ~facts[i].left_alone, 0);
        assert_int_equal(one.clone_count, facts[i].clone_count);
        assert_int_equal(one.other_name_count, facts[i].other_name_count);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clone_names),
        cmocka_unit_test(test_clones),
        cmocka_unit_test(test_other_names),
        cmocka_unit_test(test_all),
    };
    return cmocka_run_group_tests_name("check_facts", tests, set_up, tear_down);
}
