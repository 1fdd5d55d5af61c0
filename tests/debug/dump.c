/* SPDX-License-Identifier: MIT
 *
 * dump own|libdw [--sites|--silent] OBJECT: see dump.h. --silent is for measuring, and prints nothing.
 */
#include "dump.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void dump_line(struct dump *dump, const char *format, ...)
{
    char text[2 * TYPE_BYTES];
    if (dump->is_silent) {
        dump->count++;
        return;
    }
    if (dump->count == dump->room) {
        dump->room = dump->room ? 2 * dump->room : 1024;
        dump->line = realloc(dump->line, dump->room * sizeof *dump->line);
    }
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (!dump->line || !(dump->line[dump->count++] = strdup(text)))
        abort();
}

bool type_text_add(struct type_text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t left = sizeof text->bytes - text->used;
    int len = vsnprintf(text->bytes + text->used, left, format, arguments);
    va_end(arguments);
    if (len < 0 || (size_t)len >= left) {
        text->bytes[text->used] = '\0';
        return false;
    }
    text->used += (size_t)len;
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int main(int argc, char **argv)
{
    struct dump dump = {.only_sites = argc > 3, .is_silent = argc > 3 && strcmp(argv[2], "--silent") == 0};
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: %s own|libdw [--sites|--silent] OBJECT\n", argv[0]);
        return 2;
    }
    const char *path = argv[argc - 1];
    if (!(strcmp(argv[1], "own") == 0 ? dump_by_own_reader : dump_by_libdw)(&dump, path)) {
        fprintf(stderr, "%s: %s\n", path, dump.failure ? dump.failure : "unknown");
        return 1;
    }
    qsort(dump.line, dump.is_silent ? 0 : dump.count, sizeof *dump.line, by_text);
    for (size_t i = 0; !dump.is_silent && i < dump.count; i++) {
        puts(dump.line[i]);
        free(dump.line[i]);
    }
    free(dump.line);
    return 0;
}
