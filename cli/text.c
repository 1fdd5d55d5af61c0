/* SPDX-License-Identifier: MIT */
#include "text.h"

#include "image/image.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { COLUMNS_DEFAULT = 80 };

bool cli_has_colour(FILE *out)
{
    const char *no_color = getenv("NO_COLOR");
    return isatty(fileno(out)) && !(no_color && *no_color);
}

int cli_columns(FILE *out)
{
    struct winsize window = {0};
    bool is_told = isatty(fileno(out)) && ioctl(fileno(out), TIOCGWINSZ, &window) == 0 && window.ws_col;
    return is_told ? window.ws_col : COLUMNS_DEFAULT;
}

char *cli_demangle(const char *name)
{
    enum { TEXT_BYTES = 1 << 16 };
    static char text[TEXT_BYTES];
    return rdf_image_demangle(name, text, sizeof text) ? strdup(text) : NULL;
}

int cli_control_bytes(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    if (at[0] == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0)
        return 2;
    return at[0] < ' ' || at[0] == 0x7f;
}

const char *cli_short_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void cli_put_text(FILE *out, const char *text, int columns_max)
{
    for (int column = 0; *text && column < columns_max; text++) {
        int control = cli_control_bytes(text);
        fputc(control ? '?' : *text, out);
        text += control > 1;
        column += ((unsigned char)text[1] & 0xc0) != 0x80; /* UTF-8: what goes on with a character is none */
    }
}

const char *cli_number(uint64_t value)
{
    static char buffers[4][32];
    static unsigned turn;
    char plain[24];
    char *out = buffers[turn++ % 4];
    int len = snprintf(plain, sizeof plain, "%" PRIu64, value);
    int put = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            out[put++] = ',';
        out[put++] = plain[i];
    }
    out[put] = '\0';
    return out;
}

/* A number below zero, which only an address can be: its digits so far. */
struct json_writer {
    FILE *out;
    char digits[24];
    size_t count; /* with the sign */
    bool in_string, is_escaped;
};

static bool end_number(struct json_writer *writer)
{
    if (!writer->count)
        return true;
    writer->digits[writer->count] = '\0';
    writer->count = 0;
    return fprintf(writer->out, "%" PRIu64, (uint64_t)strtoll(writer->digits, NULL, 10)) > 0;
}

static int write_json(const char *text, size_t len, void *ctx)
{
    struct json_writer *writer = ctx;
    for (size_t i = 0; i < len; i++) {
        char at = text[i];
        bool is_digit = at >= '0' && at <= '9';
        if (!writer->in_string && (at == '-' || (writer->count && is_digit))) {
            if (writer->count < sizeof writer->digits - 1)
                writer->digits[writer->count++] = at;
            continue;
        }
        if (at == '"' && !writer->is_escaped)
            writer->in_string = !writer->in_string;
        writer->is_escaped = at == '\\' && !writer->is_escaped;
        if (!end_number(writer) || fputc(at, writer->out) == EOF)
            return -1;
    }
    return 0;
}

bool cli_json_write(FILE *out, const struct json_t *json, size_t flags)
{
    struct json_writer writer = {.out = out};
    return json && json_dump_callback(json, write_json, &writer, flags) == 0 && end_number(&writer);
}

json_t *cli_json_text(const char *text)
{
    json_t *string = json_string(text);
    if (string)
        return string;
    char *copy = strdup(text);
    for (char *at = copy; at && *at; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    string = json_string(copy);
    free(copy);
    return string;
}
