/* SPDX-License-Identifier: MIT */
#include "go/target.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <stdio.h>
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

static redefine_status find_body(struct rdf_images *images, const struct rdf_go_abi *abi,
                                 struct rdf_go_target *target, struct rdf_error *err)
{
    struct rdf_go_func *func = &target->func;
    redefine_status status = read_code(images, func, &target->code, err);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_go_func shape;
    target->is_generic = abi->wrapper(target->code, func->entry, &target->wrapper) &&
                         rdf_go_func_at(func->go, target->wrapper.shape, &shape) &&
                         shape.entry == target->wrapper.shape && strchr(shape.name, '[') &&
                         (func->is_wrapper || strcmp(shape.name, func->name) == 0);
    if (!target->is_generic)
        return func->is_wrapper ? refuse_wrapper(images, func, target->code, err) : REDEFINE_OK;
    *func = shape;
    return read_code(images, func, &target->code, err);
}

redefine_status rdf_go_target(struct rdf_images *images, const struct rdf_go_abi *abi, uint64_t code,
                              struct rdf_go_target *ret, struct rdf_error *err)
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
    status = find_body(images, abi, &target, err);
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

/* ---- where the jump goes ---- */

/* The first `len` bytes of padding in [start, end) that a short jump at `from` reaches; 0: none. */
static uint64_t padding_in(struct rdf_images *images, uint64_t start, uint64_t end, uint64_t from)
{
    const struct rdf_arch *arch = images->arch;
    const uint8_t *bytes = end > start ? images->space->ops->view(images->space, start, end - start) : NULL;
    uint8_t jump[RDF_JUMP_BYTES_MAX];
    size_t run = 0;
    for (uint64_t at = start; bytes && at < end; at++) {
        run = bytes[at - start] == arch->trap[0] ? run + 1 : 0;
        uint64_t place = at + 1 - arch->jump_bytes;
        if (run >= arch->jump_bytes && arch->emit_short_jump(jump, from, place))
            return place;
    }
    return 0;
}

bool rdf_go_target_place(struct rdf_images *images, const struct rdf_go_target *target,
                         struct rdf_go_place *ret)
{
    const struct rdf_go_func *func = &target->func;
    struct rdf_insn first;
    struct rdf_go_func before;
    struct rdf_go_func behind;
    if (!images->arch->decode(target->code, func->entry, &first) || first.flow != RDF_FLOW_NEXT)
        return false;
    *ret = (struct rdf_go_place){.window_bytes = first.len_bytes};
    if (first.len_bytes >= images->arch->jump_bytes)
        return true;
    if (first.len_bytes < images->arch->short_jump_bytes || images->arch->trap_bytes != 1)
        return false;
    if (func->index > 0 && rdf_go_func(func->go, func->index - 1, &before))
        ret->padding_addr = padding_in(images, before.end, func->entry, func->entry);
    if (!ret->padding_addr && rdf_go_func(func->go, func->index + 1, &behind))
        ret->padding_addr = padding_in(images, func->end, behind.entry, func->entry);
    return ret->padding_addr != 0;
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
            /* Of an assembly function Go code calls the wrapper. */
            if (count && found.flags & RDF_GO_ASM)
                count = 0;
            else if (count && func.flags & RDF_GO_ASM)
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

/* ---- whether it is noticed ---- */

struct looking {
    struct rdf_go_sites *sites;
    char first[256];
};

static bool note_site(void *ctx, const struct rdf_go_site *site)
{
    struct looking *looking = ctx;
    struct rdf_go_sites *sites = looking->sites;
    size_t room = sites->text_bytes - sites->used_bytes;
    int len = snprintf(sites->text + sites->used_bytes, room, "%s\t%u\t%s\n", site->file, site->line,
                       site->caller);
    if (len > 0 && (size_t)len < room)
        sites->used_bytes += (size_t)len;
    else if (room)
        sites->text[sites->used_bytes] = 0;
    if (sites->count++ == 0)
        (void)snprintf(looking->first, sizeof looking->first, "%s (%s:%u)", site->caller, site->file,
                       site->line);
    return true;
}

bool rdf_go_target_can_vanish(const struct rdf_go_target *target)
{
    /* A body that calls something, or has a loop of some size, leaves a trace wherever it is inlined. */
    enum { FOLDABLE_BYTES_MAX = 32 };
    const char *name = target->func.name;
    bool is_small = !target->entry.has_check && target->code.len_bytes <= FOLDABLE_BYTES_MAX;
    bool has_own_callers = strchr(name, '(') || strstr(name, ".func");
    return is_small && !has_own_callers;
}

redefine_status rdf_go_target_is_noticed(struct rdf_images *images, const struct rdf_go_target *target,
                                         const char *main_package, struct rdf_go_sites *sites,
                                         struct rdf_error *err)
{
    struct looking looking = {.sites = sites};
    const char *name = target->func.name;
    char flag[320];
    rdf_go_inlined(images, name, note_site, &looking);
    rdf_go_inlining_flag(name, main_package, flag, sizeof flag);
    if (sites->count)
        return rdf_fail(err, REDEFINE_EINLINED,
                        "%s was inlined into %s%s; those callers would not notice; build with %s", name,
                        looking.first, sites->count > 1 ? " and others" : "", flag);
    if (rdf_go_target_can_vanish(target) &&
        rdf_go_each_call(images, target->func.go, target->func.entry, NULL, NULL) == 0)
        return rdf_fail(
            err, REDEFINE_EFOLDED,
            "nothing in this program calls %s any more: it is so small that the compiler computed its "
            "calls where they were, and left no trace; build with %s",
            name, flag);
    return REDEFINE_OK;
}
