/* SPDX-License-Identifier: MIT
 *
 * Types, read from the descriptors that reflection uses.
 *
 * A descriptor is abi.Type, then what its kind adds, then (for a type with a name or methods) an
 * abi.UncommonType, then what varies in length. Names and types are referred to by offsets from the module's
 * `types`, or by pointers; a name is a byte of flags, a varint length, and the text.
 *
 * Descriptors can also be made at run time, anywhere in memory, so they are read through the space. Those
 * have names that only the running program can look up: they are "" here.
 *
 * Source: internal/abi/type.go and map*.go of Go 1.19 (runtime/type.go) to 1.27.
 */
#include "image/elf/go_internal.h"

enum {
    TYPE_BYTES = 48, /* abi.Type */
    TYPE_HASH = 16,
    TYPE_TFLAG = 20,
    TYPE_ALIGN = 21,
    TYPE_KIND = 23,
    TYPE_STR = 40,
    KIND_MASK = 31, /* above it: flags of releases before 1.24 */
    TFLAG_UNCOMMON = 1,
    TFLAG_EXTRA_STAR = 2,
    TFLAG_NAMED = 4,
    UNCOMMON_BYTES = 16,
    HEAD_BYTES = 136 + UNCOMMON_BYTES, /* the longest base, abi.MapType of 1.27, and what follows it */
    FIELD_BYTES = 24,
    IMETHOD_BYTES = 8,
    METHOD_BYTES = 16,
    NAME_EMBEDDED = 8,
    NAME_BYTES_MAX = 8192,
    VARIADIC = 0x8000,
    MEMBERS_MAX = 1 << 20,
};

static const char *const kind_names[RDF_GO_KINDS] = {
    "invalid", "bool",      "int",        "int8",   "int16",  "int32",          "int64",
    "uint",    "uint8",     "uint16",     "uint32", "uint64", "uintptr",        "float32",
    "float64", "complex64", "complex128", "array",  "chan",   "func",           "interface",
    "map",     "pointer",   "slice",      "string", "struct", "unsafe.Pointer",
};

const char *rdf_go_kind_name(enum rdf_go_kind kind)
{
    return (unsigned)kind < RDF_GO_KINDS ? kind_names[kind] : kind_names[RDF_GO_INVALID];
}

static unsigned long long hex(uint64_t addr)
{
    return addr;
}

static uint64_t low(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- reading ---- */

static bool is_in_module(const struct rdf_go *go, uint64_t addr)
{
    return rdf_image_segment(go->image, addr) != NULL;
}

/* A copy of `len` bytes wherever they are; what is not readable is an error, never a signal. */
static bool read_bytes(struct rdf_images *images, const struct rdf_go *go, uint64_t addr, void *ret_bytes,
                       size_t len_bytes)
{
    if (is_in_module(go, addr)) {
        struct rdf_span bytes = rdf_image_bytes(images, go->image, addr, len_bytes);
        for (size_t i = 0; bytes.data && i < len_bytes; i++)
            ((uint8_t *)ret_bytes)[i] = bytes.data[i];
        return bytes.data != NULL;
    }
    return addr && addr <= UINT64_MAX - len_bytes &&
           images->space->ops->read(images->space, addr, ret_bytes, len_bytes) == 0;
}

static bool read_pointer(struct rdf_images *images, const struct rdf_go *go, uint64_t addr, uint64_t *ret)
{
    return is_in_module(go, addr) ? rdf_go_pointer(images, go, addr, ret)
                                  : read_bytes(images, go, addr, ret, sizeof *ret);
}

struct name {
    uint8_t flags;
    struct rdf_span text;
};

static bool module_name(const struct rdf_go *go, uint64_t off, struct name *ret)
{
    uint64_t at = off + 1, len;
    if (!rdf_span_u8(go->type_bytes, off, &ret->flags) || !rdf_span_uleb(go->type_bytes, &at, &len) ||
        len > NAME_BYTES_MAX)
        return false;
    ret->text = rdf_span_slice(go->type_bytes, at, len);
    return len == 0 || ret->text.data;
}

static const char *keep_text(struct rdf_images *images, struct rdf_span text)
{
    const char *copy = rdf_arena_copy(images->arena, (const char *)text.data, text.len_bytes);
    if (!copy)
        images->out_of_memory = true;
    return copy;
}

/* A name that a pointer leads to, as a string. */
static const char *pointed_name(struct rdf_images *images, const struct rdf_go *go, uint64_t addr,
                                uint8_t *ret_flags)
{
    struct name name = {.flags = 0};
    *ret_flags = 0;
    if (!addr)
        return "";
    if (addr >= go->types && addr < go->etypes) {
        if (!module_name(go, addr - go->types, &name))
            return NULL;
        *ret_flags = name.flags;
        return keep_text(images, name.text);
    }
    uint8_t head[6], text[256];
    uint64_t at = 1, len;
    struct rdf_span span = {head, sizeof head};
    if (!read_bytes(images, go, addr, head, sizeof head) || !rdf_span_uleb(span, &at, &len) ||
        len > sizeof text || (len && !read_bytes(images, go, addr + at, text, (size_t)len)))
        return NULL;
    *ret_flags = head[0];
    return keep_text(images, (struct rdf_span){text, (size_t)len});
}

/* ---- descriptors ---- */

static uint32_t base_bytes(const struct rdf_go *go, enum rdf_go_kind kind)
{
    switch (kind) {
    case RDF_GO_STRUCT: return 80;
    case RDF_GO_INTERFACE: return 80;
    case RDF_GO_ARRAY: return 72;
    case RDF_GO_CHAN: return 64;
    case RDF_GO_FUNC: return 56;
    case RDF_GO_POINTER: return 56;
    case RDF_GO_SLICE: return 56;
    case RDF_GO_MAP: return go->layout->map_bytes;
    default: return TYPE_BYTES;
    }
}

static redefine_status fail_type(const struct rdf_go *go, uint64_t addr, const char *what,
                                 struct rdf_error *err)
{
    return rdf_fail(err, REDEFINE_EUNSUPPORTED,
                    "no type descriptor of %.64s is at 0x%llx: %s; pass the address that a *rtype holds",
                    go->version, hex(addr), what);
}

/* What the kind adds to abi.Type; false when it cannot be read or counts too much. */
static bool read_kind(struct rdf_images *images, const struct rdf_go *go, struct rdf_span head,
                      struct rdf_go_type *type)
{
    uint64_t at = type->addr + TYPE_BYTES, count = 0;
    uint16_t in = 0, out = 0;
    switch (type->kind) {
    case RDF_GO_ARRAY:
        return read_pointer(images, go, at, &type->elem) && rdf_span_u64(head, TYPE_BYTES + 16, &type->len);
    case RDF_GO_CHAN:
        return read_pointer(images, go, at, &type->elem) && rdf_span_u64(head, TYPE_BYTES + 8, &type->len);
    case RDF_GO_POINTER:
    case RDF_GO_SLICE: return read_pointer(images, go, at, &type->elem);
    case RDF_GO_MAP:
        return read_pointer(images, go, at, &type->key) && read_pointer(images, go, at + 8, &type->elem);
    case RDF_GO_STRUCT:
        if (!read_pointer(images, go, at + 8, &type->members_addr) ||
            !rdf_span_u64(head, TYPE_BYTES + 16, &count))
            return false;
        type->field_count = (uint32_t)low(count, MEMBERS_MAX);
        return count < MEMBERS_MAX;
    case RDF_GO_INTERFACE:
        if (!read_pointer(images, go, at + 8, &type->members_addr) ||
            !rdf_span_u64(head, TYPE_BYTES + 16, &count))
            return false;
        type->method_count = (uint32_t)low(count, MEMBERS_MAX);
        return count < MEMBERS_MAX;
    case RDF_GO_FUNC:
        (void)rdf_span_u16(head, TYPE_BYTES, &in);
        (void)rdf_span_u16(head, TYPE_BYTES + 2, &out);
        type->in_count = in;
        type->out_count = out & (VARIADIC - 1u);
        type->is_variadic = out & VARIADIC;
        return true;
    default: return true;
    }
}

static void read_uncommon(const struct rdf_go *go, struct rdf_span head, bool has_uncommon,
                          struct rdf_go_type *type)
{
    uint32_t base = base_bytes(go, type->kind), methods_off = 0;
    uint16_t count = 0;
    if (type->kind == RDF_GO_FUNC)
        type->members_addr = type->addr + base + (has_uncommon ? UNCOMMON_BYTES : 0);
    if (!has_uncommon || type->kind == RDF_GO_INTERFACE)
        return;
    (void)rdf_span_u16(head, base + 4, &count);
    (void)rdf_span_u32(head, base + 8, &methods_off);
    type->method_count = count;
    type->methods_addr = type->addr + base + methods_off;
}

redefine_status rdf_go_type_read(struct rdf_images *images, const struct rdf_go *go, uint64_t addr,
                                 struct rdf_go_type *ret, struct rdf_error *err)
{
    uint8_t bytes[HEAD_BYTES] = {0};
    struct rdf_go_type type = {.go = go, .addr = addr, .name = ""};
    if (addr % 8 || !read_bytes(images, go, addr, bytes, TYPE_BYTES))
        return fail_type(go, addr, "nothing can be read there", err);
    type.kind = bytes[TYPE_KIND] & KIND_MASK;
    type.align = bytes[TYPE_ALIGN];
    bool has_uncommon = bytes[TYPE_TFLAG] & TFLAG_UNCOMMON;
    type.is_named = bytes[TYPE_TFLAG] & TFLAG_NAMED;
    size_t len = base_bytes(go, type.kind) + (has_uncommon ? UNCOMMON_BYTES : 0);
    struct rdf_span head = {bytes, sizeof bytes};
    if (type.kind == RDF_GO_INVALID || type.kind >= RDF_GO_KINDS)
        return fail_type(go, addr, "it would be of no kind", err);
    if (type.align > 64 || !type.align || (type.align & (type.align - 1)))
        return fail_type(go, addr, "its alignment is no power of two", err);
    if (!read_bytes(images, go, addr, bytes, len))
        return fail_type(go, addr, "it is cut off", err);
    (void)rdf_span_u64(head, 0, &type.size_bytes);
    (void)rdf_span_u32(head, TYPE_HASH, &type.hash);
    if (!read_kind(images, go, head, &type))
        return fail_type(go, addr, "what its kind adds is damaged", err);
    read_uncommon(go, head, has_uncommon, &type);
    *ret = type;
    return REDEFINE_OK;
}

struct rdf_span rdf_go_type_name(const struct rdf_go *go, const struct rdf_go_type *type)
{
    struct rdf_span descriptor, none = {NULL, 0};
    struct name name;
    uint32_t off;
    uint8_t tflag;
    if (type->addr < go->types || type->addr >= go->etypes)
        return none;
    descriptor = rdf_span_slice(go->type_bytes, type->addr - go->types, TYPE_BYTES);
    if (!rdf_span_u32(descriptor, TYPE_STR, &off) || !rdf_span_u8(descriptor, TYPE_TFLAG, &tflag) ||
        !module_name(go, off, &name))
        return none;
    /* "*main.T" serves main.T as well. */
    if ((tflag & TFLAG_EXTRA_STAR) && name.text.len_bytes)
        return rdf_span_slice(name.text, 1, name.text.len_bytes - 1);
    return name.text;
}

/* The module that owns the descriptor; `otherwise` for one made at run time. */
static const struct rdf_go *owner(struct rdf_images *images, const struct rdf_go *otherwise, uint64_t addr)
{
    const struct rdf_go *go = otherwise;
    if (addr >= go->types && addr < go->etypes)
        return go;
    struct rdf_image *image = rdf_images_at(images, addr);
    if (image && rdf_go_is_go(images, image) && rdf_go_open(images, image, &go, NULL) == REDEFINE_OK &&
        addr >= go->types && addr < go->etypes)
        return go;
    return otherwise;
}

redefine_status rdf_go_type(struct rdf_images *images, const struct rdf_go *go, uint64_t addr,
                            struct rdf_go_type *ret, struct rdf_error *err)
{
    struct rdf_go_type type;
    redefine_status status = rdf_go_type_read(images, owner(images, go, addr), addr, &type, err);
    if (status != REDEFINE_OK)
        return status;
    struct rdf_span name = rdf_go_type_name(type.go, &type);
    type.name = name.len_bytes ? keep_text(images, name) : "";
    if (!type.name)
        return rdf_fail(err, REDEFINE_ENOMEM, "no memory for the name of a type");
    *ret = type;
    return REDEFINE_OK;
}

/* ---- members ---- */

/* The type of a struct's field or of a func's parameter or result, without anything else. */
static bool part_type(struct rdf_images *images, const struct rdf_go_type *type, uint32_t index,
                      uint64_t *ret_type)
{
    bool is_struct = type->kind == RDF_GO_STRUCT;
    uint64_t at = type->members_addr + (is_struct ? (uint64_t)index * FIELD_BYTES + 8 : (uint64_t)index * 8);
    return index < (is_struct ? type->field_count : type->in_count + type->out_count) &&
           read_pointer(images, type->go, at, ret_type);
}

static redefine_status fail_member(const struct rdf_go_type *type, const char *what, uint32_t index,
                                   struct rdf_error *err)
{
    return rdf_fail(err, REDEFINE_EUNSUPPORTED, "the type %.128s at 0x%llx has no readable %s %u",
                    *type->name ? type->name : rdf_go_kind_name(type->kind), hex(type->addr), what, index);
}

redefine_status rdf_go_type_field(struct rdf_images *images, const struct rdf_go_type *type, uint32_t index,
                                  struct rdf_go_field *ret, struct rdf_error *err)
{
    struct rdf_go_field field;
    uint64_t at = type->members_addr + (uint64_t)index * FIELD_BYTES, name_addr;
    uint8_t flags;
    if (index >= type->field_count || !read_pointer(images, type->go, at, &name_addr) ||
        !part_type(images, type, index, &field.type) ||
        !read_bytes(images, type->go, at + 16, &field.offset_bytes, 8))
        return fail_member(type, "field", index, err);
    field.name = pointed_name(images, type->go, name_addr, &flags);
    if (!field.name)
        return fail_member(type, "field", index, err);
    field.is_embedded = flags & NAME_EMBEDDED;
    *ret = field;
    return REDEFINE_OK;
}

redefine_status rdf_go_type_param(struct rdf_images *images, const struct rdf_go_type *type, uint32_t index,
                                  uint64_t *ret_type, struct rdf_error *err)
{
    uint64_t param;
    if (type->kind != RDF_GO_FUNC || !part_type(images, type, index, &param))
        return fail_member(type, "parameter", index, err);
    *ret_type = param;
    return REDEFINE_OK;
}

static uint64_t code_at(const struct rdf_go *go, uint32_t off)
{
    return off && go->text + off < go->etext ? go->text + off : 0;
}

redefine_status rdf_go_type_method(struct rdf_images *images, const struct rdf_go_type *type, uint32_t index,
                                   struct rdf_go_method *ret, struct rdf_error *err)
{
    const struct rdf_go *go = type->go;
    bool is_interface = type->kind == RDF_GO_INTERFACE;
    size_t bytes = is_interface ? IMETHOD_BYTES : METHOD_BYTES;
    uint64_t at = (is_interface ? type->members_addr : type->methods_addr) + (uint64_t)index * bytes;
    uint32_t word[4] = {0};
    struct rdf_go_method method = {0};
    struct name name;
    /* Made at run time, an interface's methods have names that only the program can look up. */
    if (index >= type->method_count || !read_bytes(images, go, at, word, bytes) ||
        !module_name(go, word[0], &name))
        return fail_member(type, "method", index, err);
    method.name = name.text.len_bytes ? keep_text(images, name.text) : "";
    if (!method.name)
        return fail_member(type, "method", index, err);
    method.type = word[1] && go->types + word[1] < go->etypes ? go->types + word[1] : 0;
    method.iface_code = code_at(go, word[2]);
    method.code = code_at(go, word[3]);
    *ret = method;
    return REDEFINE_OK;
}
