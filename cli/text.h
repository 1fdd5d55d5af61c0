/* SPDX-License-Identifier: MIT
 *
 * What is printed: for people, at the width of their terminal, with nothing in it that is for the terminal
 * but what comes from here.
 */
#ifndef RDF_CLI_TEXT_H
#define RDF_CLI_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* On a terminal, unless NO_COLOR says otherwise (no-color.org). */
bool cli_has_colour(FILE *out);

/* The columns of a terminal; 80 where it is none. */
int cli_columns(FILE *out);

/* As people write a C++ name, by the C++ runtime of this system, if there is one. A new string, or null. */
char *cli_demangle(const char *name);

/* How many bytes at `text` are a character that speaks to a terminal: a control of ASCII, or one of the other
 * 32 that ISO 6429 has, as UTF-8 writes them. 0: none. */
int cli_control_bytes(const char *text);

/* Of a path: what lies behind its last slash. */
const char *cli_short_name(const char *path);

/* At most so many columns; names come from files, so control characters are shown as "?". */
void cli_put_text(FILE *out, const char *text, int columns_max);

/* "12,480", in one of four buffers that take turns. */
const char *cli_number(uint64_t value);

/* A string for JSON: a name that is no UTF-8 becomes one, or there would be no JSON. */
struct json_t;
struct json_t *cli_json_text(const char *text);

/* Written with the flags of jansson, whose integers have a sign, while addresses have none: one of the upper
 * half, where a kernel lies, is written as the number that it is. False: it could not be written, or is null.
 */
bool cli_json_write(FILE *out, const struct json_t *json, size_t flags);

#endif
