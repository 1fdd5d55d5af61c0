/* SPDX-License-Identifier: MIT
 *
 * C++ names, by the demangler of the C++ runtime: the target's own when it has one loaded, else the
 * system's, opened for this question. A program without C++ never gets here.
 */
#include "image/image.h"
#include "image/names.h"

#include <dlfcn.h>
#include <stdlib.h>

static void find_demangler(struct rdf_demangler *demangler)
{
    if (demangler->tried)
        return;
    demangler->tried = true;
    void *found = dlsym(RTLD_DEFAULT, "__cxa_demangle");
    if (!found) {
        void *library = dlopen("libstdc++.so.6", RTLD_LAZY | RTLD_LOCAL);
        found = library ? dlsym(library, "__cxa_demangle") : NULL;
    }
    /* ISO C has no conversion between the two kinds of pointer; POSIX says they look alike. */
    union {
        void *object;
        char *(*function)(const char *, char *, size_t *, int *);
    } pointer = {.object = found};
    demangler->demangle = pointer.function;
}

bool rdf_demangle(struct rdf_demangler *demangler, const char *mangled, char *ret_text, size_t text_bytes)
{
    if (mangled[0] != '_' || mangled[1] != 'Z' || rdf_text_len(mangled) >= RDF_IMAGE_NAME_MAX)
        return false;
    find_demangler(demangler);
    if (!demangler->demangle)
        return false;
    int status = 0;
    char *text = demangler->demangle(mangled, NULL, NULL, &status);
    size_t len = text ? rdf_text_len(text) : 0;
    bool fits = text && status == 0 && len < text_bytes;
    for (size_t i = 0; fits && i <= len; i++)
        ret_text[i] = text[i];
    free(text);
    return fits;
}

bool rdf_image_demangle(const char *mangled, char *ret_text, size_t text_bytes)
{
    static struct rdf_demangler demangler; /* filled the same way by everyone */
    return rdf_demangle(&demangler, mangled, ret_text, text_bytes);
}
