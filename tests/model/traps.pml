/* SPDX-License-Identifier: MIT
 *
 * A model of src/core/unstopped.c: code is changed under running threads, behind traps.
 *
 * One function, whose window has two instructions: the first byte (head) is the first one, the second one lies in the
 * rest (tail). The entry jump is head and tail together. Each thread fetches what it has seen of memory, byte by byte,
 * and sees anew whenever it likes, or when it is made to (SYNC: what membarrier does).
 *
 * What must hold: no instruction is fetched that consists of old and new bytes; nobody executes the tail as it was when
 * it is something else; who is trapped finds a detour; who is in the trampoline finds it there.
 *
 * bugs: NO_PROOF NO_SYNC_CLOSED NO_SYNC_TAIL NO_LAST_ROUND UNDO_FREES
 */
#define THREADS 2
#define ROUNDS  2

mtype = { OLD, TRAP, NEW };
mtype = { OUTSIDE, AT_HEAD, AT_TAIL, TRAPPED, IN_TRAMPOLINE, BEHIND };

mtype head = OLD, tail = OLD;
mtype head_seen[THREADS] = OLD, tail_seen[THREADS] = OLD;
mtype pc[THREADS] = OUTSIDE;
bool detours = false;      /* the handler knows where to go on … */
mtype detour_to = OLD;     /* … to the work of the old function or of the replacement */
bool trampoline = false;   /* is there */
bool done = false;

inline SYNC()
{
    atomic {
        head_seen[0] = head; tail_seen[0] = tail;
        head_seen[1] = head; tail_seen[1] = tail;
    }
}

proctype thread(byte t)
{
    do
    :: atomic { head_seen[t] != head -> head_seen[t] = head }
    :: atomic { tail_seen[t] != tail -> tail_seen[t] = tail }
    :: atomic { pc[t] == OUTSIDE && !done -> pc[t] = AT_HEAD }
    :: atomic { pc[t] == OUTSIDE && done -> break }
    :: atomic { pc[t] == AT_HEAD && head_seen[t] == OLD -> pc[t] = AT_TAIL }
    :: atomic { pc[t] == AT_HEAD && head_seen[t] == TRAP -> pc[t] = TRAPPED }
    :: atomic { pc[t] == AT_HEAD && head_seen[t] == NEW -> assert(tail_seen[t] == NEW); pc[t] = BEHIND }
    :: atomic { pc[t] == AT_TAIL -> assert(tail_seen[t] == OLD); pc[t] = BEHIND }
    :: atomic { pc[t] == TRAPPED ->
            assert(detours);
            if
            :: detour_to == OLD -> pc[t] = IN_TRAMPOLINE
            :: else -> pc[t] = BEHIND
            fi }
    :: atomic { pc[t] == IN_TRAMPOLINE -> assert(trampoline); pc[t] = BEHIND }
    :: atomic { pc[t] == BEHIND -> pc[t] = OUTSIDE }
    od
}

/* Step 4: each thread once, one after the other. Inside: moved. */
inline prove(t)
{
    atomic {
        if
        :: pc[t] == AT_TAIL -> pc[t] = IN_TRAMPOLINE
        :: else
        fi
    }
}

/* Step 9. */
inline last_round()
{
#ifndef NO_LAST_ROUND
    pc[0] != TRAPPED;
    pc[1] != TRAPPED;
#endif
    detours = false;
}

active proctype writer()
{
    byte round = 0;
    run thread(0);
    run thread(1);
    do
    :: round == ROUNDS -> break
    :: else ->
        round++;
        /* redefine */
        trampoline = true;
        detour_to = OLD;
        detours = true;
        head = TRAP;
#ifndef NO_SYNC_CLOSED
        SYNC();
#endif
#ifndef NO_PROOF
        prove(0);
        prove(1);
#endif
        if
        :: true -> /* a thread did not answer in time: all back */
            head = OLD;
            SYNC();
            last_round();
#ifndef UNDO_FREES
            pc[0] != IN_TRAMPOLINE;
            pc[1] != IN_TRAMPOLINE;
#endif
            trampoline = false;
        :: true ->
            tail = NEW;
#ifndef NO_SYNC_TAIL
            SYNC();
#endif
            head = NEW;
            SYNC();
            last_round();
            /* restore: the jump is one instruction, nobody is inside it */
            detour_to = NEW;
            detours = true;
            head = TRAP;
            SYNC();
            tail = OLD;
            SYNC();
            head = OLD;
            SYNC();
            last_round();
            /* kept for good: the trampoline, which a thread may be in, and its place in the registry */
        fi
    od;
    done = true
}
