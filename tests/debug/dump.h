/* SPDX-License-Identifier: MIT
 *
 * What debug data says of an object's functions, by our own reader and by elfutils' libdw, in the same words:
 * line by line the same, or one of the two is wrong. live/debug_differential.sh compares, bench/check.sh
 * measures.
 */
#ifndef DEBUG_DUMP_H
#define DEBUG_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dump {
    char **line;
    size_t count, room;
    bool only_sites; /* what `check` of a name needs: no types */
    bool is_silent;  /* measured: nothing is written down, everything is found out */
    const char *failure;
};

void dump_line(struct dump *dump, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* False: dump->failure says why. */
bool dump_by_own_reader(struct dump *dump, const char *path);
bool dump_by_libdw(struct dump *dump, const char *path);

/* The text of a type, for both: what is reached over so many pointers and fields, in so many bytes. */
enum { TYPE_LEVELS = 5, TYPE_BYTES = 3000 };

struct type_text {
    char bytes[TYPE_BYTES];
    size_t used;
};

/* False: it is full, and the rest is left out. */
bool type_text_add(struct type_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
