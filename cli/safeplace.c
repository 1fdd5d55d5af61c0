/* SPDX-License-Identifier: MIT */
#include "safeplace.h"

#include "process.h"
#include "text.h"

#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <libelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Functions that hold what pthread_create takes, or are in the middle of changing it. In libc the inner ones
 * have no symbols, but what calls them has. */
static const char *const unsafe_names[] = {
    "malloc",         "free",         "calloc",
    "realloc",        "reallocarray", "memalign",
    "valloc",         "pvalloc",      "malloc_trim",
    "malloc_stats",   "malloc_info",  "aligned_alloc",
    "mallinfo",       "mallinfo2",    "mallopt",
    "posix_memalign", "fork",         "_Fork",
    "pthread_create", "pthread_exit", "__lll_lock_wait_private",
    "setuid",         "setgid",       "seteuid",
    "setegid",        "setreuid",     "setregid",
    "setresuid",      "setresgid",    "setgroups",
};
/* What an allocator waits in, or has libc do for it. */
static const char *const waiting_names[] = {"pthread_mutex_lock", "pthread_mutex_timedlock",
                                            "pthread_spin_lock", "sched_yield", "syscall"};
enum {
    UNSAFE_NAMES = sizeof unsafe_names / sizeof unsafe_names[0],
    WAITING_NAMES = sizeof waiting_names / sizeof waiting_names[0],
    FRAMES_MAX = 512,
};

struct cli_places {
    struct cli_target *target;
    pid_t pid;
    Dwfl *dwfl;
    struct rdf_image *libc, *loader;
    struct rdf_image *allocator; /* that has a malloc of its own and is not the program */
    bool is_in_program;          /* the program has it */
    uint64_t unsafe[2 * UNSAFE_NAMES + WAITING_NAMES];
    size_t unsafe_count;
};

/* ---- What is where ---- */

static bool is_called(const struct rdf_image *image, const char *start)
{
    return strncmp(cli_short_name(rdf_image_name(image)), start, strlen(start)) == 0;
}

static void add_unsafe(struct cli_places *places, const char *object, const char *name)
{
    struct rdf_error ignored = {0};
    char full[96];
    uint64_t addr;
    (void)snprintf(full, sizeof full, "%s%s", object, name);
    if (rdf_images_find(&places->target->images, full, &addr, &ignored) != REDEFINE_OK)
        return;
    places->unsafe[places->unsafe_count++] = addr;
    struct rdf_image *image = rdf_images_at(&places->target->images, addr);
    if (strcmp(full, "malloc") != 0 || image == places->libc)
        return;
    places->is_in_program = image == places->target->images.image[0];
    if (!places->is_in_program)
        places->allocator = image;
}

static void find_objects(struct cli_places *places)
{
    const struct rdf_images *images = &places->target->images;
    for (size_t i = 0; i < images->count; i++) {
        if (is_called(images->image[i], "libc.so.6"))
            places->libc = images->image[i];
        if (is_called(images->image[i], "ld-") || is_called(images->image[i], "ld.so"))
            places->loader = images->image[i];
    }
    for (size_t i = 0; i < UNSAFE_NAMES; i++) {
        add_unsafe(places, "libc.so.6!", unsafe_names[i]);
        add_unsafe(places, "", unsafe_names[i]);
    }
    for (size_t i = 0; places->is_in_program && i < WAITING_NAMES; i++)
        add_unsafe(places, "libc.so.6!", waiting_names[i]);
}

struct mapped {
    pid_t pid;
    uint64_t base;
    int fd;
};

static bool visit_mapped(void *ctx, const struct cli_process_map *map)
{
    struct mapped *mapped = ctx;
    char path[CLI_PROCESS_PATH_BYTES];
    if (mapped->base < map->start || mapped->base >= map->end)
        return true;
    if (map->path[0] == '/' && cli_process_mapped_file(mapped->pid, map, path))
        mapped->fd = open(path, O_RDONLY | O_CLOEXEC);
    return false;
}

/* One that was deleted meanwhile. */
static int open_mapped(pid_t pid, uint64_t base)
{
    struct mapped mapped = {pid, base, -1};
    (void)cli_process_each_map(pid, visit_mapped, &mapped);
    return mapped.fd;
}

/* As the process sees its files. */
static int find_elf(Dwfl_Module *module, void **user_data, const char *name, Dwarf_Addr base, char **ret_path,
                    Elf **ret_elf)
{
    pid_t *pid = user_data && *user_data ? *user_data : NULL;
    char there[4200];
    if (pid && name[0] == '/') {
        (void)snprintf(there, sizeof there, "/proc/%d/root%s", (int)*pid, name);
        int fd = open(there, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            fd = open_mapped(*pid, base);
        if (fd >= 0)
            return fd;
    }
    return dwfl_linux_proc_find_elf(module, user_data, name, base, ret_path, ret_elf);
}

/* Frames are followed by what the program has mapped. Separate debug data adds nothing, and may have to be
 * fetched over the network (DEBUGINFOD_URLS), while a thread stands still. */
static int find_no_debuginfo(Dwfl_Module *module, void **user_data, const char *name, Dwarf_Addr base,
                             const char *file, const char *link, GElf_Word crc, char **ret_path)
{
    (void)module, (void)user_data, (void)name, (void)base, (void)file, (void)link, (void)crc, (void)ret_path;
    return -1;
}

static const Dwfl_Callbacks callbacks = {.find_elf = find_elf, .find_debuginfo = find_no_debuginfo};

static int tell_pid(Dwfl_Module *module, void **user_data, const char *name, Dwarf_Addr start, void *ctx)
{
    (void)module;
    (void)name;
    (void)start;
    *user_data = ctx;
    return DWARF_CB_OK;
}

struct cli_places *cli_places_new(struct cli_target *target, pid_t pid)
{
    struct cli_places *places = calloc(1, sizeof *places);
    if (!places)
        return NULL;
    places->target = target;
    places->pid = pid;
    find_objects(places);
    places->dwfl = dwfl_begin(&callbacks);
    if (places->dwfl &&
        (dwfl_linux_proc_report(places->dwfl, pid) != 0 || dwfl_report_end(places->dwfl, NULL, NULL) != 0 ||
         dwfl_getmodules(places->dwfl, tell_pid, &places->pid, 0) < 0 ||
         dwfl_linux_proc_attach(places->dwfl, pid, true) != 0)) {
        dwfl_end(places->dwfl);
        places->dwfl = NULL; /* then only what needs no frames is safe */
    }
    return places;
}

void cli_places_free(struct cli_places *places)
{
    if (places && places->dwfl)
        dwfl_end(places->dwfl);
    free(places);
}

/* ---- One thread ---- */

struct stack {
    pid_t pid;
    bool is_main;
    uint64_t sp, thread_pointer, start, end;
    uint64_t below; /* where the mapping below ends */
};

/* The main thread's stack is mapped only as far as it has been used; the kernel adds to it down to its limit,
 * or a megabyte above what lies below (stack_guard_gap), also for who writes from outside. */
static uint64_t may_grow_to(const struct stack *stack)
{
    enum { GAP_BYTES = 1 << 20 };
    struct rlimit limit;
    uint64_t start = stack->below + GAP_BYTES;
    if (prlimit(stack->pid, RLIMIT_STACK, NULL, &limit) < 0)
        return stack->start;
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < stack->end && stack->end - limit.rlim_cur > start)
        start = stack->end - limit.rlim_cur;
    return start < stack->start ? start : stack->start;
}

/* The thread's own: the main thread's, or the mapping at whose end pthread keeps the thread. Below it is
 * nobody else's memory; of a coroutine's stack that is not known, and what the main thread's pointer leads to
 * may lie in one mapping with it. */
static bool visit_stack(void *ctx, const struct cli_process_map *map)
{
    struct stack *stack = ctx;
    if (stack->sp >= map->end) {
        stack->below = map->end;
        return true;
    }
    if (stack->sp < map->start)
        return false;
    bool has_thread = !stack->is_main && stack->thread_pointer > stack->sp &&
                      stack->thread_pointer < map->end;
    if (has_thread || strcmp(map->path, "[stack]") == 0) {
        stack->start = map->start;
        stack->end = has_thread ? stack->thread_pointer : map->end;
    }
    if (strcmp(map->path, "[stack]") == 0)
        stack->start = may_grow_to(stack);
    return false;
}

static const char *judge_syscall(long nr)
{
    switch (nr) {
    case SYS_brk:
    case SYS_mmap:
    case SYS_munmap:
    case SYS_mremap:
    case SYS_mprotect:
    case SYS_madvise: return "changes its memory";
    case SYS_clone:
    case SYS_clone3:
#ifdef SYS_fork
    case SYS_fork:
    case SYS_vfork:
#endif
    case SYS_execve:
    case SYS_execveat: return "starts a process or a thread";
    case SYS_exit:
    case SYS_exit_group: return "is ending";
    case SYS_rt_sigreturn: return "returns from a signal handler";
    default: return NULL;
    }
}

struct walk {
    const struct cli_places *places;
    const char *why;
    size_t frames;
};

static const char *judge_pc(const struct cli_places *places, uint64_t pc)
{
    struct rdf_images *images = &places->target->images;
    const struct rdf_image *image = rdf_images_at(images, pc);
    if (image && image == places->loader)
        return "is in the dynamic loader";
    if (image && image == places->allocator)
        return "allocates memory";
    uint64_t start = image ? rdf_images_start_of(images, pc) : 0;
    for (size_t i = 0; start && i < places->unsafe_count; i++)
        if (places->unsafe[i] == start)
            return "allocates memory, or starts or ends a thread";
    return NULL;
}

static int visit_frame(Dwfl_Frame *frame, void *ctx)
{
    struct walk *walk = ctx;
    Dwarf_Addr pc;
    bool is_exact;
    if (!dwfl_frame_pc(frame, &pc, &is_exact) || ++walk->frames > FRAMES_MAX)
        return DWARF_CB_ABORT;
    walk->why = judge_pc(walk->places, is_exact ? pc : pc - 1);
    return walk->why ? DWARF_CB_ABORT : DWARF_CB_OK;
}

static bool is_sigreturn(const struct cli_places *places, uint64_t addr)
{
    const uint8_t *sigreturn;
    uint8_t code[32];
    size_t len = rdf_borrow_sigreturn(&sigreturn);
    return places->libc && addr >= rdf_image_start(places->libc) && addr < rdf_image_end(places->libc) &&
           cli_process_read(places->pid, addr, code, len) && memcmp(code, sigreturn, len) == 0;
}

/* Where the frames cannot be followed to the end: whether a handler may be running, beneath which there may
 * be anything. Its return leads to a piece of code of libc's, whose address is then on the stack, below as
 * much as the handler uses: all of it is looked through. What is left over from a handler that has ended
 * looks the same. */
static bool may_be_in_handler(const struct cli_places *places, const struct stack *stack)
{
    enum { WORDS = 8192 };
    static uint64_t word[WORDS];
    for (uint64_t at = stack->sp, len; stack->end - at >= sizeof *word; at += len) {
        len = stack->end - at < sizeof word ? (stack->end - at) / sizeof *word * sizeof *word : sizeof word;
        if (!cli_process_read(places->pid, at, word, len))
            return true;
        for (size_t i = 0; i < len / sizeof *word; i++)
            if (is_sigreturn(places, word[i]))
                return true;
    }
    return false;
}

bool cli_places_are_safe(struct cli_places *places, pid_t tid, const struct rdf_borrow_place *place,
                         uint64_t *ret_stack_start, const char **ret_why)
{
    enum { ROOM_BYTES = 8 * 1024 };
    struct stack stack = {.pid = places->pid,
                          .is_main = tid == places->pid,
                          .sp = place->sp,
                          .thread_pointer = place->thread_pointer};
    struct walk walk = {.places = places};
    (void)cli_process_each_map(places->pid, visit_stack, &stack);
    const char *why = place->syscall >= 0 ? judge_syscall(place->syscall) : NULL;
    const struct rdf_image *image = rdf_images_at(&places->target->images, place->pc);
    if (!stack.start)
        why = "is on a stack that is not its own";
    else if (stack.sp - stack.start < ROOM_BYTES)
        why = "has little of its stack left";
    else if (place->is_restartable)
        why = "is in a sequence that may not be interrupted";
    else if (!why && place->syscall < 0 && image && image == places->libc)
        why = "is in the C library";
    else if (!why && place->syscall < 0 && places->is_in_program)
        why = "runs in a program that allocates memory in its own way, where it may be doing that";
    if (!why) {
        int got = places->dwfl ? dwfl_getthread_frames(places->dwfl, tid, visit_frame, &walk) : -1;
        why = walk.why;
        if (!why && got != 0 && may_be_in_handler(places, &stack))
            why = "may be in a signal handler";
    }
    *ret_why = why;
    *ret_stack_start = stack.start;
    return why == NULL;
}
