/* SPDX-License-Identifier: MIT
 *
 * Windows made of what the fuzzer decides, run in an emulator as they are and relocated: see
 * differential_x86_64.c. Invariant: registers, flags, memory and where they go to are equal.
 */
#define RDF_DIFFERENTIAL_FUZZ
#include "unit/differential_x86_64.c"

enum { WINDOWS_PER_MACHINE = 8192 }; /* what the emulator translated is kept: it is some 30 KB for each */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
    static struct machine machine;
    static size_t slot;
    struct totals totals = {0};
    uint64_t seed = 1;
    if (slot == WINDOWS_PER_MACHINE)
        machine_close(&machine);
    slot %= WINDOWS_PER_MACHINE;
    if (slot == 0)
        open_for_generated(&machine, &seed);
    chosen = (struct rdf_span){data, len_bytes};
    bool is_far = below(&seed, 4) == 0;
    try_generated(&machine, slot++, is_far, &seed, is_far ? "far trampoline" : "near trampoline", &totals);
    chosen = (struct rdf_span){NULL, 0};
    if (totals.failed_windows)
        abort();
    return totals.equal_runs ? 0 : -1; /* what was not compared need not be kept in a corpus */
}
