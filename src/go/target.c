/* SPDX-License-Identifier: MIT */
#include "go/target.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <string.h>

/* ---- what it is ---- */

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text);
    size_t end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static redefine_status open_module(struct rdf_images *images, uint64_t code, struct rdf_error *err)
{
    struct rdf_image *image = rdf_images_at(images, code);
    const struct rdf_go *go;
    struct rdf_error why = {0};
    redefine_status status = image ? rdf_go_open(images, image, &go, &why) : REDEFINE_ENOTFOUND;
    if (status == REDEFINE_OK)
        return status;
    if (status == REDEFINE_EUNSUPPORTED)
        return rdf_fail(err, REDEFINE_EVERSION, "%s", why.sentence);
    return rdf_fail(err, REDEFINE_EINVAL, "0x%" PRIx64 " is not in a Go program's own code", code);
}

static redefine_status read_code(struct rdf_images *images, const struct rdf_go_func *func,
                                 struct rdf_span *ret, struct rdf_error *err)
{
    size_t len = (size_t)(func->end - func->entry);
    const void *view = images->space->ops->view(images->space, func->entry, len);
    if (!view)
        return rdf_fail(err, REDEFINE_ESYSTEM, "the code of %s could not be read", func->name);
    *ret = (struct rdf_span){view, len};
    return REDEFINE_OK;
}

/* The function that a wrapper calls: the last direct call or jump to another function that is not the
 * runtime's. False for one that goes through an interface's table. */
static bool wrapped(const struct rdf_images *images, const struct rdf_go_func *func, struct rdf_span code,
                    struct rdf_go_func *ret)
{
    struct rdf_insn insn;
    bool found = false;
    for (size_t off = 0; off < code.len_bytes; off += insn.len_bytes) {
        struct rdf_go_func callee;
        if (!images->arch->decode(rdf_span_slice(code, off, code.len_bytes - off), func->entry + off, &insn))
            return found;
        bool leaves = insn.flow == RDF_FLOW_CALL || insn.flow == RDF_FLOW_JUMP;
        if (!leaves || !insn.has_target || !rdf_go_func_at(func->go, insn.target, &callee) ||
            callee.entry != insn.target || callee.entry == func->entry ||
            strncmp(callee.name, "runtime.", 8) == 0)
            continue;
        *ret = callee;
        found = true;
    }
    return found;
}

/* An ABI wrapper has the name of the assembly function that it calls: it is what Go code calls. */
static redefine_status refuse_wrapper(const struct rdf_images *images, const struct rdf_go_func *func,
                                      struct rdf_span code, struct rdf_error *err)
{
    struct rdf_go_func callee;
    if (wrapped(images, func, code, &callee)) {
        if (callee.flags & RDF_GO_ASM || strcmp(callee.name, func->name) == 0)
            return REDEFINE_OK;
        return rdf_fail(
            err, REDEFINE_EWRAPPER,
            "%s is made by the compiler and only calls %s, which is what others call: redefine that "
            "one, with its receiver",
            func->name, callee.name);
    }
    struct rdf_insn insn;
    for (size_t off = 0; off < code.len_bytes; off += insn.len_bytes) {
        if (!images->arch->decode(rdf_span_slice(code, off, code.len_bytes - off), func->entry + off, &insn))
            break;
        if (insn.flow == RDF_FLOW_CALL_INDIRECT || insn.flow == RDF_FLOW_JUMP_INDIRECT)
            return rdf_fail(err, REDEFINE_EBOUND,
                            "%s is a method of an interface: each type behind it has a method of its own; "
                            "redefine that of the type, (*T).M or T.M",
                            func->name);
    }
    return rdf_fail(
        err, REDEFINE_EWRAPPER,
        "%s is made by the compiler, with a copy of the method inside; redefine the method of the "
        "type that declares it",
        func->name);
}

/* Calls of these are instructions, however the program is built (cmd/compile/internal/ssagen/intrinsics.go);
 * some are followed by a real call, for CPUs that do not have the instruction. */
static bool is_intrinsic(const char *name)
{
    static const char *const packages[] = {"math/bits.",
                                           "sync/atomic.",
                                           "internal/runtime/atomic.",
                                           "internal/runtime/sys.",
                                           "internal/runtime/math.",
                                           "runtime/internal/atomic.",
                                           "runtime/internal/sys.",
                                           "runtime/internal/math."};
    static const char *const functions[] = {"math.Abs",
                                            "math.Ceil",
                                            "math.Copysign",
                                            "math.FMA",
                                            "math.Floor",
                                            "math.Round",
                                            "math.Sqrt",
                                            "math.sqrt",
                                            "math.RoundToEven",
                                            "math.Trunc",
                                            "math/big.mulWW",
                                            "runtime.KeepAlive",
                                            "crypto/internal/constanttime.Select"};
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (strcmp(name, functions[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof packages / sizeof *packages; i++)
        if (strncmp(name, packages[i], strlen(packages[i])) == 0)
            return !strchr(name, '('); /* methods are functions as any other */
    return false;
}

static redefine_status find_body(struct rdf_images *images, const struct rdf_go_abi *abi,
                                 const struct rdf_go_wrapper *known, struct rdf_go_target *target,
                                 struct rdf_error *err)
{
    struct rdf_go_func *func = &target->func;
    redefine_status status = read_code(images, func, &target->code, err);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_go_func shape;
    if (known)
        target->wrapper = *known;
    target->is_generic = (known || abi->wrapper(target->code, func->entry, &target->wrapper)) &&
                         rdf_go_func_at(func->go, target->wrapper.shape, &shape) &&
                         shape.entry == target->wrapper.shape && strchr(shape.name, '[') &&
                         (func->is_wrapper || strcmp(shape.name, func->name) == 0);
    if (!target->is_generic)
        return func->is_wrapper ? refuse_wrapper(images, func, target->code, err) : REDEFINE_OK;
    target->own = *func;
    *func = shape;
    return read_code(images, func, &target->code, err);
}

static redefine_status begin_at(struct rdf_images *images, const struct rdf_go_abi *abi,
                                struct rdf_go_target target, struct rdf_go_target *ret, struct rdf_error *err)
{
    redefine_status status = read_code(images, &target.func, &target.code, err);
    if (status == REDEFINE_OK)
        status = rdf_go_target_begin(abi, &target, err);
    if (status == REDEFINE_OK)
        *ret = target;
    return status;
}

redefine_status rdf_go_target_own(struct rdf_images *images, const struct rdf_go_abi *abi,
                                  const struct rdf_go_target *target, struct rdf_go_target *ret,
                                  struct rdf_error *err)
{
    return begin_at(images, abi, (struct rdf_go_target){.func = target->own}, ret, err);
}

redefine_status rdf_go_target_other(struct rdf_images *images, const struct rdf_go_abi *abi,
                                    const struct rdf_go_target *target, const struct rdf_go_func *other,
                                    struct rdf_go_target *ret, struct rdf_error *err)
{
    struct rdf_go_wrapper wrapper = {.shape = other->entry,
                                     .dictionary = target->wrapper.dictionary,
                                     .position = target->wrapper.position};
    struct rdf_go_target body = {.func = *other, .is_generic = true, .wrapper = wrapper, .own = target->own};
    return begin_at(images, abi, body, ret, err);
}

redefine_status rdf_go_target(struct rdf_images *images, const struct rdf_go_abi *abi, uint64_t code,
                              const struct rdf_go_wrapper *known, struct rdf_go_target *ret,
                              struct rdf_error *err)
{
    struct rdf_go_target target = {0};
    redefine_status status = open_module(images, code, err);
    if (status != REDEFINE_OK)
        return status;
    const struct rdf_go *go = rdf_go_at(images, code);
    if (!go || !rdf_go_func_at(go, code, &target.func) || target.func.entry != code)
        return rdf_fail(err, REDEFINE_EINVAL, "0x%" PRIx64 " is not the entry of a Go function", code);
    const char *name = target.func.name;
    if (ends_with(name, "-fm"))
        return rdf_fail(
            err, REDEFINE_EBOUND,
            "%.*s is bound to its receiver: this func value is made for one variable, and callers of "
            "the method do not go through it; name the method of the type, (*T).M or T.M",
            (int)(strlen(name) - 3), name);
    if (strcmp(name, "reflect.makeFuncStub") == 0 || strcmp(name, "reflect.methodValueCall") == 0)
        return rdf_fail(
            err, REDEFINE_EINVAL,
            "the target was made by package reflect: all such functions have their code in common");
    if (is_intrinsic(name))
        return rdf_fail(
            err, REDEFINE_EINLINED,
            "the compiler writes calls of %s as instructions of their own, whatever the flags; those "
            "callers would not notice: redefine what calls it",
            name);
    status = find_body(images, abi, known, &target, err);
    if (status == REDEFINE_OK)
        *ret = target;
    return status;
}

redefine_status rdf_go_target_begin(const struct rdf_go_abi *abi, struct rdf_go_target *target,
                                    struct rdf_error *err)
{
    if (target->func.flags & RDF_GO_ASM)
        return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                        "%s is written in assembly: what it does with registers is its own affair",
                        target->func.name);
    return abi->entry(target->code, target->func.entry, &target->entry, err);
}

/* ---- by name ---- */

/* Between assembly and Go stand wrappers of the same name. Go code calls the wrapper of an assembly function,
 * and assembly that of a Go function. */
static bool is_rather_called(const struct rdf_go_func *func, const struct rdf_go_func *other)
{
    bool is_asm = func->flags & RDF_GO_ASM, is_other_asm = other->flags & RDF_GO_ASM;
    return is_asm == is_other_asm ? !func->is_wrapper && other->is_wrapper : is_other_asm;
}

redefine_status rdf_go_target_named(struct rdf_images *images, const char *name, uint64_t *ret_code,
                                    struct rdf_error *err)
{
    struct rdf_go_func found;
    size_t count = 0;
    for (size_t i = 0; i < images->count; i++) {
        const struct rdf_go *go;
        if (!rdf_go_is_go(images, images->image[i]))
            continue;
        redefine_status status = rdf_go_open(images, images->image[i], &go, err);
        if (status != REDEFINE_OK)
            return status;
        struct rdf_go_func func;
        for (uint32_t from = 0; rdf_go_func_named(go, name, from, &func); from = func.index + 1) {
            if (count && is_rather_called(&func, &found))
                count = 0;
            else if (count && is_rather_called(&found, &func))
                continue;
            found = func;
            count++;
        }
    }
    if (count == 0)
        return rdf_fail(err, REDEFINE_ENOTFOUND, "this program has no Go function called \"%s\"", name);
    if (count > 1)
        return rdf_fail(
            err, REDEFINE_EAMBIGUOUS,
            "%zu functions are called \"%s\": instantiations of a generic one cannot be told apart by "
            "name; use the function itself",
            count, name);
    *ret_code = found.entry;
    return REDEFINE_OK;
}
