/* SPDX-License-Identifier: MIT
 *
 * Comparing C++ names as people write them with what a demangler prints: spaces differ ("int *",
 * "int*"), parameters may be left out, templates are printed with their return type.
 *
 * Source: Itanium C++ ABI, 5.1 (mangling: an identifier is its length in decimal and its text).
 */
#include "image/names.h"

#include <stdio.h>

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '$' || (unsigned char)c >= 0x80;
}

size_t rdf_cxx_normalize(const char *text, size_t len, char *ret_text, size_t text_bytes)
{
    size_t put = 0;
    for (size_t i = 0; i < len && put + 1 < text_bytes; i++) {
        if (text[i] == ' ' && !(put && is_word(ret_text[put - 1]) && i + 1 < len && is_word(text[i + 1])))
            continue;
        if (text[i] == '[' && len - i > 5 && rdf_text_starts(text + i, "[abi:")) {
            size_t end = i;
            while (end < len && text[end] != ']')
                end++;
            if (end < len) {
                i = end;
                continue;
            }
        }
        ret_text[put++] = text[i];
    }
    ret_text[put] = 0;
    return put;
}

static bool ends_with(const char *text, size_t len, const char *suffix)
{
    size_t suffix_len = rdf_text_len(suffix);
    if (suffix_len > len)
        return false;
    for (size_t i = 0; i < suffix_len; i++)
        if (text[len - suffix_len + i] != suffix[i])
            return false;
    return true;
}

/* Behind the name and before its parameter list, of a normalized text; `len` when it has none. */
size_t rdf_cxx_without_parameters(const char *text, size_t len)
{
    static const char *const qualifier[] = {"const", "volatile", "&"};
    size_t end = len;
    for (size_t i = 0; i < sizeof qualifier / sizeof *qualifier;) {
        if (!ends_with(text, end, qualifier[i])) {
            i++;
            continue;
        }
        end -= rdf_text_len(qualifier[i]);
        i = 0;
        while (end && text[end - 1] == ' ')
            end--;
    }
    if (!end || text[end - 1] != ')')
        return len;
    size_t depth = 0, open = end;
    while (open > 0) {
        open--;
        depth += text[open] == ')';
        depth -= text[open] == '(';
        if (!depth)
            break;
    }
    return depth || !open || ends_with(text, open, "operator") ? len : open;
}

/* Whether the first `name_len` bytes of `name` are `wanted`, or end in it behind a return type. */
static bool is_name(const char *name, size_t name_len, const char *wanted, size_t wanted_len)
{
    if (wanted_len > name_len)
        return false;
    size_t skip = name_len - wanted_len;
    for (size_t i = 0; i < wanted_len; i++)
        if (name[skip + i] != wanted[i])
            return false;
    if (!skip)
        return true;
    long depth = 0;
    for (size_t i = 0; i < skip; i++) {
        depth += name[i] == '<' || name[i] == '(';
        depth -= name[i] == '>' || name[i] == ')';
    }
    return name[skip - 1] == ' ' && depth == 0 && !ends_with(name, skip - 1, "operator");
}

bool rdf_cxx_matches(const char *demangled, size_t demangled_len, const char *wanted, size_t wanted_len)
{
    return is_name(demangled, demangled_len, wanted, wanted_len) ||
           is_name(demangled, rdf_cxx_without_parameters(demangled, demangled_len), wanted, wanted_len);
}

/* What a mangled name must contain to be `wanted` (normalized): "3foo"; empty when that is not known. */
void rdf_cxx_needle(const char *wanted, size_t wanted_len, char *ret_text, size_t text_bytes)
{
    ret_text[0] = 0;
    size_t end = rdf_cxx_without_parameters(wanted, wanted_len);
    for (size_t i = 0; i < end; i++)
        if (rdf_text_starts(wanted + i, "operator"))
            return;
    if (end && wanted[end - 1] == '>') {
        size_t depth = 0;
        while (end > 0) {
            end--;
            depth += wanted[end] == '>';
            depth -= wanted[end] == '<';
            if (!depth)
                break;
        }
    }
    size_t start = end;
    while (start && is_word(wanted[start - 1]))
        start--;
    int len = (int)(end - start < RDF_IMAGE_NAME_MAX ? end - start : RDF_IMAGE_NAME_MAX);
    if (len && snprintf(ret_text, text_bytes, "%d%.*s", len, len, wanted + start) >= (int)text_bytes)
        ret_text[0] = 0;
}

bool rdf_cxx_contains(const char *text, const char *needle)
{
    for (; *text; text++)
        if (rdf_text_starts(text, needle))
            return true;
    return !*needle;
}
