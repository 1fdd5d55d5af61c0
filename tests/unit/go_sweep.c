/* SPDX-License-Identifier: MIT
 *
 * Every function of a real Go program (gofmt, of each toolchain that is there): is there a way in? What is
 * refused is counted by reason and printed; docs/limits.md quotes it.
 */
#include "image_go.h"

#include "api/go_plan.h"

enum reason { WRAPPER, INTRINSIC, ASSEMBLY, BEGINS_AGAIN, LOOP, FAULT, SHORT, OTHER, REASONS };

static const struct {
    const char *says;
    const char *name;
} reasons[REASONS] = {
    [WRAPPER] = {NULL, "made by the compiler"},
    [INTRINSIC] = {NULL, "calls are instructions"},
    [ASSEMBLY] = {"is written in assembly", "assembly"},
    [BEGINS_AGAIN] = {"leads to its entry again", "the entry is the head of a loop"},
    [LOOP] = {"a loop of", "a loop begins in the first instructions"},
    [FAULT] = {"where a fault came from", "what would be moved may fault"},
    [SHORT] = {NULL, "too short"},
    [OTHER] = {NULL, "other"},
};

static enum reason reason_of(redefine_status status, const struct rdf_error *err)
{
    if (status == REDEFINE_EBOUND || status == REDEFINE_EWRAPPER || status == REDEFINE_EINVAL)
        return WRAPPER;
    if (status == REDEFINE_EINLINED)
        return INTRINSIC;
    for (enum reason reason = 0; reason < REASONS; reason++)
        if (reasons[reason].says && strstr(err->sentence, reasons[reason].says))
            return reason;
    return status == REDEFINE_ESHORT ? SHORT : OTHER;
}

static redefine_status try_function(struct rdf_images *images, uint64_t entry, struct rdf_error *err)
{
    const struct rdf_go_abi *abi = rdf_go_abi_native();
    struct rdf_go_target target;
    struct rdf_go_plan plan;
    redefine_status status = rdf_go_target(images, abi, entry, NULL, &target, err);
    if (status == REDEFINE_OK)
        status = rdf_go_target_begin(abi, &target, err);
    return status == REDEFINE_OK ? rdf_go_plan_way(images, abi, &target, &plan, err) : status;
}

/* The gofmt of a toolchain: its own, or for another CPU than that toolchain's one that it builds. Null: none.
 */
static const char *gofmt_of(const char *go)
{
    static char path[1024];
    char command[4096], flags[128] = "";
    bool is_arm = strcmp(rdf_arch_native()->name, "aarch64") == 0;
    snprintf(command, sizeof command, "GOTOOLCHAIN=local %s env GOROOT GOHOSTARCH 2>/dev/null | tr '\\n' ' '",
             go);
    char root[512] = "", cpu[16] = "";
    if (sscanf(go_output(command), "%511s %15s", root, cpu) != 2)
        return NULL;
    snprintf(path, sizeof path, "%s/bin/gofmt", root);
    if (is_arm == (strcmp(cpu, "arm64") == 0))
        return access(path, R_OK) == 0 ? path : NULL;
    snprintf(flags, sizeof flags, "GOOS=linux GOARCH=%s CGO_ENABLED=0", is_arm ? "arm64" : "amd64");
    snprintf(path, sizeof path, "%s/gofmt", work_folder());
    snprintf(command, sizeof command,
             "cd %s/src && %s GOFLAGS= GOPROXY=off GOTOOLCHAIN=local HOME=${HOME:-%s} "
             "%s build -o %s ./cmd/gofmt >%s.log 2>&1",
             root, flags, work_folder(), go, path, path);
    return system(command) == 0 ? path : NULL;
}

static void sweep(void **state)
{
    const char *path = gofmt_of(*state);
    if (!path) {
        print_message("# SKIP no gofmt of %s here, or it cannot be built for this CPU\n",
                      (const char *)*state);
        skip();
    }
    struct go_file file;
    struct loaded loaded;
    const struct rdf_go *go;
    go_read_file(&file, path);
    loaded.space = (struct rdf_space){&go_ops, &file};
    load_space(&loaded);
    assert_int_equal(rdf_go_open(&loaded.images, loaded.images.image[0], &go, &loaded.err), REDEFINE_OK);
    size_t refused[REASONS] = {0};
    size_t total = 0;
    for (uint32_t i = 0; i < rdf_go_func_count(go); i++) {
        struct rdf_go_func func;
        struct rdf_error err = {0};
        if (!rdf_go_func(go, i, &func) || func.is_foreign)
            continue;
        total++;
        redefine_status status = try_function(&loaded.images, func.entry, &err);
        if (status == REDEFINE_OK)
            continue;
        enum reason reason = reason_of(status, &err);
        refused[reason]++;
        if (getenv("SWEEP_SHOW") && reason != WRAPPER && reason != ASSEMBLY)
            print_message("# %s: %s\n", func.name, err.sentence);
    }
    size_t to_blame = refused[BEGINS_AGAIN] + refused[LOOP] + refused[FAULT] + refused[SHORT] +
                      refused[OTHER];
    print_message("# %s: %zu functions\n", rdf_go_version(go), total);
    for (size_t i = 0; i < REASONS; i++)
        if (refused[i])
            print_message("#   refused, %s: %zu\n", reasons[i].name, refused[i]);
    assert_true(total > 1000);
    assert_int_equal(refused[OTHER], 0);
    assert_true(to_blame * 100 < total); /* of what people write, less than one in a hundred */
    unload(&loaded);
    go_free_file(&file);
}

int main(void)
{
    if (!rdf_go_abi_native()) {
        print_message("1..0 # SKIP Go's calling convention is not known on this CPU\n");
        return 0;
    }
    static struct CMUnitTest tests[2];
    for (size_t i = 0; i < 2; i++)
        tests[i] = (struct CMUnitTest){go_commands[i], sweep, NULL, NULL, (void *)(uintptr_t)go_commands[i]};
    return run_group("go_sweep", tests, 2);
}
