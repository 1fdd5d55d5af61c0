/* SPDX-License-Identifier: MIT
 *
 * Arbitrary bytes at arbitrary addresses through decode, format, relocate and the jumps. Invariants:
 *   - decode and format agree on what is an instruction, and on its length
 *   - refusals leave the result alone and always give a sentence
 *   - moved code fits, and reads as whole instructions and the 8-byte addresses that they jump through
 *   - pcs ascends on both sides, has the window's instructions, and each new one starts an instruction
 *   - a direct target that leaves the trampoline is one that the window had, its end, or its entry
 *
 * Built for libFuzzer or AFL as it is; with -DRDF_FUZZ_STANDALONE it runs by itself:
 *   fuzz_x86_64 [ROUNDS [SEED]]     and, to repeat a finding,     fuzz_x86_64 --file INPUT
 */
#include "arch/arch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILL = 0xa5 }; /* what the result holds before */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

#define HOLD(condition)                                                                     \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "fuzz_x86_64.c:%d: does not hold: %s\n", __LINE__, #condition); \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

static const struct rdf_arch *const ARCH = &rdf_arch_x86_64;

static struct rdf_span from(struct rdf_span span, size_t off)
{
    return rdf_span_slice(span, off, span.len_bytes - off);
}

static void check_decode(struct rdf_span code, uint64_t addr)
{
    struct rdf_insn insn;
    char text[96], shortest[1];

    for (size_t off = 0; off < code.len_bytes; off++) {
        bool is_known = ARCH->decode(from(code, off), addr + off, &insn);
        size_t len = ARCH->format(from(code, off), addr + off, text, sizeof text);
        HOLD(memchr(text, '\0', sizeof text));
        HOLD(is_known == (len > 0));
        HOLD(is_known || strcmp(text, "(bad)") == 0);
        HOLD(!is_known || (insn.len_bytes == len && insn.addr == addr + off));
        HOLD(len <= ARCH->insn_bytes_max && off + len <= code.len_bytes);
        HOLD(ARCH->format(from(code, off), addr + off, shortest, sizeof shortest) == len && !shortest[0]);
    }
}

/* Is `target` where some instruction of the window goes? */
static bool is_target_of(const struct rdf_relocate_request *request, uint64_t target)
{
    struct rdf_insn insn;

    if (target == request->window_addr + request->window.len_bytes)
        return true;
    for (size_t off = 0; off < request->window.len_bytes; off += insn.len_bytes) {
        HOLD(ARCH->decode(from(request->window, off), request->window_addr + off, &insn));
        if (insn.has_target && insn.target == target)
            return true;
    }
    return false;
}

/* Does some instruction of the window use the memory at `ref`? That may be where the trampoline lies, by
 * chance. */
static bool is_ref_of(const struct rdf_relocate_request *request, uint64_t ref)
{
    struct rdf_insn insn;

    for (size_t off = 0; off < request->window.len_bytes; off += insn.len_bytes) {
        HOLD(ARCH->decode(from(request->window, off), request->window_addr + off, &insn));
        if (insn.has_ref && insn.ref == ref)
            return true;
    }
    return false;
}

static void check_relocated(const struct rdf_relocate_request *request, const struct rdf_relocated *moved)
{
    struct rdf_span code = {moved->code, moved->len_bytes};
    bool is_address[RDF_TRAMPOLINE_BYTES_MAX + 8] = {false}, is_start[RDF_TRAMPOLINE_BYTES_MAX] = {false};
    struct rdf_insn insn;
    size_t off, old_off = 0;

    HOLD(moved->len_bytes > 0 && moved->len_bytes <= RDF_TRAMPOLINE_BYTES_MAX);
    for (off = 0; off < code.len_bytes;) {
        is_start[off] = !is_address[off];
        if (is_address[off]) {
            uint64_t target = 0;
            HOLD(rdf_span_u64(code, off, &target) && is_target_of(request, target));
            off += 8;
            continue;
        }
        uint64_t here = request->trampoline_addr + off;
        HOLD(ARCH->decode(from(code, off), here, &insn));
        off += insn.len_bytes;
        if (insn.has_ref && insn.ref == here + insn.len_bytes && insn.flow == RDF_FLOW_JUMP_INDIRECT &&
            insn.len_bytes == 6 && off + 8 <= code.len_bytes && !is_ref_of(request, insn.ref))
            is_address[off] = true;
        if (insn.has_target && insn.target - request->trampoline_addr >= code.len_bytes)
            HOLD(is_target_of(request, insn.target));
    }
    HOLD(off == code.len_bytes);
    HOLD(moved->pc_count > 0 && moved->pc_count <= RDF_WINDOW_INSNS_MAX);
    for (size_t i = 0; i < moved->pc_count; i++) {
        HOLD(moved->pcs[i].old_off == old_off);
        HOLD(i == 0 || moved->pcs[i].new_off > moved->pcs[i - 1].new_off);
        HOLD(moved->pcs[i].new_off < moved->len_bytes && is_start[moved->pcs[i].new_off]);
        HOLD(ARCH->decode(from(request->window, old_off), request->window_addr + old_off, &insn));
        old_off += insn.len_bytes;
    }
    HOLD(old_off == request->window.len_bytes);
}

/* The whole instructions at the front. */
static size_t whole_bytes(struct rdf_span code)
{
    struct rdf_insn insn;
    size_t off = 0;

    while (off < code.len_bytes && ARCH->decode(from(code, off), 0, &insn))
        off += insn.len_bytes;
    return off;
}

static uint64_t take_u64(const uint8_t **data, size_t *len_bytes)
{
    uint64_t value = 0;

    for (int i = 0; i < 8 && *len_bytes > 0; i++, --*len_bytes)
        value |= (uint64_t) * (*data)++ << 8 * i;
    return value;
}

static void check_jumps(uint64_t start, uint64_t to)
{
    uint8_t code[RDF_JUMP_BYTES_MAX];
    struct rdf_insn insn;
    size_t len = ARCH->emit_jump(code, start, to);
    int64_t distance = (int64_t)(to - start - ARCH->jump_bytes);

    HOLD((len > 0) == (distance >= -ARCH->jump_reach_back && distance <= ARCH->jump_reach_ahead));
    if (len > 0) {
        HOLD(len == ARCH->jump_bytes && ARCH->decode((struct rdf_span){code, len}, start, &insn));
        HOLD(insn.len_bytes == len && insn.flow == RDF_FLOW_JUMP && insn.target == to);
    }
    len = ARCH->emit_slot_jump(code, start, to);
    if (len > 0) {
        HOLD(len <= RDF_JUMP_BYTES_MAX && ARCH->decode((struct rdf_span){code, len}, start, &insn));
        HOLD(insn.len_bytes == len && insn.flow == RDF_FLOW_JUMP_INDIRECT && insn.has_ref && insn.ref == to);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    struct rdf_relocate_request request = {0};
    struct rdf_relocated moved;
    struct rdf_error err = {.status = REDEFINE_OK};

    request.window_addr = take_u64(&data, &len_bytes);
    request.trampoline_addr = take_u64(&data, &len_bytes);
    uint64_t choice = take_u64(&data, &len_bytes);
    if (choice & 1) /* near, which few random addresses are */
        request.trampoline_addr = request.window_addr + (uint64_t)(int64_t)(int32_t)request.trampoline_addr;
    if (choice & 2) {
        request.patched_start = request.window_addr + (choice >> 8 & 7);
        request.patched_end = request.patched_start + 5;
    }
    if (choice & 0x60000) /* three times of four, whole instructions: few random bytes end with one */
        len_bytes = whole_bytes((struct rdf_span){data, len_bytes});
    /* A copy of exactly this size, so that a sanitizer sees the first byte that is read behind it. */
    uint8_t *copy = malloc(len_bytes ? len_bytes : 1);
    HOLD(copy);
    if (len_bytes > 0)
        memcpy(copy, data, len_bytes);
    request.window = (struct rdf_span){copy, len_bytes};

    memset(&moved, FILL, sizeof moved);
    redefine_status status = ARCH->relocate(&request, &moved, &err);
    HOLD(status == err.status);
    if (status == REDEFINE_OK) {
        check_relocated(&request, &moved);
    } else {
        HOLD(status == REDEFINE_EUNSUPPORTED || status == REDEFINE_ENOMEM);
        HOLD(err.sentence[0] && memchr(err.sentence, '\0', sizeof err.sentence));
        for (size_t i = 0; i < sizeof moved; i++)
            HOLD(((const uint8_t *)&moved)[i] == FILL);
    }
    if (choice >> 16 & 1)
        check_decode(request.window, request.window_addr);
    check_jumps(request.window_addr, request.trampoline_addr);
    free(copy);
    return status == REDEFINE_OK ? 0 : -1; /* what is refused need not be kept in a corpus */
}

#ifdef RDF_FUZZ_STANDALONE

static uint64_t next_random(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Bytes that random ones seldom form: prefixes and what this room treats specially. */
static uint8_t interesting_byte(uint64_t random)
{
    static const uint8_t bytes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x3e, 0x64, 0x48, 0x41, 0x4c, 0x0f,
                                    0x62, 0xc4, 0xc5, 0x8f, 0xd5, 0x90, 0xcc, 0xc3, 0xe0, 0xe2, 0xe3, 0xe8,
                                    0xe9, 0xeb, 0x74, 0x75, 0xff, 0xd0, 0xe0, 0x15, 0x25, 0x14, 0x24, 0x54,
                                    0x05, 0x8d, 0x8b, 0xc7, 0xf8, 0x00, 0x01, 0x02, 0xfe, 0xfb, 0x1e, 0xfa};

    return bytes[random % sizeof bytes];
}

static int run_file(const char *path)
{
    uint8_t input[4096];
    FILE *file = fopen(path, "rb");

    if (!file)
        return 2;
    size_t len = fread(input, 1, sizeof input, file);
    fclose(file);
    (void)LLVMFuzzerTestOneInput(input, len);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--file") == 0)
        return run_file(argv[2]);
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 0) : 1000000, moved = 0;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;

    for (uint64_t i = 0; i < rounds; i++) {
        uint8_t input[24 + 80];
        uint64_t shape = next_random(&seed);
        size_t len = 24 + (size_t)(shape % (shape >> 60 ? 24 : 80));

        for (size_t j = 0; j < len; j++) {
            uint64_t random = next_random(&seed);
            input[j] = random >> 32 & 1 ? interesting_byte(random >> 8) : (uint8_t)random;
        }
        moved += LLVMFuzzerTestOneInput(input, len) == 0;
    }
    printf("ok - %llu rounds, %llu windows moved\n", (unsigned long long)rounds, (unsigned long long)moved);
    return 0;
}

#endif
