/* SPDX-License-Identifier: MIT
 *
 * What the engine asks of an operating system: mechanism only, no policy. Policy (which method first,
 * what to undo, when to give up) is the core's.
 *
 * An address space is a small table of functions. rdf_os_local_space() fills it for this process;
 * tests fill it with memory of their own and let the Nth call fail; a traced process is another.
 * Functions that return int return 0 or a negative errno value, and change nothing when they fail.
 *
 * Each system is a room, src/os/<system>/, with the same furniture:
 *   pages.c   rdf_os_pages            memory for the engine's own records
 *   maps.c    the `maps` of the space what is mapped, with which protection
 *   memory.c  read, map, unmap, protect, write
 *   stop.c    with_world_stopped
 *   trap.c    catch_traps
 *   task.c    describe_thread; what the system says of one thread
 *   ask.c     check_traps, ask_threads
 *   thread.c  rdf_os_thread_word; threads by their numbers
 *   space.c   rdf_os_local_space; the small rest (threads counted, lock, files, resolvers called)
 */
#ifndef RDF_OS_OS_H
#define RDF_OS_OS_H

#include "base/arena.h"
#include "base/error.h"
#include "base/span.h"

enum rdf_prot { RDF_PROT_READ = 1, RDF_PROT_WRITE = 2, RDF_PROT_EXEC = 4 };

/* One mapping, [start, end). */
struct rdf_map {
    uint64_t start;
    uint64_t end;
    uint64_t file_off; /* offset of `start` in the file */
    uint64_t dev;      /* device and inode of the file; both 0 for none */
    uint64_t ino;
    uint8_t prot;     /* enum rdf_prot bits */
    bool shared;      /* MAP_SHARED: a write would reach others */
    const char *path; /* "" for none; "[vdso]", "[stack]", "[heap]" as the system calls them */
};

struct rdf_maps {
    const struct rdf_map *map; /* ascending, not overlapping */
    size_t count;
};

/* The mapping that holds `addr`, or null. */
const struct rdf_map *rdf_maps_find(const struct rdf_maps *maps, uint64_t addr);

/* Whether two mappings, seen at different times, show the same file at the same place, or none: whatever
 * their bounds and protections are. */
bool rdf_map_is_same_object(const struct rdf_map *a, const struct rdf_map *b);

/* Whether every byte of [addr, addr+len) is mapped with at least `prot`. */
bool rdf_maps_allow(const struct rdf_maps *maps, uint64_t addr, uint64_t len_bytes, uint8_t prot);

/* The ways to change a byte of code, in the order in which the core prefers them. */
enum rdf_write_method {
    RDF_WRITE_TRACER_MEM,  /* /proc/PID/mem by an attached tracer: needs a stopped world */
    RDF_WRITE_TRACER_POKE, /* PTRACE_POKETEXT: needs a stopped world */
    RDF_WRITE_SELF_MEM,    /* /proc/self/mem */
    RDF_WRITE_PROTECT,     /* add write permission, store, put the recorded protection back */
    RDF_WRITE_METHODS,
};

const char *rdf_write_method_name(enum rdf_write_method method);

/* So many bytes are stored whole or not at all. */
enum { RDF_WRITE_KEPT_BYTES = 64 };

/* For sentences: what with_world_stopped stops threads by. */
const char *rdf_stop_name(void);

/* A thread that is stopped.
 *
 * `pc` is the instruction that it executes next. `restart_bytes` is not 0 when that is a system call
 * which was interrupted and which the kernel is going to start again: then the thread may instead
 * continue at pc + restart_bytes (with EINTR, after a signal handler). So it stands inside a window
 * when start < pc < end, and also when pc == start with restart_bytes set; its new place must hold the
 * same system call instruction. */
struct rdf_thread {
    int tid;
    uint32_t restart_bytes;
    uint64_t pc;
    uint64_t sp;
};

/* The world while it is stopped; lives only inside the body of with_world_stopped. */
struct rdf_world {
    const struct rdf_thread *thread; /* every thread but the one that asked */
    size_t thread_count;
    int blocking_tid; /* body says here because of which thread it returns -EAGAIN */
    /* Let `thread[index]` continue at `pc` (in the sense of rdf_thread.pc). */
    int (*set_pc)(struct rdf_world *world, size_t index, uint64_t pc);
    void *os; /* the room's own */
};

/* Runs while every other thread is stopped, perhaps as another task: may call only the space's
 * read, view, maps_at, write and protect, world->set_pc and pure code. No libc, no allocation, no locks, no
 * thread-local storage.
 * Returns 0, or a positive number of its own, or -EAGAIN: resume the threads, wait a little, stop
 * them again and call once more, until the deadline (which a machine busy with others may put off). */
typedef int rdf_stopped_body(struct rdf_world *world, void *ctx);

struct rdf_stop_report {
    int blocking_tid;    /* the thread that could not be stopped, or made body say -EAGAIN; 0: none */
    int err;             /* the negative errno value of the step that failed, 0 if none did */
    const char *step;    /* the step: "clone", "ptrace seize", …; static text */
    uint64_t stopped_ns; /* how long the world stood still, the last time */
    size_t thread_count; /* the threads that were stopped, without the one that asked */
    bool body_began;     /* with an error: the helper was killed inside body, whose work is half done */
};

/* Shown a thread that is not stopped, by ask_threads: true when it is out of the way. With `can_move` it is
 * called by that thread itself, in a signal handler, and may change thread->pc; else the thread waits in the
 * system, and stays there meanwhile or is shown again. Several threads may be in it at once: as a stopped
 * body it calls only what reads, and pure code. */
typedef bool rdf_look(struct rdf_thread *thread, bool can_move, void *ctx);

struct rdf_space {
    const struct rdf_space_ops *ops;
    void *os; /* the room's own */
};

struct rdf_space_ops {
    /* A snapshot of what is mapped, allocated from `arena`. */
    int (*maps)(struct rdf_space *space, struct rdf_arena *arena, struct rdf_maps *ret);

    /* The mappings that hold `count` addresses, as they are now, without their paths; end 0 where nothing is
     * mapped. Much cheaper than `maps`. Null, or -errno: cannot tell. */
    int (*maps_at)(struct rdf_space *space, const uint64_t *addr, size_t count, struct rdf_map *ret);

    /* Copy out. -EFAULT where a byte is not mapped or not readable (bytes before it may then have been
     * copied); never a signal. */
    int (*read)(struct rdf_space *space, uint64_t addr, void *ret_bytes, size_t len_bytes);

    /* A pointer through which [addr, addr+len) can be read in place, null where this space has none
     * (then use read). The caller has checked against a fresh `maps` that it is readable. */
    const void *(*view)(struct rdf_space *space, uint64_t addr, size_t len_bytes);

    /* New private zeroed pages exactly at `addr`; -EEXIST when something is there already. */
    int (*map)(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot);
    int (*unmap)(struct rdf_space *space, uint64_t addr, size_t len_bytes);
    int (*protect)(struct rdf_space *space, uint64_t addr, size_t len_bytes, uint8_t prot);

    /* Store into code by one method: RDF_WRITE_TRACER_* need `world` (else -EINVAL). RDF_WRITE_PROTECT
     * stores with the CPU's own stores; the caller has called protect. Afterwards other cores and
     * emulators execute the new bytes (caches cleaned where the CPU asks for it, translations of
     * valgrind discarded). PROTECT changes each aligned 8 bytes by one store; the other ways promise no
     * atomicity. A failure half way is taken back up to RDF_WRITE_KEPT_BYTES; of what is longer a part may
     * have been stored. Raw system calls only: may be called with the world stopped. */
    int (*write)(struct rdf_space *space, struct rdf_world *world, enum rdf_write_method method,
                 uint64_t addr, const void *bytes, size_t len_bytes);

    /* Let pages of code that will be written soon be this process' own: a page of a file is copied by the
     * first write to it, and that need not be while the world stands still. Changes no byte, and may do
     * nothing. A null function: pages are as good to write as they will be. */
    void (*own_pages)(struct rdf_space *space, uint64_t addr, size_t len_bytes);

    /* Whether other threads exist that could run code of this space now. */
    bool (*has_other_threads)(struct rdf_space *space);

    /* Stop every other thread, call `body`, let them go. 0 and *ret_body = what body returned, or a
     * negative errno with *ret_report saying which step and which thread: then body has not run, or has
     * said -EAGAIN until the deadline (-ETIMEDOUT), or report->body_began is set. Nothing is left stopped
     * or traced whatever happens. An interrupted system call goes on, but for those that stopping and
     * continuing a process interrupts with EINTR (signal(7), "Interruption of system calls … by stop
     * signals": epoll_wait, sigtimedwait, semop, inotify reads, sockets with a timeout, …). */
    int (*with_world_stopped)(struct rdf_space *space, uint64_t deadline_ms, rdf_stopped_body *body,
                              void *ctx, int *ret_body, struct rdf_stop_report *ret_report);

    /* For a process of one thread: call `body` in this task, with an empty world and every signal held
     * back, so that no handler runs code that is half written. */
    int (*with_signals_held)(struct rdf_space *space, rdf_stopped_body *body, void *ctx, int *ret_body);

    /* From now on a trap (arch->trap) at an address for which `where` returns another one continues there;
     * other traps reach whoever caught them before. `where` is called in a signal handler; with a null one
     * the former handler is there again. A null function: this space cannot. */
    int (*catch_traps)(struct rdf_space *space, uint64_t (*where)(void *ctx, uint64_t addr), void *ctx);

    /* For code that is changed under running threads. Each may be null: this space cannot.
     *
     * sync_cores: 0 when every core that runs a thread of this process has executed a serializing instruction
     * since the call, and writes do the same by themselves; a negative errno where that cannot be had.
     * check_traps: 0 when no thread, no handler of a signal and no child in the making holds traps back.
     * ask_threads: show each thread but the caller to `look` until it has said true of each once; those that
     * are made meanwhile too. Needs a signal that the program does not use, for the time of the call.
     * The latter two wait until the deadline: -ETIMEDOUT, or what went wrong, with the report saying which
     * step and which thread. */
    int (*sync_cores)(struct rdf_space *space);
    int (*check_traps)(struct rdf_space *space, uint64_t deadline_ms, struct rdf_stop_report *ret_report);
    int (*ask_threads)(struct rdf_space *space, uint64_t deadline_ms, rdf_look *look, void *ctx,
                       struct rdf_stop_report *ret_report);

    /* What a thread is doing, for people: its state, its system call, whether it holds signals back. "" when
     * nothing is known. A null function: never. */
    void (*describe_thread)(struct rdf_space *space, int tid, char *ret_text, size_t room);

    /* Where the mapping ends that holds `addr`, of which no snapshot tells; `addr` when none does. Takes no
     * lock, for threads may be stopped. A null function: what lies right above a stack cannot be read. */
    uint64_t (*end_of_map)(struct rdf_space *space, uint64_t addr);

    /* Call the IFUNC resolver at `resolver_addr` as the dynamic loader does and return what it chose;
     * 0 where code of this space cannot be called. */
    uint64_t (*call_resolver)(struct rdf_space *space, uint64_t resolver_addr);

    /* The whole file, read only; give it back with close_file. -errno when it cannot be read or when
     * it is not the file that is mapped (-ESTALE). `ino` 0: whatever file is there; `dev` is a hint, as
     * some file systems report two numbers. Shortening the file while it is open here is a SIGBUS. */
    int (*open_file)(struct rdf_space *space, const char *path, uint64_t dev, uint64_t ino,
                     struct rdf_span *ret);
    void (*close_file)(struct rdf_space *space, struct rdf_span file);

    /* Undo a compression that is not read here (`method`: an ELF section's ch_type), to exactly `len_bytes`.
     * -ENOTSUP: nor is it there; -EBADMSG: it is damaged. A null function: none is there. */
    int (*unpack)(struct rdf_space *space, uint32_t method, struct rdf_span packed, void *ret_bytes,
                  size_t len_bytes);
};

/* This process. */
void rdf_os_local_space(struct rdf_space *ret);

/* Pages of this process for arenas. Where no end_of_map tells how far a stack goes, below each piece lies a
 * page that cannot be read: the records of a commit hold addresses of the code that it changes, and a stack
 * right below must not seem to go on there. */
extern const struct rdf_page_source rdf_os_pages;

size_t rdf_os_page_bytes(void);

/* New mappings start at multiples of this: a page, or more. */
size_t rdf_os_map_align_bytes(void);

/* Behind the highest address that a process is given without asking for more. */
uint64_t rdf_os_address_end(void);

/* Code of the system that this room calls, of the object that all of it is in; 0: it calls none. Pages of
 * that object stay executable while they are written, as those of the engine do. */
uint64_t rdf_os_called_code(void);

/* Whether a function of it begins at `entry` that is called while code is changed. */
bool rdf_os_calls(uint64_t entry);

/* A word of each thread, null at first, at one distance from the thread pointer in all of them; INT64_MIN
 * where a system has none that is. */
void **rdf_os_thread_word(void);
int64_t rdf_os_thread_word_off(void);
bool rdf_os_thread_word_is_from_other(void); /* from the other thread pointer, where the CPU has two */

/* The running thread and its process; whether a thread of that number exists in this process. */
uint32_t rdf_os_thread_id(void);
uint32_t rdf_os_process_id(void);
bool rdf_os_thread_exists(uint32_t thread_id);

/* A lock that uses no library: the program may have redefined its own. Taking it twice from one thread
 * is an error that is reported (false), not a deadlock: a replacement that runs inside the engine
 * must not re-enter it. In a child of fork, a lock that another thread of the parent held is free; so
 * is one whose owner has ended. */
struct rdf_os_lock {
    uint32_t state; /* 0: free */
};
bool rdf_os_lock(struct rdf_os_lock *lock);
void rdf_os_unlock(struct rdf_os_lock *lock);

#endif
