#!/bin/sh
# SPDX-License-Identifier: MIT
#
# gcc compiles this project: the objects are the output.
set -eu
mkdir objects
files=$(cd "$SRC" && echo src/base/*.c src/core/*.c cli/main.c)
[ -z "${SMALL:-}" ] || files=src/base/span.c
for file in $files; do
    (cd "$SRC" && gcc -D_GNU_SOURCE -DREDEFINE_VERSION='"0"' -std=gnu11 -O2 -g -Wall -Wextra -fPIC -Isrc -Iinclude \
        -c -o "$OLDPWD/objects/$(basename "$file").o" "$file")
done
printf '#include <vector>\n#include <string>\n#include <map>\nint f(std::map<std::string, std::vector<int>> &m)\n{\n    int n = 0;\n    for (auto &[k, v] : m)\n        for (int x : v)\n            n += x + (int)k.size();\n    return n;\n}\n' >map.cc
g++ -std=c++17 -O2 -c -o objects/map.o map.cc
sha256sum objects/*
gcc -O2 -Wall -c -o bad.o - <<'END' || echo "status $?"
int f(void) { return undeclared; }
END
