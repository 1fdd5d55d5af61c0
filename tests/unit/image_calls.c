/* SPDX-License-Identifier: MIT
 *
 * Who refers to a function, and what its callers rely on beyond the ABI (src/image/calls.h): a library made
 * for it, and all functions of a real one against what libelf and the decoder tell.
 */
#include "image_common.h"

#include "image/calls.h"

#include <dlfcn.h>

/* Without it the linker makes one instruction of each pair; unit/check_facts has those. */
#ifdef __riscv
#define FAR_CALLS " -mno-relax"
#else
#define FAR_CALLS ""
#endif

static struct loaded loaded;

static int set_up(void **state)
{
    (void)state;
    /* gcc: clang leaves no more registers alone than the ABI says. */
    const char *path = compile("gcc", "calls.so", "image_calls.c", "-fPIC -shared -fno-inline" FAR_CALLS);
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

static struct rdf_function function_in(struct loaded *in, const char *name)
{
    struct rdf_function function;
    uint64_t addr = find(in, name);
    if (!addr || rdf_images_function(&in->images, addr, &function, &in->err) != REDEFINE_OK)
        fail_msg("%s: %s", name, in->err.sentence);
    return function;
}

static struct rdf_function function_named(const char *name)
{
    return function_in(&loaded, name);
}

static struct rdf_references references_in(struct loaded *in, const char *name)
{
    struct rdf_function function = function_in(in, name);
    struct rdf_references ask = {.start = function.start, .end = function.end};
    assert_int_equal(rdf_image_references(&in->images, function.image, &ask, 1, false, NULL, NULL, &in->err),
                     REDEFINE_OK);
    return ask;
}

static void assert_references(const char *name, unsigned calls, unsigned jumps, unsigned addresses,
                              bool is_exported)
{
    struct rdf_references found = references_in(&loaded, name);
    if (found.calls != calls || found.jumps != jumps || found.addresses != addresses ||
        found.is_exported != is_exported)
        fail_msg("%s: %u calls, %u jumps, %u addresses%s", name, found.calls, found.jumps, found.addresses,
                 found.is_exported ? ", exported" : "");
}

static void test_references(void **state)
{
    (void)state;
    assert_references("twice", 2, 0, 0, false);
    assert_references("count_one", 1, 0, 0, false);
    assert_references("in_table", 0, 0, 1, false);
    assert_references("by_address", 0, 0, 1, false);
    assert_references("recursive", 0, 0, 0, false);
    assert_references("nobody", 0, 0, 0, false);
    assert_references("at_the_end", 0, 1, 0, false);
    assert_references("keeps_nothing", 0, 0, 0, true);
}

/* Linkers may put constants into the segment of the code; those of arm64 do so unasked. */
static void test_constants_beside_code(void **state)
{
    (void)state;
    if (is_emulated()) {
        print_message("# skip: an emulator runs no other program\n");
        skip();
    }
    const char *path = compile("gcc", "constants", "image_calls_program.c",
                               "-fno-inline -fno-pie -no-pie -Wl,-z,noseparate-code");
    struct remote remote;
    struct loaded there;
    char line[16];
    start_program(&remote, path, NULL);
    assert_non_null(fgets(line, sizeof line, remote.output));
    there.space = (struct rdf_space){&remote_ops, &remote};
    load_space(&there);
    struct rdf_references in_table = references_in(&there, "in_table");
    struct rdf_references by_address = references_in(&there, "by_address");
    struct rdf_references nobody = references_in(&there, "nobody");
    unload(&there);
    stop_program(&remote);
    assert_int_equal(in_table.addresses, 2);
    assert_int_equal(in_table.words, 2);
    assert_int_equal(by_address.addresses, 1);
    assert_int_equal(by_address.words, 0);
    assert_int_equal(nobody.addresses, 0);
}

static struct rdf_reliance reliance_of(const char *name)
{
    struct rdf_function function = function_named(name);
    struct rdf_reliance reliance;
    assert_int_equal(rdf_image_reliance(&loaded.images, function.image, &function, 1, NULL, &reliance,
                                        &loaded.err),
                     REDEFINE_OK);
    return reliance;
}

static void assert_names(uint64_t registers, const char *wanted)
{
    char names[512];
    rdf_register_names(loaded.images.arch, registers, names, sizeof names);
    assert_string_equal(names, wanted);
}

/* That gcc does keep its values there is visible in the code: objdump -d calls.so. */
static void test_reliance(void **state)
{
    (void)state;
    if (loaded.images.arch != &rdf_arch_x86_64) {
        print_message("# skip: the register names are those of x86-64\n");
        skip();
    }
    struct rdf_reliance twice = reliance_of("twice");
    assert_false(twice.left_alone & 1);      /* rax */
    assert_true(twice.left_alone >> 16 & 1); /* xmm0 */
    /* What keeps_integers was given in xmm0 and xmm1 may be its result, for all that the code tells. */
    assert_names(twice.relied_on & ~loaded.images.arch->vector_regs, "rcx, rdx, rsi and r8");
    assert_int_equal(twice.relied_on & ~(UINT64_C(3) << 16) & loaded.images.arch->vector_regs, 0);
    assert_true(twice.is_misaligned);
    assert_true(twice.caller_addr > find(&loaded, "keeps_integers"));

    struct rdf_reliance count_one = reliance_of("count_one");
    assert_true((count_one.relied_on & 0xc4) == 0xc4); /* rdx, rsi, rdi */
    assert_true(count_one.is_misaligned);

    struct rdf_reliance doubled = reliance_of("doubled");
    assert_names(doubled.relied_on, "xmm1");
    assert_in_range(doubled.vector_bytes, 8, 16);

    assert_names(reliance_of("calls_out").left_alone, "");
    assert_false(reliance_of("calls_out").is_misaligned);
    /* Results of one puts that could be arguments of the next, for all that the code tells: rdx, xmm0, xmm1.
     */
    assert_int_equal(reliance_of("plain").relied_on & ~UINT64_C(0x30004), 0);
    assert_false(reliance_of("plain").is_misaligned);
    assert_names(reliance_of("nobody").relied_on, "");
}

static void test_names(void **state)
{
    (void)state;
    char names[8];
    assert_names(0, "");
    rdf_register_names(&rdf_arch_x86_64, 7, names, sizeof names);
    assert_string_equal(names, "rax");
    rdf_register_names(&rdf_arch_aarch64, UINT64_C(1) << 33 | 2, names, sizeof names);
    assert_string_equal(names, "x1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_constants_beside_code),
        cmocka_unit_test(test_reliance),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests_name("image_calls", tests, set_up, tear_down);
}
