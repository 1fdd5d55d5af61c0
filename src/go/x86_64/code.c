/* SPDX-License-Identifier: MIT
 *
 * The code of one redefined function: relay, original, and for a generic one what finds its dictionary and
 * takes it away from the arguments. R12 and R13 are free where a function is entered, RDX is the context of
 * closures (Go's "internal ABI").
 */
#include "go/x86_64/room.h"

#include "base/bytes.h"

enum { RECORD_SLOW = 16, RECORD_NOTE = 24 };

/* The integer registers of arguments in their order: AX BX CX DI SI R8 R9 R10 R11, as instructions number
 * them. */
static const uint8_t argument_register[RDF_GO_X86_64_ARGUMENT_REGISTERS] = {0, 3, 1, 7, 6, 8, 9, 10, 11};

struct writer {
    uint8_t *code;
    uint64_t addr; /* of code[0] */
    size_t at;
    bool is_out_of_reach;
};

static void put(struct writer *writer, const void *bytes, size_t count)
{
    rdf_bytes_copy(writer->code + writer->at, bytes, count);
    writer->at += count;
}

#define PUT(writer, ...)                                  \
    do {                                                  \
        static const uint8_t put_bytes[] = {__VA_ARGS__}; \
        put(writer, put_bytes, sizeof put_bytes);         \
    } while (0)

static void put_u32(struct writer *writer, uint32_t value)
{
    uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
                        (uint8_t)(value >> 24)};
    put(writer, bytes, sizeof bytes);
}

/* The distance from behind this field to `to`. */
static void put_distance(struct writer *writer, uint64_t to)
{
    int64_t distance = (int64_t)(to - (writer->addr + writer->at + 4));
    writer->is_out_of_reach |= distance != (int32_t)distance;
    put_u32(writer, (uint32_t)distance);
}

static void align(struct writer *writer)
{
    while (writer->at % 16)
        writer->code[writer->at++] = 0xcc;
}

/* A jump, or a branch on a condition, to a place that comes later; returns what land() asks for. */
enum { ALWAYS = 0xe9, IF_ZERO = 0x84, IF_NOT_ZERO = 0x85 };

static size_t put_jump_ahead(struct writer *writer, uint8_t kind)
{
    uint8_t opcode[2] = {0x0f, kind};
    put(writer, kind == ALWAYS ? &opcode[1] : opcode, kind == ALWAYS ? 1 : 2);
    writer->at += 4;
    return writer->at - 4;
}

static void land(struct writer *writer, size_t field)
{
    size_t here = writer->at;
    writer->at = field;
    put_distance(writer, writer->addr + here);
    writer->at = here;
}

static void put_jump(struct writer *writer, uint8_t kind, uint64_t to)
{
    size_t field = put_jump_ahead(writer, kind);
    writer->at = field;
    put_distance(writer, to);
}

/* R12 = the record */
static void put_record(struct writer *writer, uint64_t slot_addr)
{
    PUT(writer, 0x4c, 0x8b, 0x25); /* mov r12, [rip + slot] */
    put_distance(writer, slot_addr);
}

/* jmp *field(R12) */
static void put_routine(struct writer *writer, uint8_t field)
{
    PUT(writer, 0x41, 0xff, 0x64, 0x24);
    put(writer, &field, 1);
}

static void put_relay(struct writer *writer, uint64_t slot_addr)
{
    put_record(writer, slot_addr);
    PUT(writer, 0x41, 0x83, 0x7c, 0x24, 0x08, 0x00, /* cmp dword [r12 + special], 0 */
        0x75, 0x06,                                 /* jne 1f */
        0x49, 0x8b, 0x14, 0x24,                     /* mov rdx, [r12 + closure] */
        0xff, 0x22,                                 /* jmp [rdx] */
        0x41, 0xff, 0x64, 0x24, RECORD_SLOW);       /* 1: jmp [r12 + slow] */
}

/* The check again, its branches leading to the note. */
static void put_checked_original(struct writer *writer, const struct rdf_go_emit *request)
{
    const struct rdf_go_entry *entry = request->entry;
    size_t fields[2];
    size_t copied = 0;
    for (size_t i = 0; i < entry->more_count; i++) {
        uint8_t opcode = entry->bytes[entry->more_at[i]];
        bool is_long = opcode == 0x0f;
        uint8_t condition = is_long ? entry->bytes[entry->more_at[i] + 1] & 0x0f : opcode & 0x0f;
        put(writer, entry->bytes + copied, entry->more_at[i] - copied);
        copied = entry->more_at[i] + (is_long ? 6u : 2u);
        fields[i] = put_jump_ahead(writer, 0x80 | condition);
    }
    put_jump(writer, ALWAYS, request->addr + entry->check_bytes);
    for (size_t i = 0; i < entry->more_count; i++)
        land(writer, fields[i]);
    put_record(writer, request->slot_addr);
    put_routine(writer, RECORD_NOTE);
}

/* ---- generic functions ---- */

/* R13 = what the list in R13, if there is one, has for this call's dictionary; with none, or the original, to
 * `missing`. */
static void put_search(struct writer *writer, uint8_t dictionary, uint64_t missing)
{
    uint8_t compare[] = {(uint8_t)(0x49 | (dictionary >= 8 ? 4 : 0)), 0x39,
                         (uint8_t)(0x45 | (dictionary & 7) << 3), 0x00};
    PUT(writer, 0x4d, 0x85, 0xed); /* test r13, r13 */
    put_jump(writer, IF_ZERO, missing);
    uint64_t next = writer->addr + writer->at;
    put(writer, compare, sizeof compare); /* cmp [r13], dictionary */
    size_t found = put_jump_ahead(writer, IF_ZERO);
    PUT(writer, 0x49, 0x83, 0x7d, 0x00, 0x00); /* cmp qword [r13], 0 */
    put_jump(writer, IF_ZERO, missing);
    PUT(writer, 0x49, 0x83, 0xc5, 0x10); /* add r13, 16 */
    put_jump(writer, ALWAYS, next);
    land(writer, found);
    PUT(writer, 0x4d, 0x8b, 0x6d, 0x08, /* mov r13, [r13 + 8] */
        0x4d, 0x85, 0xed);              /* test r13, r13 */
    put_jump(writer, IF_ZERO, missing);
}

/* The dictionary of the first redefinition is part of the code: no list is read for it. */
static void put_generic_relay(struct writer *writer, const struct rdf_go_emit *request,
                              struct rdf_go_code *code)
{
    uint8_t position = request->wrapper->position;
    uint8_t dictionary = argument_register[position];
    uint8_t constant[10] = {0x49, 0xbd}; /* mov r13, first dictionary */
    uint8_t compare[3] = {(uint8_t)(0x49 | (dictionary >= 8 ? 4 : 0)), 0x39,
                          (uint8_t)(0xc5 | (dictionary & 7) << 3)}; /* cmp r13, dictionary */
    for (size_t i = 0; i < 8; i++)
        constant[2 + i] = (uint8_t)(request->wrapper->dictionary >> 8 * i);
    put_record(writer, request->slot_addr);
    PUT(writer, 0x41, 0x83, 0x7c, 0x24, 0x08, 0x00); /* cmp dword [r12 + special], 0 */
    size_t slow = put_jump_ahead(writer, IF_NOT_ZERO);
    put(writer, constant, sizeof constant);
    put(writer, compare, sizeof compare);
    size_t other = put_jump_ahead(writer, IF_NOT_ZERO);
    PUT(writer, 0x4d, 0x8b, 0x2c, 0x24, /* mov r13, [r12 + closure] */
        0x4d, 0x85, 0xed);              /* test r13, r13 */
    put_jump(writer, IF_ZERO, code->original);
    uint64_t take = writer->addr + writer->at;
    PUT(writer, 0x4c, 0x89, 0xea); /* mov rdx, r13 */
    for (size_t i = position; i < request->registers && i + 1 < RDF_GO_X86_64_ARGUMENT_REGISTERS; i++) {
        uint8_t to = argument_register[i];
        uint8_t from = argument_register[i + 1];
        uint8_t move[3] = {(uint8_t)(0x48 | (from >= 8 ? 4 : 0) | (to >= 8 ? 1 : 0)), 0x89,
                           (uint8_t)(0xc0 | (from & 7) << 3 | (to & 7))};
        put(writer, move, sizeof move);
    }
    PUT(writer, 0xff, 0x22); /* jmp [rdx] */
    land(writer, slow);
    put_routine(writer, RECORD_SLOW);

    land(writer, other);
    code->select = writer->addr + writer->at;
    PUT(writer, 0x4d, 0x8b, 0x6c, 0x24, 0x40); /* mov r13, [r12 + by_dictionary] */
    put_search(writer, dictionary, code->original);
    put_jump(writer, ALWAYS, take);
    code->select_mine = writer->addr + writer->at;
    put_search(writer, dictionary, code->select);
    put_jump(writer, ALWAYS, take);
}

bool rdf_go_x86_64_emit(const struct rdf_go_emit *request, uint8_t ret_code[RDF_GO_CODE_BYTES_MAX],
                        struct rdf_go_code *ret)
{
    struct writer writer = {.code = ret_code, .addr = request->code_addr};
    struct rdf_go_code code = {.original = request->code_addr};
    if (request->relocated) {
        put(&writer, request->probe.code, request->probe.len_bytes);
        put(&writer, request->relocated->code, request->relocated->len_bytes);
    } else {
        put_checked_original(&writer, request);
    }
    align(&writer);
    code.relay = writer.addr + writer.at;
    if (request->wrapper)
        put_generic_relay(&writer, request, &code);
    else
        put_relay(&writer, request->slot_addr);
    align(&writer);
    code.len_bytes = (uint32_t)writer.at;
    *ret = code;
    return !writer.is_out_of_reach;
}

size_t rdf_go_x86_64_emit_call(uint8_t ret_code[RDF_GO_CALL_BYTES_MAX], uint64_t from, uint64_t to)
{
    struct writer writer = {.code = ret_code, .addr = from};
    PUT(&writer, 0xe8);
    put_distance(&writer, to);
    return writer.is_out_of_reach ? 0 : writer.at;
}

/* LEA reg, [RIP + dictionary] */
static bool read_dictionary(struct rdf_span code, uint64_t addr, uint64_t *ret_dictionary,
                            uint8_t *ret_position)
{
    const uint8_t *bytes = code.data;
    struct rdf_insn insn;
    if (code.len_bytes < 7 || (bytes[0] & 0xfb) != 0x48 || bytes[1] != 0x8d || (bytes[2] & 0xc7) != 0x05 ||
        !rdf_arch_x86_64.decode(code, addr, &insn) || insn.len_bytes != 7 || !insn.has_ref)
        return false;
    uint8_t number = (uint8_t)((bytes[2] >> 3 & 7) | (bytes[0] & 4 ? 8 : 0));
    for (uint8_t i = 0; i < RDF_GO_X86_64_ARGUMENT_REGISTERS; i++)
        if (argument_register[i] == number) {
            *ret_dictionary = insn.ref;
            *ret_position = i;
            return true;
        }
    return false;
}

const struct rdf_go_room rdf_go_x86_64_room = {&rdf_arch_x86_64, rdf_go_x86_64_read_check, read_dictionary};

bool rdf_go_x86_64_wrapper(struct rdf_span code, uint64_t addr, struct rdf_go_wrapper *ret)
{
    return rdf_go_passes_dictionary(&rdf_go_x86_64_room, code, addr, ret);
}
