#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh REDEFINE [FOLDER]: how long `redefine check` of one function takes in a program of 100 MB, most of it
# debug data, the first time and afterwards, beside gdb and pahole on the same file in the same run; and our reader
# alone beside elfutils' libdw, both finding every inlined copy, where the tests were built. The program is made in
# FOLDER (a temporary one) and stays there when a folder was named: compiling it takes minutes.
set -eu
redefine=$(realpath "$1")
kept=${2:-}
dir=${kept:-$(mktemp -d)}
[ -n "$kept" ] || trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir"
cd "$dir"
units=${UNITS:-6}

# One unit: sixty namespaces, each with its own instances of the standard containers.
unit()
{
    printf '#include <%s>\n' algorithm functional map memory string unordered_map vector
    for part in $(seq 60); do
        cat <<C
namespace n$1_$part {
struct item { int key; std::string name; double weight[$part]; };
static inline int score(const item &x) { return x.key * $part + (int)x.name.size(); }
int run(std::map<int, item> &m, std::vector<item> &v, std::unordered_map<std::string, item> &u,
        std::function<int(item)> f)
{
    int s = 0;
    for (auto &p : m) s += score(p.second);
    std::sort(v.begin(), v.end(), [](const item &a, const item &b) { return score(a) < score(b); });
    for (auto &x : v) { u[x.name] = x; s += f(x) + score(x); }
    m[s] = v.back();
    v.push_back(v.front());
    return s + std::make_shared<item>(v[0])->key;
}
}
C
    done
}

if [ ! -x big ]; then
    for number in $(seq "$units"); do
        unit "$number" >"unit$number.cc"
        "${CXX:-c++}" -O2 -g -c "unit$number.cc"
    done
    { echo 'extern "C" int middle(int x);'; echo 'int main(int c, char **) { return middle(c); }'
      echo 'extern "C" __attribute__((noinline)) int middle(int x) { asm(""); return x + 1; }'; } >main.cc
    "${CXX:-c++}" -O2 -g -o big main.cc unit*.o
fi
echo "program: $(($(stat -c %s big) / 1000000)) MB"

# timed LABEL COMMAND…: elapsed and processor time, and the largest memory. On a busy machine only the second
# says anything.
timed()
{
    label=$1
    shift
    "${PYTHON:-python3}" -c 'import resource, subprocess, sys, time
start = time.monotonic()
subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print("%-32s %6.2f s, %6.2f s of processor, %4d MB" % (sys.argv[1], time.monotonic() - start,
      used.ru_utime + used.ru_stime, used.ru_maxrss // 1024))' "$label" "$@"
}

cat big >/dev/null
export XDG_CACHE_HOME="$dir/cache"
rm -rf cache
timed "redefine check, the first time" "$redefine" check ./big middle
timed "redefine check, afterwards" "$redefine" check ./big middle
if command -v gdb >/dev/null; then
    timed "gdb, info scope" gdb -nx -batch -ex 'info scope middle' ./big
    timed "gdb, info line" gdb -nx -batch -ex 'info line middle' ./big
fi
if command -v pahole >/dev/null; then
    timed "pahole, one type" pahole -C item ./big
    timed "pahole, all" pahole ./big
fi
dump=$(dirname "$redefine")/tests/debug/dump
if [ -x "$dump" ]; then
    timed "our reader, every inlined copy" "$dump" own --silent ./big
    timed "libdw, every inlined copy" "$dump" libdw --silent ./big
fi
