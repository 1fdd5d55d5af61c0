/* SPDX-License-Identifier: MIT
 *
 * A fuzzer without libFuzzer: replay.c + fuzz_X.c run over the seeds in a folder, each as it is and then
 * with a few hundred changes that are the same every time. Prints TAP. Small, but it runs everywhere and
 * with every `make test`; `make fuzz` is the real thing.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SEED_BYTES_MAX = 1 << 20, ROUNDS = 300, BLANK_ROUNDS = 3000 };

/* xorshift64: the same numbers on every machine. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* In a block of exactly its size, so that valgrind and the sanitizers see every read behind the end. */
static void run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static void run_changed(const uint8_t *seed, size_t size)
{
    static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    uint8_t *changed = malloc(size);
    uint64_t state = UINT64_C(0x9e3779b97f4a7c15) ^ size;
    if (!changed)
        abort();
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(changed, seed, size);
        for (uint64_t changes = next_random(&state) % 8 + 1; changes; changes--) {
            uint64_t random = next_random(&state);
            uint8_t *byte = &changed[random % size];
            switch (random >> 62) {
            case 0: *byte ^= (uint8_t)(1u << (random >> 32) % 8); break;
            case 1: *byte = edges[(random >> 32) % sizeof edges]; break;
            default: *byte = (uint8_t)(random >> 40); break;
            }
        }
        /* Every fourth is cut off. */
        run(changed, round % 4 ? size : next_random(&state) % size);
    }
    free(changed);
}

/* False when the file cannot be read. */
static int run_seed(const char *folder, const char *name)
{
    static uint8_t seed[SEED_BYTES_MAX];
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return 0;
    size_t size = fread(seed, 1, sizeof seed, file);
    (void)fclose(file);
    run(seed, size);
    if (size)
        run_changed(seed, size);
    return 1;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s FOLDER-OF-SEEDS\n", argv[0]);
        return 2;
    }
    uint64_t state = 1;
    for (int round = 0; round < BLANK_ROUNDS; round++) {
        uint8_t noise[256];
        for (size_t i = 0; i < sizeof noise; i++)
            noise[i] = (uint8_t)(next_random(&state) >> 32);
        run(noise, next_random(&state) % sizeof noise);
    }
    printf("ok 1 - noise\n");

    int count = 1;
    int failed = 0;
    DIR *folder = opendir(argv[1]); /* none: the fuzzer has no seeds */
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        int ok = run_seed(argv[1], entry->d_name);
        failed += !ok;
        printf("%s %d - %s\n", ok ? "ok" : "not ok", ++count, entry->d_name);
        (void)fflush(stdout);
    }
    if (folder)
        (void)closedir(folder);
    printf("1..%d\n", count);
    return failed != 0;
}
