/* SPDX-License-Identifier: MIT
 *
 * Windows made of what the fuzzer decides, run in an emulator as they are and relocated, as in
 * unit/differential_aarch64.c.
 * Invariant: registers, flags, memory, where they go to and the instructions passed are equal.
 */
#define RDF_DIFFERENTIAL_FUZZ
#include "unit/differential_aarch64.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    struct tally tally = {{0}, 0, 0};
    chance_state = 1;
    chosen = (struct rdf_span){data, len_bytes};
    enum verdict verdict = try_made_up(&tally, "fuzzed");
    chosen = (struct rdf_span){NULL, 0};
    if (verdict == DIFFERENT)
        abort();
    return verdict == EQUAL ? 0 : -1; /* what was not compared need not be kept in a corpus */
}
