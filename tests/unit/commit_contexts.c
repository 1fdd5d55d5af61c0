/* SPDX-License-Identifier: MIT
 *
 * Threads in a signal handler on a stack of its own, where stacks are searched in part, as for Go: what they
 * have interrupted counts, and words that only look so do not.
 */
#include "core/shape.h"
#include "support/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
#include <ucontext.h>
#endif

enum { JUMP_BYTES = 5, PLACE = 5, CONTEXT = 58, FLAGS = 0x246 };

/* One thread whose stack is known from above `PLACE` words on, and one that handles a signal. */
struct handling {
    struct program *program;
    size_t below, handler;
    struct rdf_shape_edit edit;
    struct rdf_shape shape;
};

static void nothing_to_publish(void *ctx)
{
    (void)ctx;
}

static struct handling set_up(const struct rdf_arch *arch)
{
    struct handling this = {.program = program_new(arch)};
    struct memory_os *os = this.program->os;
    this.below = memory_os_add_thread(os, this.program->replacement[0]);
    this.handler = memory_os_add_thread(os, this.program->replacement[1]);
    os->thread[this.handler].sp -= 512;      /* room for a context of either CPU */
    program_redefine(this.program, 1, 3, 0); /* the engine has looked at the program, stacks and all */
    struct rdf_shape_edit *edit = &this.edit;
    edit->edit.addr = this.program->target[0];
    edit->edit.len_bytes = arch->jump_bytes;
    memcpy(edit->edit.old_bytes, memory_os_at(os, edit->edit.addr), arch->jump_bytes);
    memset(edit->edit.new_bytes, 0x90, arch->jump_bytes);
    edit->trampoline_addr = this.program->replacement[2];
    this.shape.count = 1;
    this.shape.stack_bytes_max = MEMORY_STACK_BYTES;
    this.shape.publish = nothing_to_publish;
    return this;
}

/* What the kernel puts on a stack for handlers of `len` bytes that begins at `start`. */
static void put_context(struct handling *this, uint64_t start, uint64_t len, uint64_t sp, uint64_t pc)
{
    const struct rdf_arch *arch = this->program->engine->arch;
    struct memory_os *os = this->program->os;
    size_t stack = CONTEXT - arch->context_stack_bytes / 8u;
    memory_os_set_stack(os, this->handler, stack, start);
    memory_os_set_stack(os, this->handler, stack + 1, 0);
    memory_os_set_stack(os, this->handler, stack + 2, len);
    memory_os_set_stack(os, this->handler, CONTEXT, sp);
    memory_os_set_stack(os, this->handler, CONTEXT + 1, pc);
    memory_os_set_stack(os, this->handler, CONTEXT + 2, FLAGS);
}

static redefine_status switch_on(struct handling *this)
{
    this->program->err = (struct rdf_error){0};
    memory_os_reset(this->program->os);
    this->shape.edit = &this->edit;
    return rdf_shape_switch(this->program->engine, &this->shape, true, 0, &this->program->err);
}

/* Puts an address inside the bytes on the stack below: what the runtime adds to a task that it preempts. */
static uint64_t leave_place_below(struct handling *this)
{
    struct rdf_thread *below = &this->program->os->thread[this->below];
    uint64_t sp = below->sp + 8 * (PLACE - 1);
    memory_os_set_stack(this->program->os, this->below, PLACE,
                        this->edit.edit.addr + this->program->engine->arch->jump_bytes / 2u);
    below->sp += 8 * (PLACE + 1); /* its own thread has done with it */
    return sp;
}

static const struct rdf_arch *const archs[] = {&rdf_arch_x86_64, &rdf_arch_aarch64};

static void what_a_handler_interrupted_inside_the_bytes(void **state)
{
    (void)state;
    struct handling this = set_up(&rdf_arch_x86_64);
    struct memory_os *os = this.program->os;
    uint64_t start = os->thread[this.handler].sp / MEMORY_STACK_BYTES * MEMORY_STACK_BYTES;
    uint64_t addr = this.program->target[0];
    for (uint64_t pc = addr; pc <= addr + JUMP_BYTES; pc++) {
        put_context(&this, start, MEMORY_STACK_BYTES, os->thread[this.below].sp, pc);
        bool is_inside = pc > addr && pc < addr + JUMP_BYTES;
        assert_int_equal(switch_on(&this), is_inside ? REDEFINE_EBUSY : REDEFINE_OK);
        if (!is_inside)
            assert_int_equal(rdf_shape_switch(this.program->engine, &this.shape, false, 0,
                                              &this.program->err),
                             REDEFINE_OK);
    }
    program_free(this.program);
}

static void the_stack_below_a_handler_is_searched(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct handling this = set_up(archs[i]);
        uint64_t sp = leave_place_below(&this);
        uint64_t start = this.program->os->thread[this.handler].sp / MEMORY_STACK_BYTES * MEMORY_STACK_BYTES;
        put_context(&this, start, MEMORY_STACK_BYTES, sp, this.program->replacement[0]);
        assert_int_equal(switch_on(&this), REDEFINE_EBUSY);
        program_free(this.program);
    }
}

/* A stack pointer, a PC and something like flags, but no stack for handlers before them: a task's. */
static void words_that_look_like_a_context_lead_nowhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++)
        for (int which = 0; which < 3; which++) {
            struct handling this = set_up(archs[i]);
            uint64_t sp = leave_place_below(&this);
            uint64_t own_sp = this.program->os->thread[this.handler].sp;
            uint64_t start = which == 0 ? 0 : which == 1 ? own_sp + 1024 : own_sp - 1024;
            uint64_t len = which == 2 ? 1024 : MEMORY_STACK_BYTES; /* ends before it */
            put_context(&this, start, which ? len : 0, sp, this.program->replacement[0]);
            if (switch_on(&this) != REDEFINE_OK)
                fail_msg("cpu %zu, %d: %s", i, which, this.program->err.sentence);
            program_free(this.program);
        }
}

static void contexts_are_laid_out_so(void **state)
{
    (void)state;
#if defined(__linux__) && defined(__x86_64__)
    assert_int_equal(rdf_arch_x86_64.context_stack_bytes,
                     offsetof(ucontext_t, uc_mcontext.gregs[REG_RSP]) - offsetof(ucontext_t, uc_stack));
#elif defined(__linux__) && defined(__aarch64__)
    assert_int_equal(rdf_arch_aarch64.context_stack_bytes,
                     offsetof(ucontext_t, uc_mcontext.sp) - offsetof(ucontext_t, uc_stack));
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_handler_interrupted_inside_the_bytes),
        cmocka_unit_test(the_stack_below_a_handler_is_searched),
        cmocka_unit_test(words_that_look_like_a_context_lead_nowhere),
        cmocka_unit_test(contexts_are_laid_out_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
