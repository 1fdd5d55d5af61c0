#!/bin/sh
# SPDX-License-Identifier: MIT
#
# A static program: nothing is loaded into it for a C++ name, and it stays the program when it loads something itself.
set -u
. "$SRC/tests/support/tap.sh"

cat >names.cc <<'C'
#include <redefine/redefine.h>
#include <cstring>
#include <dlfcn.h>
namespace ns {
__attribute__((noinline, used)) int f(int a)
{
    return a + 1;
}
}
extern "C" __attribute__((noinline, used)) int plain(int a)
{
    return a + 2;
}
static const char *find(const char *name, void *wanted)
{
    void *addr = nullptr;
    return redefine_find(name, &addr) != REDEFINE_OK ? redefine_explain() : addr == wanted ? "found" : "another one";
}
int main()
{
#ifdef LOADS
    if (!dlopen("libm.so.6", RTLD_NOW))
        return 77;
#endif
    printf("%s\n", find("plain", (void *)plain));
    printf("%s\n", find("ns::f(int)", (void *)ns::f));
    printf("%s\n", find("ns::f", (void *)ns::f));
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (fgets(line, sizeof line, maps))
        if (strstr(line, "libstdc++"))
            return puts("libstdc++ was loaded"), 1;
    return 0;
}
C
all="found${newline}found${newline}found"
# Debian has no static Zydis; names need none.
demangler=-Wl,-u,__cxa_demangle
for how in "-static $demangler" "-static-pie $demangler" "-static $demangler -DLOADS" "-static-pie $demangler -DLOADS"; do
    # Not quoted: these are words.
    # shellcheck disable=SC2086
    if ! ${CXX:-c++} $how -I"$SRC/include" -o names names.cc "$BUILD/libredefine.a" \
        -Wl,--unresolved-symbols=ignore-all 2>why; then
        skip "names in a program built with $how" "there are no static libraries: $(head -n 1 why)"
        continue
    fi
    case $how in
    *LOADS) ;;
    *) result "built with $how: dlopen does not become a part of it" sh -c '! grep dlopen why' ;;
    esac
    run ./names
    if [ $status = 77 ]; then
        skip "names in a program built with $how" "it cannot load anything"
    else
        expect "names in a program built with $how" 0 "$all"
    fi
done

# ---- without the C++ runtime's demangler ----

if ${CXX:-c++} -static -I"$SRC/include" -o names names.cc "$BUILD/libredefine.a" \
    -Wl,--unresolved-symbols=ignore-all 2>why; then
    run ./names
    result "a static program without a demangler is told so" sh -c '
        [ "$(head -n 1 out)" = found ] && [ "$(grep -c "cannot be read here.*__cxa_demangle" out)" = 2 ] || { cat out; false; }'
else
    skip "a static program without a demangler is told so" "there are no static libraries: $(head -n 1 why)"
fi
finish
