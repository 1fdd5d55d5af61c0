/* SPDX-License-Identifier: MIT
 *
 * Entries made to be hard (hostile.c redefines each of them), and the one way in that shows all they do.
 * Called with eax, ecx, edx, edi as the case says, rsi = 64 bytes of memory, the carry flag set.
 */
        .text

        /* What belongs to somebody, for hostile.c: from `name` up to here. */
        .macro  range name
        .pushsection .data.rel.local, "aw"
        .quad   \name, \name + (.Lend_\name - \name)
        .popsection
.Lend_\name:
        .endm

        .pushsection .data.rel.local, "aw"
        .balign 8
        .globl  hostile_ranges
hostile_ranges:
        .popsection

        /* Neighbours stand right behind each other, so that no jump has room but in the function itself … */
        .macro  fn name
        .globl  \name
        .type   \name, @function
\name:  .cfi_startproc
        .endm

        .macro  end name
        .cfi_endproc
        .size   \name, .-\name
        range   \name
        .endm

        /* … but where this says that there is some. */
        .macro  room
#ifndef CROWDED
        .fill   16, 1, 0xcc
#endif
        .endm

        /* void hostile_probe(void *function, struct regs *regs): calls it with those, leaves what it left. */
        .globl  hostile_probe
        .type   hostile_probe, @function
hostile_probe:
        .cfi_startproc
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        mov     %rdi, probe_function(%rip)
        mov     %rsi, probe_regs(%rip)
        mov     %rsp, probe_stack(%rip)
        sub     $512, %rsp
        mov     %rsp, %rbp
        mov     %rsi, %rax
        mov     8(%rax), %rcx
        mov     16(%rax), %rdx
        mov     24(%rax), %rsi
        mov     32(%rax), %rdi
        mov     40(%rax), %r8
        pushq   48(%rax)
        popfq
        mov     0(%rax), %rax
        call    *probe_function(%rip)
        mov     %rax, probe_rax(%rip)
        mov     probe_regs(%rip), %rax
        mov     %rsp, 56(%rax)
        mov     probe_stack(%rip), %rsp
        pushfq
        popq    48(%rax)
        cld
        mov     %rcx, 8(%rax)
        mov     %rdx, 16(%rax)
        mov     %rsi, 24(%rax)
        mov     %rdi, 32(%rax)
        mov     %r8, 40(%rax)
        mov     probe_rax(%rip), %rcx
        mov     %rcx, 0(%rax)
        mov     probe_stack(%rip), %rcx
        sub     %rcx, 56(%rax)
        movdqu  %xmm0, 64(%rax)
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        ret
        .cfi_endproc
        .size   hostile_probe, .-hostile_probe

        .local  probe_function, probe_regs, probe_stack, probe_rax
        .comm   probe_function, 8, 8
        .comm   probe_regs, 8, 8
        .comm   probe_stack, 8, 8
        .comm   probe_rax, 8, 8

        .balign 256
fn wall_before
        .fill   200, 1, 0x98
end wall_before

        /* ---- what is decoded is not what runs ---- */

fn into_an_instruction                  /* into the operand of mov, where mov edi,eax; ret stands */
        test    %edi, %edi
        jz      1f + 1
1:      .byte   0xb8, 0x89, 0xf8, 0xc3, 0x90
        ret
end into_an_instruction

fn into_itself                          /* jmp -1: its second byte begins inc eax */
        .byte   0xeb, 0xff, 0xc0
        ret
        nop
end into_itself

fn over_a_lock                          /* as glibc does with one thread */
        test    %edi, %edi
        jz      1f + 1
1:      lock incl (%rsi)
        mov     (%rsi), %eax
        ret
end over_a_lock

fn cut_off                              /* its symbol ends inside of its only instruction */
        .byte   0xb8, 0x01, 0x02
end cut_off
fn behind_cut_off
        mov     %edi, %eax
        ret
end behind_cut_off

fn own_bytes                            /* are data to it */
        mov     own_bytes(%rip), %eax
        ret
end own_bytes

fn own_address
        lea     own_address(%rip), %rax
        ret
end own_address

        /* ---- where control goes at once ---- */

fn onto_itself                          /* its first instruction is its own target */
        loop    onto_itself
        ret
end onto_itself

fn onto_itself_32
        .byte   0x67, 0xe3, 0xfd        /* jecxz */
        ret
end onto_itself_32

fn to_the_next                          /* jmp to the neighbour, the next byte */
        jmp     fallen_into
end to_the_next

fn falls_through                        /* and without a jump */
        add     $1, %eax
end falls_through
fn fallen_into
        add     $2, %eax
        ret
end fallen_into

fn tail_register
        jmp     *%rax
end tail_register

fn tail_memory
        jmp     *8(%rsi)
end tail_memory

fn tail_slot
        jmp     *slot(%rip)
end tail_slot

fn tail_condition                       /* a conditional tail call */
        jc      fallen_into
        ret
end tail_condition

fn push_and_ret
        push    $0x23450100
        ret
end push_and_ret

fn push_label_and_ret
        lea     1f(%rip), %rax
        push    %rax
        ret
1:      mov     %edi, %eax
        ret
end push_label_and_ret

fn pops_bytes
        ret     $16
end pops_bytes

fn pops_bytes_later
        mov     %edi, %eax
        ret     $24
end pops_bytes_later

fn ret_with_prefix
        .byte   0xf3, 0xc3
end ret_with_prefix

        /* ---- calls ---- */

fn call_zero                            /* call next; pop */
        call    1f
1:      pop     %rax
        ret
end call_zero

fn pc_thunk
        mov     (%rsp), %rax
        ret
end pc_thunk

fn calls_thunk
        call    pc_thunk
        ret
end calls_thunk
        room

fn retpoline                            /* call over a trap for speculation; ret goes to rax */
        call    2f
1:      pause
        lfence
        jmp     1b
2:      mov     %rax, (%rsp)
        ret
end retpoline

fn calls_register                       /* two bytes, then what it returns to */
        call    *%rax
        add     $3, %eax
        ret
end calls_register
        room

fn calls_memory
        call    *slot(%rip)
        add     $3, %eax
        ret
end calls_memory

fn calls_last                           /* ends in a call that does not return */
        lea     -8(%rsp), %rsp
        call    returns_twice
end calls_last
fn returns_twice
        pop     %rax
        lea     8(%rsp), %rsp
        ret
end returns_twice

        /* ---- forms ---- */

fn fifteen_bytes
        .fill   9, 1, 0x2e
        add     $0x12345678, %rax
        ret
end fifteen_bytes

fn thread_word
        mov     %fs:0, %rax
        ret
end thread_word

fn thread_far
        mov     %fs:(%rdi,%rcx,8), %rax
        ret
end thread_far

fn eip_relative
        lea     slot(%eip), %eax
        ret
end eip_relative

fn moffs_64
        movabs  0x123456780008, %rax
        ret
end moffs_64

fn moffs_32
        .byte   0x67, 0xa1, 8, 0, 0x45, 0x23
        ret
end moffs_32

fn rep_string
        rep lodsb
        mov     %rsi, %rdi
        stosb
        ret
end rep_string

fn entered
        enter   $16, $0
        mov     %edi, -4(%rbp)
        mov     -4(%rbp), %eax
        leave
        ret
end entered

fn entered_deep
        enter   $32, $3
        leave
        mov     %edi, %eax
        ret
end entered_deep

fn red_zone
        mov     %rdi, -8(%rsp)
        mov     %rdx, -128(%rsp)
        mov     -8(%rsp), %rax
        add     -128(%rsp), %rax
        ret
end red_zone

fn flags_first                          /* the carry that the caller left */
        adc     $0, %eax
        lahf
        ret
end flags_first

fn flags_across
        add     %edi, %eax
        mov     slot(%rip), %rdx
        mov     $1, %ecx
        adc     $0, %ecx
        ret
end flags_across

fn stack_pointer
        push    %rsp
        pop     %rax
        sub     %rbp, %rax
        ret
end stack_pointer

fn imm_store
        movl    $0x11223344, word(%rip)
        mov     word(%rip), %eax
        ret
end imm_store

fn imm_compare
        cmpb    $0x44, word(%rip)
        setne   %al
        ret
end imm_compare

fn imm_shuffle
        pshufd  $0x1b, wide(%rip), %xmm0
        ret
end imm_shuffle

fn vex_memory
        vpaddd  wide(%rip), %xmm0, %xmm0
        ret
end vex_memory

fn evex_memory
        vpternlogd $0x96, wide(%rip){1to4}, %xmm0, %xmm0
        ret
end evex_memory

        /* ---- the system ---- */

fn transaction
        xbegin  1f
        xabort  $1
1:      mov     %edi, %eax
        ret
end transaction

fn system_call
        syscall
        ret
end system_call

fn system_call_32
        int     $0x80
        ret
end system_call_32

fn undefined
        ud2
end undefined

fn undefined_1
        ud1     %eax, %eax
end undefined_1

fn halts
        hlt
end halts

fn traps
        int3
        mov     %edi, %eax
        ret
end traps

fn steps                                /* sets the trap flag: one instruction later it is a signal */
        pushfq
        orl     $0x100, (%rsp)
        popfq
        nop
        mov     %edi, %eax
        ret
end steps

fn far_return
        lretq
end far_return

fn interrupt_return
        iretq
end interrupt_return

        /* ---- data in the code ---- */

fn table_behind
        lea     1f(%rip), %rcx
        and     $1, %edi
        movslq  (%rcx,%rdi,4), %rdx
        add     %rcx, %rdx
        jmp     *%rdx
2:      mov     $20, %eax
        ret
3:      mov     $30, %eax
        ret
end table_behind
its_table:
1:      .long   2b - 1b, 3b - 1b
        range   its_table

fn before_constant                      /* what is behind it looks like padding, and is data */
        ret
end before_constant
        .type   like_padding, @object
like_padding:
        .quad   0x9090909090909090, 0xcccccccccccccccc
        .size   like_padding, 16
        range   like_padding
fn reads_constant
        mov     like_padding(%rip), %rax
        add     8+like_padding(%rip), %rax
        ret
end reads_constant

fn entered_from_elsewhere               /* a neighbour jumps past its first instruction */
        add     $1, %eax
1:      add     $2, %eax
        ret
end entered_from_elsewhere
fn enters
        jmp     1b
end enters
        room

fn wall_behind
        .fill   200, 1, 0x98
end wall_behind

        .balign 4096
        .fill   4093, 1, 0xcc
fn on_two_pages
        mov     $0x12345678, %eax
        ret
end on_two_pages
        room
        .globl  hostile_end
hostile_end:

        .section .data.rel.local, "aw"
        .quad   0
        .balign 16
slot:   .quad   fallen_into
        .bss
        .balign 4
        .globl  hostile_word
hostile_word:
word:   .zero   4
        .section .rodata
        .balign 16
wide:   .long   0x01020304, 0x05060708, 0x090a0b0c, 0x0d0e0f00
        .section .note.GNU-stack, "", @progbits
