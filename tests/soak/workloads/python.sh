#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Python's own tests, with the extension modules and their libraries loaded from the start, so that they are counted
# as well. A pyenv shim is a script; what it leads to is asked for.
set -eu
for python in /usr/bin/python3 "$(python3 -c 'import sys; print(sys.executable)')"; do
    "$python" -c 'import test.test_json, test.test_sqlite3' >/dev/null 2>&1 && break
done
tests="test_json test_re test_struct test_hashlib test_zlib test_sqlite3"
[ -z "${SMALL:-}" ] || tests="test_struct test_heapq"
# What cannot stand without another one is left out.
preload=$("$python" - <<'END'
import glob, os, subprocess, sys, sysconfig
folder = sysconfig.get_config_var("DESTSHARED")
modules = [m for n in ("_hashlib", "_sqlite3", "zlib", "_json", "_struct", "_blake2", "_sha*", "_md5", "math", "_random",
           "_pickle", "_datetime", "_heapq", "array", "binascii") for m in sorted(glob.glob(f"{folder}/{n}.*.so"))]
libraries = set()
for m in modules:
    for line in subprocess.run(["ldd", m], capture_output=True, text=True).stdout.splitlines():
        path = line.split("=>")[-1].split()[0]
        if path.startswith("/") and not any(n in path for n in ("libpython", "libc.so", "libm.so", "ld-linux")):
            libraries.add(path)
print(":".join(sorted(libraries) + modules))
END
)
export PYTHONHASHSEED=0
[ -n "${SMALL:-}" ] || export LD_PRELOAD="${LD_PRELOAD:-}${LD_PRELOAD:+:}$preload"
# shellcheck disable=SC2086
exec "$python" -m test -v --randseed 1 $tests
