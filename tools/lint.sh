#!/bin/sh
# SPDX-License-Identifier: MIT
#
# lint.sh BUILD: the layout of every C file, then clang-tidy on what BUILD compiles (.clang-tidy says what
# it looks for).
set -eu
cd "$(dirname "$0")/.."
build=$1
status=0

tools/c-files | xargs clang-format --dry-run -Werror || status=1

# clang does not know every flag that the build gives gcc.
mkdir -p "$build/lint"
sed 's/ -fno-tree-loop-distribute-patterns//g' "$build/compile_commands.json" >"$build/lint/compile_commands.json"

# Only what is compiled: of another CPU's native.c, say, the flags are not known.
sed -n 's/^ *"file": "\(.*\.c\)",\{0,1\}$/\1/p' "$build/lint/compile_commands.json" | sort -u |
    xargs -P 2 -n 1 clang-tidy --quiet -p "$build/lint" || status=1
exit $status
