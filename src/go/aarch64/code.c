/* SPDX-License-Identifier: MIT
 *
 * The code of one redefined function: relay, original, and for a generic one what finds its dictionary and
 * takes it away from the arguments. R16, R17, R19 … R25 and R27 are free where a function is entered, R26 is
 * the context of closures, R28 the goroutine, R30 the return address (Go's "internal ABI").
 */
#include "go/aarch64/room.h"

#include "arch/aarch64/aarch64.h"
#include "base/bytes.h"

enum { RECORD_SPECIAL = 8, RECORD_SLOW = 16, RECORD_NOTE = 24, RECORD_BY_DICTIONARY = 64 };
enum { RECORD = 16, CHOICE = 17, KEY = 19, OLD_CONTEXT = 27, CONTEXT = 26 }; /* registers */
enum { WORD = RDF_AARCH64_WORD_BYTES };

#define B      UINT32_C(0x14000000)
#define BL     UINT32_C(0x94000000)
#define B_EQ   UINT32_C(0x54000000)
#define B_NE   UINT32_C(0x54000001)
#define CBZ_X  UINT32_C(0xb4000000)
#define CBNZ_W UINT32_C(0x35000000)
#define LDR_W  UINT32_C(0xb9400000)
#define CMP_X  UINT32_C(0xeb00001f)

struct writer {
    uint8_t *code;
    uint64_t addr; /* of code[0] */
    size_t at;
    bool is_out_of_reach;
};

static uint64_t here(const struct writer *writer)
{
    return writer->addr + writer->at;
}

static void put(struct writer *writer, uint32_t word)
{
    rdf_aarch64_put(writer->code + writer->at, word);
    writer->at += WORD;
}

static void put_words(struct writer *writer, const uint32_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put(writer, words[i]);
}

/* A jump, branch or call. */
static void put_to(struct writer *writer, uint32_t word, uint64_t to)
{
    writer->is_out_of_reach |= !rdf_aarch64_set_displacement(rdf_aarch64_form_of(word), &word,
                                                             (int64_t)(to - here(writer)));
    put(writer, word);
}

/* One to a place that comes later; returns what land() asks for. */
static size_t put_ahead(struct writer *writer, uint32_t word)
{
    put(writer, word);
    return writer->at - WORD;
}

static void land(struct writer *writer, size_t branch)
{
    struct writer earlier = {.code = writer->code, .addr = writer->addr, .at = branch};
    uint32_t word = 0;
    (void)rdf_span_u32((struct rdf_span){writer->code, writer->at}, branch, &word);
    put_to(&earlier, word, here(writer));
    writer->is_out_of_reach |= earlier.is_out_of_reach;
}

static void align(struct writer *writer)
{
    while (writer->at % 16)
        put(writer, 0); /* udf */
}

static void put_compare(struct writer *writer, unsigned a, unsigned b)
{
    put(writer, CMP_X | b << 16 | a << 5);
}

/* R16 = the record */
static void put_record(struct writer *writer, uint64_t slot_addr)
{
    uint32_t words[2];
    size_t count = rdf_aarch64_load(words, RECORD, here(writer), slot_addr);
    writer->is_out_of_reach |= count == 0;
    put_words(writer, words, count);
}

/* jump to the address in that field of the record */
static void put_routine(struct writer *writer, unsigned field)
{
    put(writer, rdf_aarch64_ldr(CHOICE, RECORD, field));
    put(writer, rdf_aarch64_br(CHOICE));
}

static size_t put_special(struct writer *writer, uint64_t slot_addr)
{
    put_record(writer, slot_addr);
    put(writer, LDR_W | RECORD_SPECIAL / 4 << 10 | RECORD << 5 | CHOICE);
    return put_ahead(writer, CBNZ_W | CHOICE);
}

/* The context of the call before stays in R27: see rdf_go_relay_own. */
static void put_relay(struct writer *writer, uint64_t slot_addr)
{
    size_t slow = put_special(writer, slot_addr);
    put(writer, rdf_aarch64_mov(OLD_CONTEXT, CONTEXT));
    put(writer, rdf_aarch64_ldr(CONTEXT, RECORD, 0));
    put(writer, rdf_aarch64_ldr(CHOICE, CONTEXT, 0));
    put(writer, rdf_aarch64_br(CHOICE));
    land(writer, slow);
    put_routine(writer, RECORD_SLOW);
}

/* The check again, its branches leading to the note. */
static void put_checked_original(struct writer *writer, const struct rdf_go_emit *request)
{
    const struct rdf_go_entry *entry = request->entry;
    struct rdf_span check = {entry->bytes, entry->check_bytes};
    size_t start = writer->at;
    for (size_t off = 0; off < entry->check_bytes; off += WORD) {
        uint32_t word = 0;
        (void)rdf_span_u32(check, off, &word);
        put(writer, word);
    }
    put_to(writer, B, request->addr + entry->check_bytes);
    for (size_t i = 0; i < entry->more_count; i++)
        land(writer, start + entry->more_at[i]);
    put_record(writer, request->slot_addr);
    put_routine(writer, RECORD_NOTE);
}

/* ---- generic functions ---- */

/* R17 = what the list in R17, if there is one, has for this call's dictionary; with none, or the original, to
 * `missing`. */
static void put_search(struct writer *writer, unsigned dictionary, uint64_t missing)
{
    put_to(writer, CBZ_X | CHOICE, missing);
    uint64_t next = here(writer);
    put(writer, rdf_aarch64_ldr(KEY, CHOICE, 0));
    put_compare(writer, KEY, dictionary);
    size_t found = put_ahead(writer, B_EQ);
    put_to(writer, CBZ_X | KEY, missing);
    put(writer, rdf_aarch64_add(CHOICE, CHOICE, sizeof(struct rdf_go_choice)));
    put_to(writer, B, next);
    land(writer, found);
    put(writer, rdf_aarch64_ldr(CHOICE, CHOICE, 8));
    put_to(writer, CBZ_X | CHOICE, missing);
}

/* The dictionary of the first redefinition is part of the code: no list is read for it. */
static void put_generic_relay(struct writer *writer, const struct rdf_go_emit *request,
                              struct rdf_go_code *code)
{
    unsigned dictionary = request->wrapper->position;
    uint32_t constant[4];
    size_t slow = put_special(writer, request->slot_addr);
    put_words(writer, constant,
              rdf_aarch64_materialise(constant, CHOICE, request->wrapper->dictionary, here(writer)));
    put_compare(writer, CHOICE, dictionary);
    size_t other = put_ahead(writer, B_NE);
    put(writer, rdf_aarch64_ldr(CHOICE, RECORD, 0));
    put_to(writer, CBZ_X | CHOICE, code->original);
    uint64_t take = here(writer);
    put(writer, rdf_aarch64_mov(CONTEXT, CHOICE));
    for (unsigned i = dictionary; i < request->registers && i + 1 < RDF_GO_AARCH64_ARGUMENT_REGISTERS; i++)
        put(writer, rdf_aarch64_mov(i, i + 1));
    put(writer, rdf_aarch64_ldr(CHOICE, CONTEXT, 0));
    put(writer, rdf_aarch64_br(CHOICE));
    land(writer, slow);
    put_routine(writer, RECORD_SLOW);

    land(writer, other);
    code->select = here(writer);
    put(writer, rdf_aarch64_ldr(CHOICE, RECORD, RECORD_BY_DICTIONARY));
    put_search(writer, dictionary, code->original);
    put_to(writer, B, take);
    code->select_mine = here(writer);
    put_search(writer, dictionary, code->select);
    put_to(writer, B, take);
}

bool rdf_go_aarch64_emit(const struct rdf_go_emit *request, uint8_t ret_code[RDF_GO_CODE_BYTES_MAX],
                         struct rdf_go_code *ret)
{
    struct writer writer = {.code = ret_code, .addr = request->code_addr};
    struct rdf_go_code code = {.original = request->code_addr};
    if (request->relocated) {
        rdf_bytes_copy(ret_code, request->relocated->code, request->relocated->len_bytes);
        writer.at = request->relocated->len_bytes;
    } else {
        put_checked_original(&writer, request);
    }
    align(&writer);
    code.relay = here(&writer);
    if (request->wrapper)
        put_generic_relay(&writer, request, &code);
    else
        put_relay(&writer, request->slot_addr);
    align(&writer);
    code.len_bytes = (uint32_t)writer.at;
    *ret = code;
    return !writer.is_out_of_reach;
}

size_t rdf_go_aarch64_emit_call(uint8_t ret_code[RDF_GO_CALL_BYTES_MAX], uint64_t from, uint64_t to)
{
    struct writer writer = {.code = ret_code, .addr = from};
    put_to(&writer, BL, to);
    return writer.is_out_of_reach ? 0 : writer.at;
}

/* ADRP $page, Rn; ADD $rest, Rn: the linker makes both of one instruction, so nothing is between them. Where
 * the data is near it may make them ADR, and a no-operation. */
static bool read_dictionary(struct rdf_span code, uint64_t addr, uint64_t *ret_dictionary,
                            uint8_t *ret_position)
{
    uint32_t first;
    uint32_t second;
    if (!rdf_span_u32(code, 0, &first) || !rdf_span_u32(code, WORD, &second))
        return false;
    enum rdf_aarch64_form form = rdf_aarch64_form_of(first);
    unsigned rd = rdf_aarch64_bits(first, 4, 0);
    bool is_add = (second & UINT32_C(0xffc003ff)) == rdf_aarch64_add(rd, rd, 0);
    if (rd >= RDF_GO_AARCH64_ARGUMENT_REGISTERS || !(form == RDF_A64_ADR || (form == RDF_A64_ADRP && is_add)))
        return false;
    *ret_dictionary = rdf_aarch64_named_address(form, first, addr) +
                      (form == RDF_A64_ADRP ? rdf_aarch64_bits(second, 21, 10) : 0);
    *ret_position = (uint8_t)rd;
    return true;
}

const struct rdf_go_room rdf_go_aarch64_room = {&rdf_arch_aarch64, rdf_go_aarch64_read_check,
                                                read_dictionary};

bool rdf_go_aarch64_wrapper(struct rdf_span code, uint64_t addr, struct rdf_go_wrapper *ret)
{
    return rdf_go_passes_dictionary(&rdf_go_aarch64_room, code, addr, ret);
}
