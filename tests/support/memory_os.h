/* SPDX-License-Identifier: MIT
 *
 * An operating system in memory: an address space of buffers, threads that only have a place, operations
 * that are counted, noted down and can be made to fail, and a source of pages that can run dry.
 *
 * It watches the engine while it works. Code is written only while the world stands still or signals are
 * held back; a stopped body calls only what it may; no page is writable and executable at once; a store
 * goes to a page that is writable. The first breach is kept in `fault`.
 */
#ifndef TESTS_SUPPORT_MEMORY_OS_H
#define TESTS_SUPPORT_MEMORY_OS_H

#include "arch/arch.h"
#include "os/os.h"

#include <setjmp.h>

enum {
    MEMORY_REGIONS_MAX = 400,
    MEMORY_WALLS_MAX = 8,
    MEMORY_THREADS_MAX = 300,
    MEMORY_CALLS_MAX = 4096,
    MEMORY_ATTEMPTS = 3, /* of a body that says -EAGAIN, until the deadline */
    MEMORY_STACK_BYTES = 2 * 4096,
    MEMORY_FIRST_TID = 1000,
};

enum memory_op {
    MEMORY_MAPS,
    MEMORY_MAPS_AT,
    MEMORY_READ,
    MEMORY_MAP,
    MEMORY_UNMAP,
    MEMORY_PROTECT,
    MEMORY_WRITE, /* + enum rdf_write_method */
    MEMORY_SIGNALS_HELD = MEMORY_WRITE + RDF_WRITE_METHODS,
    MEMORY_WORLD_STOPPED,
    MEMORY_SET_PC,
    MEMORY_CATCH_TRAPS,
    MEMORY_SYNC_CORES,
    MEMORY_CHECK_TRAPS,
    MEMORY_ASK_THREADS,
    MEMORY_OPS,
};

struct memory_call {
    enum memory_op op;
    uint64_t addr;
    uint64_t detail; /* length, protection or new pc */
    int result;
};

struct memory_region {
    uint64_t start;
    uint64_t end;
    uint8_t *bytes;    /* from the start of a page on … */
    uint8_t *memory;   /* … in here */
    uint8_t *prot;     /* of each page, now … */
    uint8_t *own_prot; /* … and as it is without the engine */
    uint64_t ino;      /* 0: not a file */
    const char *path;
};

/* What is to fail: operation number `at` (from 1), and with `lasting` each one behind it. */
struct memory_failure {
    size_t at; /* 0: none */
    int err;   /* positive errno value */
    bool lasting;
    unsigned ops; /* bit per memory_op that counts; 0: all */
};

struct memory_os {
    struct rdf_space space;
    struct rdf_page_source pages;

    struct memory_region region[MEMORY_REGIONS_MAX]; /* ascending */
    size_t region_count;
    /* Mapped as well, with nothing behind it: to keep places from being free. */
    struct rdf_map wall[MEMORY_WALLS_MAX];
    size_t wall_count;
    uint64_t own_start, own_end; /* of the test itself, read as it is: where owners read their originals */
    struct rdf_map hidden;       /* in no list, and not free: an emulator's own */

    struct rdf_thread thread[MEMORY_THREADS_MAX]; /* where they are; moved by set_pc */
    size_t thread_count;
    uint64_t next_stack;
    /* Called before each attempt to stop the world but the first: lets threads go on. */
    void (*between)(struct memory_os *os);
    /* Called right before the first: what the program does behind the engine's back. */
    void (*before_stop)(struct memory_os *os);

    bool no_views;   /* as a traced process */
    bool no_tracer;  /* stopping does not give the right to write */
    bool may_be_wx;  /* the engine runs from the page that it writes to */
    int kill_helper; /* how many times the stopped body is cut off … */
    int kill_behind; /* … behind the write that comes after so many others */
    int body_writes;
    jmp_buf killed;
    size_t fork_at; /* before this one of the operations that change something goes on a child … */
    size_t fork_counted;
    jmp_buf forked;         /* … here */
    int denied[MEMORY_OPS]; /* errno value that every such call gives; 0: it works */
    size_t gone_at;         /* this question of what is mapped finds other files there; 0: none does */
    /* Writes of code that say yes: and have stored nothing, or only the first half. */
    enum { MEMORY_HONEST, MEMORY_STORES_NOTHING, MEMORY_STORES_HALF } lie[RDF_WRITE_METHODS];
    uint64_t resolver_answer;
    uint64_t (*trap_where)(void *ctx, uint64_t addr); /* who catches traps; null: nobody */
    void *trap_ctx;

    struct memory_failure failure;
    size_t counted; /* operations that count for `failure` */
    size_t op_count[MEMORY_OPS];
    bool failed; /* the failure has happened */

    struct memory_failure page_failure; /* only at, lasting */
    size_t page_gets;
    size_t page_live; /* chunks that were not given back */
    struct memory_pages *page_list;
    bool page_failed;

    struct memory_call call[MEMORY_CALLS_MAX];
    size_t call_count;
    enum { MEMORY_RUNS, MEMORY_HELD, MEMORY_STOPPED } world;
    char fault[200]; /* "": the engine kept the rules */
};

/* One function of an image that is made up. */
struct memory_function {
    const char *name; /* null: no symbol */
    const uint8_t *code;
    size_t len_bytes;
    const uint8_t *padding; /* behind it */
    size_t padding_bytes;
    bool no_fde;
    bool is_ifunc;
};

struct memory_os *memory_os_new(void);
void memory_os_free(struct memory_os *os);

/* An ELF image at `base` with these functions side by side, the first at a page's start: .dynsym,
 * .eh_frame_hdr, no file behind it. Page 0 its tables, the last page data. Fills ret_addr[count]. */
void memory_os_add_image(struct memory_os *os, uint16_t machine, uint64_t base, const char *path,
                         const struct memory_function *function, size_t count, uint64_t *ret_addr);

/* Plain memory. */
struct memory_region *memory_os_add_region(struct memory_os *os, uint64_t start, uint64_t len_bytes,
                                           uint8_t prot, const char *path);

/* What starts there is unmapped, as dlclose does. */
void memory_os_remove_region(struct memory_os *os, uint64_t start);

/* A thread at `pc` with a stack of its own; returns its index. */
size_t memory_os_add_thread(struct memory_os *os, uint64_t pc);
/* The word `index` words above the thread's stack pointer. */
void memory_os_set_stack(struct memory_os *os, size_t thread, size_t index, uint64_t value);

/* Give the pages that hold [addr, addr+len) another protection, as the program would. */
void memory_os_own_protect(struct memory_os *os, uint64_t addr, uint64_t len_bytes, uint8_t prot);

/* The byte at `addr`, for whoever plays the program; null when nothing is mapped there. */
uint8_t *memory_os_at(const struct memory_os *os, uint64_t addr);
uint64_t memory_os_word(const struct memory_os *os, uint64_t addr);

/* From now on threads cannot be stopped, but asked where they are; each answers at once, until `between` lets
 * it answer otherwise. */
void memory_os_deny_stops(struct memory_os *os);

/* Forget what was counted, noted and found. */
void memory_os_reset(struct memory_os *os);

/* What was called, as TAP comments. */
void memory_os_print(const struct memory_os *os);

/* Everything as it is now: bytes, protections, mappings, threads' places. */
struct memory_snapshot;
struct memory_snapshot *memory_os_take(const struct memory_os *os);
void memory_snapshot_free(struct memory_snapshot *snapshot);
/* Bytes of [start, end) do not matter: memory of trampolines that nothing uses yet. */
void memory_snapshot_ignore(struct memory_snapshot *snapshot, uint64_t start, uint64_t end);
/* The first difference, as a sentence in static memory; null: none. */
const char *memory_os_difference(const struct memory_os *os, const struct memory_snapshot *snapshot);

#endif
