/* SPDX-License-Identifier: MIT
 *
 * Entries made to be hard (hostile.S): each is accepted, and its original does everything that it did before,
 * or it is refused with the reason, and nothing has changed. Nothing else.
 */
#include "live.h"

#if defined(__x86_64__)

#include <setjmp.h>
#include <sys/time.h>

/* As hostile_probe has them. */
struct regs {
    uint64_t rax, rcx, rdx, rsi, rdi, r8, flags, stack;
    uint64_t xmm0[2];
};

void hostile_probe(void *function, struct regs *regs);
extern volatile uint32_t hostile_word;
extern const uint8_t hostile_end[];
extern const uint64_t hostile_ranges[][2]; /* what belongs to functions and to data; the last is 0 */

enum { MEMORY_BYTES = 64, FLAGS = 0xcd5, CALLED_WITH = 0x203 }; /* CF PF AF ZF SF DF OF; CF, and IF */

/* What a call did. */
struct outcome {
    struct regs regs;
    int signal;
    uint32_t word;
    uint8_t memory[MEMORY_BYTES];
};

static uint8_t memory[MEMORY_BYTES] __attribute__((aligned(16)));
static sigjmp_buf caught;
static volatile int caught_signal;

static void catch_it(int number)
{
    caught_signal = number;
    siglongjmp(caught, 1);
}

enum needs { ANY, AVX, AVX512 };

struct hostile {
    const char *name;
    void (*function)(void);
    const char *expected; /* how redefine_describe begins; or "no: " and what the refusal says */
    uint64_t rax, rcx;
    void (*pointer)(void); /* goes to rax, or into the memory at 8 */
    bool others;           /* its original goes on in one of the others */
    bool tells_place;      /* rcx is where it was executed: `syscall` */
    enum needs needs;
};

static void fill(const struct hostile *hostile)
{
    for (int i = 0; i < MEMORY_BYTES; i++)
        memory[i] = (uint8_t)(17 * i);
    memcpy(memory + 8, &hostile->pointer, sizeof hostile->pointer);
    hostile_word = 0x44;
}

static struct outcome run(const struct hostile *hostile, void *function, uint64_t rdi)
{
    struct outcome outcome = {.signal = 0};
    fill(hostile);
    outcome.regs = (struct regs){.rax = hostile->rax,
                                 .rcx = hostile->rcx,
                                 .rdx = 3,
                                 .rsi = (uint64_t)(uintptr_t)memory,
                                 .rdi = rdi,
                                 .r8 = 8,
                                 .flags = CALLED_WITH};
    if (hostile->pointer)
        memcpy(&outcome.regs.rax, &hostile->pointer, sizeof hostile->pointer);
    if (sigsetjmp(caught, 1) == 0) {
        hostile_probe(function, &outcome.regs);
        outcome.regs.flags &= FLAGS;
        if (hostile->tells_place)
            outcome.regs.rcx = 0;
    } else {
        outcome = (struct outcome){.signal = caught_signal};
    }
    outcome.word = hostile_word;
    memcpy(outcome.memory, memory, sizeof memory);
    return outcome;
}

static long replacement(void)
{
    return 1000;
}

/* ---- what there is ---- */

void wall_before(void);
void into_an_instruction(void);
void into_itself(void);
void over_a_lock(void);
void cut_off(void);
void behind_cut_off(void);
void own_bytes(void);
void own_address(void);
void onto_itself(void);
void onto_itself_32(void);
void to_the_next(void);
void falls_through(void);
void fallen_into(void);
void tail_register(void);
void tail_memory(void);
void tail_slot(void);
void tail_condition(void);
void push_and_ret(void);
void push_label_and_ret(void);
void pops_bytes(void);
void pops_bytes_later(void);
void ret_with_prefix(void);
void call_zero(void);
void pc_thunk(void);
void calls_thunk(void);
void retpoline(void);
void calls_register(void);
void calls_memory(void);
void calls_last(void);
void returns_twice(void);
void fifteen_bytes(void);
void thread_word(void);
void thread_far(void);
void eip_relative(void);
void moffs_64(void);
void moffs_32(void);
void rep_string(void);
void entered(void);
void entered_deep(void);
void red_zone(void);
void flags_first(void);
void flags_across(void);
void stack_pointer(void);
void imm_store(void);
void imm_compare(void);
void imm_shuffle(void);
void vex_memory(void);
void evex_memory(void);
void transaction(void);
void system_call(void);
void system_call_32(void);
void undefined(void);
void undefined_1(void);
void halts(void);
void traps(void);
void steps(void);
void far_return(void);
void interrupt_return(void);
void table_behind(void);
void before_constant(void);
void reads_constant(void);
void entered_from_elsewhere(void);
void enters(void);
void wall_behind(void);
void on_two_pages(void);

#define ENTRY_JUMP "entry jump"
#ifdef CROWDED /* no room anywhere */
#define SHORT_JUMP "trap"
#else
#define SHORT_JUMP "short jump into padding"
#endif
#define TRAP         "trap"
#define REFUSED(why) "no: " why
#define ENTRY(name_, expected_, ...)                                          \
    {                                                                         \
        .name = #name_, .function = name_, .expected = expected_, __VA_ARGS__ \
    }

static const struct hostile entries[] = {
    ENTRY(into_an_instruction, SHORT_JUMP, ),
    ENTRY(into_itself, REFUSED("into the middle of another instruction of the window"), ),
    ENTRY(over_a_lock, ENTRY_JUMP, ),
    ENTRY(cut_off, REFUSED("are no instruction that the decoder knows, or only part of one"), ),
    ENTRY(behind_cut_off, SHORT_JUMP, ),
    ENTRY(own_bytes, REFUSED("it uses the bytes at"), ),
    ENTRY(own_address, ENTRY_JUMP, ),
    ENTRY(onto_itself, SHORT_JUMP, .rcx = 4),
    ENTRY(onto_itself_32, SHORT_JUMP, .rcx = 4),
    ENTRY(to_the_next, SHORT_JUMP, .others = true),
    ENTRY(falls_through, SHORT_JUMP, .others = true),
    ENTRY(fallen_into, SHORT_JUMP, ),
    ENTRY(tail_register, SHORT_JUMP, .pointer = fallen_into, .others = true),
    ENTRY(tail_memory, SHORT_JUMP, .rax = 7, .pointer = fallen_into, .others = true),
    ENTRY(tail_slot, ENTRY_JUMP, .others = true),
    ENTRY(tail_condition, SHORT_JUMP, .others = true),
    ENTRY(push_and_ret, ENTRY_JUMP, ),
    ENTRY(push_label_and_ret, ENTRY_JUMP, ),
    ENTRY(pops_bytes, SHORT_JUMP, ),
    ENTRY(pops_bytes_later, ENTRY_JUMP, ),
    ENTRY(ret_with_prefix, SHORT_JUMP, ),
    ENTRY(call_zero, ENTRY_JUMP, ),
    ENTRY(pc_thunk, ENTRY_JUMP, ),
    ENTRY(calls_thunk, ENTRY_JUMP, .others = true),
    ENTRY(retpoline, ENTRY_JUMP, .pointer = fallen_into, .others = true),
    ENTRY(calls_register, SHORT_JUMP, .pointer = fallen_into, .others = true),
    ENTRY(calls_memory, ENTRY_JUMP, .others = true),
    ENTRY(calls_last, ENTRY_JUMP, .others = true),
    ENTRY(returns_twice, ENTRY_JUMP, ),
    ENTRY(fifteen_bytes, ENTRY_JUMP, ),
    ENTRY(thread_word, ENTRY_JUMP, ),
    ENTRY(thread_far, ENTRY_JUMP, ),
    ENTRY(eip_relative, REFUSED("cut to 32 bits (prefix 67)"), ),
    ENTRY(moffs_64, ENTRY_JUMP, ),
    ENTRY(moffs_32, ENTRY_JUMP, ),
    ENTRY(rep_string, ENTRY_JUMP, .rcx = 5),
    ENTRY(entered, ENTRY_JUMP, ),
    ENTRY(entered_deep, ENTRY_JUMP, ),
    ENTRY(red_zone, ENTRY_JUMP, ),
    ENTRY(flags_first, ENTRY_JUMP, ),
    ENTRY(flags_across, ENTRY_JUMP, ),
    ENTRY(stack_pointer, ENTRY_JUMP, ),
    ENTRY(imm_store, ENTRY_JUMP, ),
    ENTRY(imm_compare, ENTRY_JUMP, ),
    ENTRY(imm_shuffle, ENTRY_JUMP, ),
    ENTRY(vex_memory, ENTRY_JUMP, .needs = AVX),
    ENTRY(evex_memory, ENTRY_JUMP, .needs = AVX512),
    ENTRY(transaction, ENTRY_JUMP, ),
    ENTRY(system_call, SHORT_JUMP, .rax = SYS_getppid, .tells_place = true),
    ENTRY(system_call_32, SHORT_JUMP, .rax = 64),
    ENTRY(undefined, SHORT_JUMP, ),
    ENTRY(undefined_1, SHORT_JUMP, ),
    ENTRY(halts, TRAP, ),
    ENTRY(traps, SHORT_JUMP, ),
    ENTRY(steps, ENTRY_JUMP, ),
    ENTRY(far_return, REFUSED("a far transfer changes the code segment"), ),
    ENTRY(interrupt_return, REFUSED("it returns from an interrupt"), ),
    ENTRY(table_behind, ENTRY_JUMP, ),
    ENTRY(before_constant, TRAP, ),
    ENTRY(reads_constant, ENTRY_JUMP, ),
    ENTRY(entered_from_elsewhere, SHORT_JUMP, ),
    ENTRY(enters, SHORT_JUMP, .others = true),
    ENTRY(on_two_pages, ENTRY_JUMP, ),
};

/* ---- trying one ---- */

static const struct hostile *current;
static const uint64_t arguments[] = {0, 1, 5};

static void prepare(void)
{
    static const int signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGTRAP, SIGALRM};
    struct sigaction action = {.sa_handler = catch_it};
    for (size_t i = 0; i < LIVE_COUNT(signals); i++)
        CHECK(sigaction(signals[i], &action, NULL) == 0);
    /* What moffs operands and `push imm32; ret` know by their address. */
    static const uint8_t code[] = {0x89, 0xf8, 0xc3}; /* mov eax, edi; ret */
    uint8_t *low = mmap(ADDRESS(0x23450000), 4096, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    uint8_t *high = mmap(ADDRESS(0x123456780000), 4096, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    CHECK(low == ADDRESS(0x23450000) && high == ADDRESS(0x123456780000));
    memset(low, 0x31, 16);
    memset(high, 0x42, 16);
    memcpy(low + 0x100, code, sizeof code);
    CHECK(mprotect(low, 4096, PROT_READ | PROT_EXEC) == 0);
}

static void same(const struct outcome *is, const struct outcome *was, const char *when, uint64_t argument)
{
    if (is->signal != was->signal)
        live_fail(__FILE__, __LINE__, "%s, with %d: signal %d, not %d", when, (int)argument, is->signal,
                  was->signal);
    const uint64_t *a = (const uint64_t *)&is->regs, *b = (const uint64_t *)&was->regs;
    for (size_t i = 0; i < sizeof is->regs / sizeof *a; i++)
        if (a[i] != b[i])
            live_fail(__FILE__, __LINE__, "%s, with %d: value %zu of struct regs is %#llx, not %#llx", when,
                      (int)argument, i, (unsigned long long)a[i], (unsigned long long)b[i]);
    CHECK_INT(is->word, was->word);
    CHECK(memcmp(is->memory, was->memory, MEMORY_BYTES) == 0);
}

static void as_before(const struct outcome was[], void *function, const char *when)
{
    for (size_t i = 0; i < LIVE_COUNT(arguments); i++) {
        struct outcome is = run(current, function, arguments[i]);
        same(&is, &was[i], when, arguments[i]);
    }
}

/* ---- the code of all of them ---- */

enum { CODE_BYTES_MAX = 1 << 14 };

struct code {
    uint8_t bytes[CODE_BYTES_MAX];
};

static size_t code_bytes(void)
{
    size_t len = (size_t)(hostile_end - (const uint8_t *)wall_before);
    CHECK(len < CODE_BYTES_MAX);
    return len;
}

static void code_take(struct code *ret)
{
    memcpy(ret->bytes, (const void *)wall_before, code_bytes());
}

static bool is_in(uint64_t addr, const uint64_t range[2])
{
    return addr >= range[0] && addr < range[1];
}

/* Nothing but bytes of the function itself, and padding that belongs to nobody. */
static void only_own_bytes(const struct code *before, const struct code *now)
{
    uint64_t function = (uint64_t)(uintptr_t)current->function;
    for (size_t i = 0; i < code_bytes(); i++) {
        uint64_t addr = (uint64_t)(uintptr_t)wall_before + i;
        if (before->bytes[i] == now->bytes[i])
            continue;
        bool is_own = false, is_others = false;
        for (size_t r = 0; hostile_ranges[r][0]; r++)
            *(hostile_ranges[r][0] == function ? &is_own : &is_others) |= is_in(addr, hostile_ranges[r]);
        if (is_others || (!is_own && before->bytes[i] != 0xcc))
            live_fail(__FILE__, __LINE__, "the byte at %s%+ld, %02x, is %02x", current->name,
                      (long)(addr - function), before->bytes[i], now->bytes[i]);
    }
}

/* ---- one case ---- */

static void refused(const struct code *before, const char *reason)
{
    static struct code now;
    CHECK_SAYS(reason);
    const char *caret = strchr(redefine_explain(), '^'); /* the instruction, and a caret under it */
    CHECK(caret && caret[1] == 0 && caret - strrchr(redefine_explain(), '\n') == 5);
    code_take(&now);
    CHECK(memcmp(before, &now, sizeof now) == 0);
    CHECK(redefine_func_original(ADDRESS(current->function)) == ADDRESS(current->function));
}

static void accepted(const struct code *before, const struct outcome was[])
{
    static struct code now;
    void *function = ADDRESS(current->function);
    const char *how = redefine_describe(function);
    if (strncmp(how, current->expected, strlen(current->expected)) != 0)
        live_fail(__FILE__, __LINE__, "%s; not %s", how, current->expected);
    code_take(&now);
    only_own_bytes(before, &now);
    for (size_t i = 0; i < LIVE_COUNT(arguments); i++) {
        struct outcome is = run(current, function, arguments[i]);
        CHECK(is.signal == 0 && is.regs.rax == 1000);
    }
    void *original = redefine_func_original(function);
    as_before(was, original, "the original");
    CHECK_OK(redefine_func_restore(function));
    code_take(&now);
    CHECK(memcmp(before, &now, sizeof now) == 0);
    as_before(was, function, "restored");
    as_before(was, original, "the original kept");
}

static void try_entry(void)
{
    static struct code before;
    struct outcome was[LIVE_COUNT(arguments)] = {0};
    prepare();
    if ((current->needs == AVX && !__builtin_cpu_supports("avx2")) ||
        (current->needs == AVX512 && !__builtin_cpu_supports("avx512vl")))
        live_skip("this CPU does not have the instruction");
    for (size_t i = 0; i < LIVE_COUNT(arguments); i++)
        was[i] = run(current, ADDRESS(current->function), arguments[i]);
    as_before(was, ADDRESS(current->function), "a second time");
    code_take(&before);
    redefine_status status = redefine_func(ADDRESS(current->function), ADDRESS(replacement));
    if (strncmp(current->expected, "no: ", 4) == 0) {
        CHECK(status == REDEFINE_EUNSUPPORTED || status == REDEFINE_ESHORT);
        refused(&before, current->expected + 4);
    } else {
        CHECK_OK(status);
        accepted(&before, was);
    }
    as_before(was, ADDRESS(current->function), "in the end");
}

/* ---- a system call, its first instruction, that a signal interrupts ---- */

static int ends[2];
static volatile int interrupted;

static void write_a_byte(int number)
{
    (void)number;
    interrupted = interrupted + 1;
    CHECK(write(ends[1], "x", 1) == 1);
}

/* The kernel goes back to the instruction, wherever that is: read begins again, pause does not. */
static void interrupted_call(void *function)
{
    const struct itimerval soon = {.it_value = {0, 20000}};
    char byte = 0;
    struct regs regs = {.rax = SYS_read,
                        .rdi = (uint64_t)ends[0],
                        .rsi = (uint64_t)(uintptr_t)&byte,
                        .rdx = 1};
    interrupted = 0;
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    hostile_probe(function, &regs);
    CHECK(interrupted == 1 && regs.rax == 1 && byte == 'x');
    regs = (struct regs){.rax = SYS_pause};
    CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    hostile_probe(function, &regs);
    CHECK(interrupted == 2 && (int64_t)regs.rax == -EINTR && read(ends[0], &byte, 1) == 1);
}

static void interrupted_calls(void)
{
    struct sigaction action = {.sa_handler = write_a_byte, .sa_flags = SA_RESTART};
    CHECK(pipe(ends) == 0 && sigaction(SIGALRM, &action, NULL) == 0);
    interrupted_call(ADDRESS(system_call));
    CHECK_OK(redefine_func(ADDRESS(system_call), ADDRESS(replacement)));
    void *original = redefine_func_original(ADDRESS(system_call));
    CHECK(original != ADDRESS(system_call));
    interrupted_call(original);
    CHECK_OK(redefine_func_restore(ADDRESS(system_call)));
    interrupted_call(original);
    interrupted_call(ADDRESS(system_call));
}

/* All that are accepted, in one batch; then each does through its original what it did. */
static void all_at_once(void)
{
    static struct outcome was[LIVE_COUNT(entries)];
    static struct code before, now;
    prepare();
    redefine_batch *batch = redefine_batch_new();
    for (size_t i = 0; i < LIVE_COUNT(entries); i++) {
        if (strncmp(entries[i].expected, "no: ", 4) == 0 || entries[i].needs != ANY || entries[i].others)
            continue;
        was[i] = run(&entries[i], ADDRESS(entries[i].function), 5);
        CHECK_OK(redefine_batch_add(batch, ADDRESS(entries[i].function), ADDRESS(replacement)));
    }
    code_take(&before);
    CHECK_OK(redefine_batch_commit(batch));
    redefine_batch_free(batch);
    for (size_t i = 0; i < LIVE_COUNT(entries); i++) {
        void *original = redefine_func_original(ADDRESS(entries[i].function));
        if (original == ADDRESS(entries[i].function))
            continue;
        CHECK_INT(run(&entries[i], ADDRESS(entries[i].function), 5).regs.rax, 1000);
        struct outcome is = run(&entries[i], original, 5);
        if (memcmp(&is, &was[i], sizeof is) != 0)
            live_fail(__FILE__, __LINE__, "the original of %s does something else", entries[i].name);
    }
    CHECK_OK(redefine_restore_all());
    code_take(&now);
    CHECK(memcmp(&before, &now, sizeof now) == 0);
}

int main(void)
{
    static const struct live_case more[] = {
        {"a system call that a signal interrupts", interrupted_calls, 0},
        {"all at once", all_at_once, 0},
    };
    bool ok = true;
    size_t count = LIVE_COUNT(entries);
    printf("1..%zu\n", count + LIVE_COUNT(more));
    for (size_t i = 0; i < LIVE_COUNT(more); i++)
        ok = live_run(count + i + 1, &more[i]) && ok;
    for (size_t i = 0; i < count; i++) {
        current = &entries[i];
        ok = live_run(i + 1, &(struct live_case){entries[i].name, try_entry, 0}) && ok;
    }
    return ok ? 0 : 1;
}

#else

int main(void)
{
    printf("1..1\nok 1 - hostile entries # SKIP written for x86-64\n");
    return 0;
}

#endif
