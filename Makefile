# SPDX-License-Identifier: MIT
#
# The verbs. Each sets up what it needs (Debian packages, see tools/packages.txt) and builds first, so that
# any of them works in a fresh clone. The building itself is CMake's: CMakeLists.txt, CMakePresets.json.

PREFIX ?= /usr/local
FUZZ_SECONDS ?= 30

.DEFAULT_GOAL := build
.PHONY: build demo test aarch64 riscv64 musl windows macos freebsd guest table asan tsan rebase coverage bench fuzz soak install format \
        lint clean help

# Ninja runs things side by side by itself; the verbs come one after the other.
.NOTPARALLEL:

# compile,PRESET,FOLDER: configures once; afterwards Ninja notices when that has to be done again.
define compile
	@test -f $(2)/build.ninja || cmake --preset $(1) >/dev/null
	@cmake --build --preset $(1)
endef

# The tests need packages that who only builds has no use for: they join the build when they are first asked for.
define with_tests
	@grep -qs 'REDEFINE_TESTS:BOOL=ON' build/CMakeCache.txt || cmake --preset default -DREDEFINE_TESTS=ON >/dev/null
	$(call compile,default,build)
endef

build: ## the libraries, the command and the agent, into build/ (the default)
	@tools/setup.sh build
	$(call compile,default,build)

macos: ## libredefine.a for Apple silicon into build-macos/, for Intel into build-macos-x86_64/; nothing is run
	@tools/setup.sh build zig
	@tools/zig-build.sh aarch64-macos build-macos
	@tools/zig-build.sh x86_64-macos build-macos-x86_64

freebsd: ## libredefine.a for FreeBSD on x86-64 into build-freebsd/; nothing is run
	@tools/setup.sh build zig
	@tools/zig-build.sh x86_64-freebsd build-freebsd

demo: build ## a short tour of what it does
	@tools/demo.sh

test: ## every test; T=pattern: only those whose name holds the pattern
	@tools/setup.sh build test
	$(call with_tests)
	@tools/run-tests build $(if $(T),'$(T)')

aarch64 riscv64: ## for 64-bit Arm or RISC-V, into build-aarch64/ or build-riscv64/; its tests run under qemu
	@tools/cross.sh $@ $(if $(T),'$(T)')

musl: ## with musl as the C library, into build-musl/; its tests run
	@tools/cross.sh $@ $(if $(T),'$(T)')

windows: ## for 64-bit Windows by mingw-w64, into build-windows/; its tests run under wine
	@tools/cross.sh $@ $(if $(T),'$(T)')

guest: ## the tests for 64-bit Arm and RISC-V in whole emulated machines, with Debian's kernels; T=pattern
	@tools/guest.sh aarch64 $(if $(T),'$(T)')
	@tools/guest.sh riscv64 $(if $(T),'$(T)')

table: ## the table of systems in README.md, from what the tests of each build said when they last ran
	@tools/table

asan: ## the tests again, under the address and undefined behaviour sanitizers
	@tools/setup.sh build test
	$(call compile,asan,build-asan)
	@LSAN_OPTIONS=suppressions=$(CURDIR)/tests/support/lsan.supp:print_suppressions=0 TEST_TIMEOUT=$${TEST_TIMEOUT:-1200} \
		tools/run-tests build-asan $(if $(T),'$(T)')

tsan: ## threads that call what is being redefined, under the thread sanitizer
	@tools/setup.sh build test
	$(call compile,tsan,build-tsan)
	@tools/run-tests build-tsan '(live/(threads|for_thread)|unit/swap)$$'

rebase: ## write the golden files anew from what the code does now; read the difference before keeping it
	@tools/setup.sh build test
	$(call with_tests)
	@for room in tests/golden/*/; do \
		build/tests/golden/golden --rebase "$$(basename "$$room")" "$$room" || exit 1; \
	done

coverage: ## how many functions of real libraries can be redefined, by strategy
	@tools/setup.sh build test
	$(call with_tests)
	@build/tests/coverage/coverage --refused

bench: build ## measure, and plot (build/bench/*.svg); nothing else should be running
	-@tools/setup.sh bench
	@cmake --build --preset bench
	@tools/bench.sh build

fuzz: ## each fuzzer for FUZZ_SECONDS (30)
	@tools/setup.sh build fuzz
	$(call compile,fuzz,build-fuzz)
	@tools/fuzz.sh build-fuzz $(FUZZ_SECONDS)

soak: ## the long tests: big random ones, models, a million toggles, and every fuzzer for a minute
	@tools/setup.sh build test fuzz soak
	$(call with_tests)
	$(call compile,fuzz,build-fuzz)
	@tools/soak.sh build build-fuzz

install: build ## headers, libraries, command, manual pages into PREFIX (/usr/local), under DESTDIR
	@DESTDIR="$(DESTDIR)" cmake --install build --prefix "$(PREFIX)"

format: ## lay out the C sources
	@tools/setup.sh build lint
	@tools/c-files | xargs clang-format -i

lint: ## layout, and what a static analyser has to say
	@tools/setup.sh build lint
	$(call compile,default,build)
	@tools/lint.sh build

clean: ## forget everything that was built
	rm -rf build build-*

help: ## this
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | awk -F '\t' '{ printf "make %-9s %s\n", $$1, $$2 }'
