/* SPDX-License-Identifier: MIT
 *
 * What is done while the world stands still: threads moved, code written as their tracer.
 */
#include "os_linux_stop.h"

/* ---- moving a thread ---- */

#if defined(__x86_64__)
/* Two loops: `jmp .` at 0, and at 16 code that stores 1 to [rdi] and returns. */
static void pc_is_moved_code(char *code)
{
    static const uint8_t loop[] = {0xeb, 0xfe};
    static const uint8_t leave[] = {0xc7, 0x07, 1, 0, 0, 0, 0xc3};
    memcpy(code, loop, sizeof loop);
    memcpy(code + 16, leave, sizeof leave);
    /* 32: read(0 from rdi..), as a function with the system call right at its end; 64: the same again. */
    static const uint8_t call[] = {0x31, 0xc0, 0x0f, 0x05, 0xc3}; /* xor eax,eax; syscall; ret */
    memcpy(code + 32, call, sizeof call);
    memcpy(code + 64, call, sizeof call);
}

static char *code_page;

static int move(struct rdf_world *world, void *ctx)
{
    int *found = ctx;
    uint64_t from = (uint64_t)(uintptr_t)code_page;
    for (size_t i = 0; i < world->thread_count; i++) {
        if (world->thread[i].pc == from && world->thread[i].restart_bytes == 0) {
            *found += 1;
            if (world->set_pc(world, i, from + 16))
                return 1;
        }
        if (world->thread[i].pc == from + 34 && world->thread[i].restart_bytes == 2) {
            *found += 10;
            if (world->set_pc(world, i, from + 66))
                return 1;
        }
    }
    return 0;
}

static volatile int left_loop;
static void *in_loop(void *unused)
{
    ((void (*)(volatile int *))(uintptr_t)code_page)(&left_loop);
    return unused;
}

static volatile long read_result;
static volatile char read_byte;
static void *in_code_read(void *unused)
{
    long (*read_in_page)(long, volatile char *, long);
    read_in_page = (long (*)(long, volatile char *, long))(uintptr_t)(code_page + 32);
    read_result = read_in_page(pipe_end[0], &read_byte, 1);
    return unused;
}

static void pc_is_moved(void)
{
    code_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pc_is_moved_code(code_page);
    mprotect(code_page, 4096, PROT_READ | PROT_EXEC);
    CHECK_EQUAL(pipe(pipe_end), 0);
    pthread_t thread, reader;
    start(&thread, in_loop, NULL);
    start(&reader, in_code_read, NULL);
    usleep(50 * 1000);
    int found = 0;
    struct rdf_stop_report report;
    CHECK_EQUAL(stop_world(move, &found, &report), 0);
    CHECK_EQUAL(found, 11);
    pthread_join(thread, NULL);
    CHECK_EQUAL(left_loop, 1);
    /* The old place may be overwritten now: the read goes on in the new one. */
    mprotect(code_page, 4096, PROT_READ | PROT_WRITE);
    memset(code_page + 32, 0xcc, 16);
    mprotect(code_page, 4096, PROT_READ | PROT_EXEC);
    CHECK_EQUAL(write(pipe_end[1], "z", 1), 1);
    pthread_join(reader, NULL);
    CHECK_EQUAL(read_result, 1);
    CHECK_EQUAL(read_byte, 'z');
}
#else
static void pc_is_moved(void)
{
    SKIP_CHILD("code for x86-64 only");
}
#endif

/* ---- writing as the tracer ---- */

struct write_order {
    enum rdf_write_method method;
    uint64_t addr;
    const void *bytes;
    size_t len_bytes;
};

static int write_as_tracer(struct rdf_world *world, void *ctx)
{
    const struct write_order *order = ctx;
    return -space.ops->write(&space, world, order->method, order->addr, order->bytes, order->len_bytes);
}

static int call_at(const void *code)
{
    return ((int (*)(void))(uintptr_t)code)();
}

static const uint8_t returns_1[] = RDF_CODE_RETURNS_1;
static const uint8_t returns_2[] = RDF_CODE_RETURNS_2;

static void tracer_writes(void)
{
    enum { MSEAL = 462 };
    char *area = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(area, 8192, PROT_READ | PROT_EXEC);
    bool sealed = syscall(MSEAL, area, 8192, 0) == 0;
    for (int with_threads = 0; with_threads < 2; with_threads++) {
        pthread_t thread;
        if (with_threads)
            start(&thread, busy, (void *)&progress[0]);
        for (int method = RDF_WRITE_TRACER_MEM; method <= RDF_WRITE_SELF_MEM; method++)
            for (size_t off = 4096 - 16; off < 4096 + 8; off += sizeof returns_1 % 4 ? 1 : 4) {
                struct rdf_stop_report report;
                struct write_order order = {(enum rdf_write_method)method, (uint64_t)(uintptr_t)(area + off),
                                            NULL, sizeof returns_1};
                order.bytes = returns_1;
                CHECK_EQUAL(stop_world(write_as_tracer, &order, &report), 0);
                CHECK_EQUAL(call_at(area + off), 1);
                order.bytes = returns_2;
                CHECK_EQUAL(stop_world(write_as_tracer, &order, &report), 0);
                CHECK_EQUAL(call_at(area + off), 2);
                uint8_t zero[sizeof returns_1] = {0};
                order.bytes = zero;
                CHECK_EQUAL(stop_world(write_as_tracer, &order, &report), 0);
                for (size_t i = 0; i < 8192; i++)
                    CHECK_EQUAL(area[i], 0);
            }
    }
    for (int method = RDF_WRITE_TRACER_MEM; method <= RDF_WRITE_TRACER_POKE; method++) {
        struct rdf_stop_report report;
        struct write_order order = {(enum rdf_write_method)method, 8, returns_1, sizeof returns_1};
        CHECK_EQUAL(stop_world(write_as_tracer, &order, &report), EFAULT);
    }
    printf("# the page was %ssealed\n", sealed ? "" : "not ");
}

int main(int argc, char **argv)
{
    static const struct stop_case cases[] = {
        {"pc_is_moved", pc_is_moved, 10},
        {"tracer_writes", tracer_writes, 60},
    };
    return stop_main("os_linux_stop_moved", cases, sizeof cases / sizeof *cases, argc, argv);
}
