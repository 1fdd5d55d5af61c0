/* SPDX-License-Identifier: MIT
 *
 * Shared objects made by the compiler while a test runs, to be loaded and unloaded. They lie in the test's
 * own folder, which run-tests clears away.
 */
#ifndef TESTS_LIVE_OBJECTS_H
#define TESTS_LIVE_OBJECTS_H

#include "live.h"

#include <dlfcn.h>

typedef int function_type(int);

/* An object with `int function(int)`: value + plus; and with `others` functions more, which have no names.
 * Its path: at most MADE_MAX of them in one case. */
__attribute__((unused)) static const char *make_object_with(const char *name, int plus, int others)
{
    enum { MADE_MAX = 4 };
    static char path[MADE_MAX][64];
    static size_t made;
    char *to = path[made++];
    snprintf(to, sizeof path[0], "./%s.so", name);
    char command[256];
    snprintf(command, sizeof command, "${CC:-cc} -O1 -shared -fPIC -Wl,-soname,%s -x c - -o %s", name, to);
    FILE *compiler = popen(command, "w");
    if (!compiler)
        live_skip("no compiler");
    fprintf(compiler,
            "int function(int v) { __asm__ volatile(\"\"); return v + %d; } void (*original)(void);\n", plus);
    fprintf(
        compiler,
        "__asm__(\".text\\n.rept %d\\n.cfi_startproc\\n.rept 60\\nnop\\n.endr\\n.cfi_endproc\\n.endr\");\n",
        others);
    if (pclose(compiler))
        live_skip("no compiler");
    return to;
}

__attribute__((unused)) static const char *make_object(const char *name, int plus)
{
    return make_object_with(name, plus, 0);
}

__attribute__((unused)) static void *load(const char *path, function_type **ret)
{
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(object);
    *ret = (function_type *)(uintptr_t)dlsym(object, "function");
    CHECK(*ret);
    return object;
}

/* musl never does. */
__attribute__((unused)) static void unload(void *object, const char *path)
{
    CHECK(!dlclose(object));
    if (dlopen(path, RTLD_NOW | RTLD_NOLOAD))
        live_skip("this libc unloads nothing");
}

#endif
