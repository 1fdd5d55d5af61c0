/* SPDX-License-Identifier: MIT
 *
 * What Go's calling convention asks of a redefinition: where a function can be entered, what the jump there
 * leads to, and how the original is called. Pure: bytes in, bytes out.
 *
 * A Go function begins by comparing its stack pointer with the goroutine's limit. The entry jump lies over
 * that check, and over nothing else: no goroutine can be parked inside it (the runtime does not preempt
 * there, no call returns there), nothing in it can fault, and no frame has been made.
 *
 *     target's entry            near code                                     record (data)
 *     ┌──────────────────┐      ┌──────────────────────────────────────┐      ┌─────────────┐
 *     │ jmp relay        │─────▶│ relay:    special? no: jmp *closure  │─────▶│ closure     │──▶ replacement
 *     │ (rest of check)  │      │           yes: jmp *slow             │      │ special     │
 *   ┌▶│ body …           │◀─────│ original: the check; enough stack:   │      │ list …      │
 *   │ │ more: call       │      │           jmp body                   │      └─────────────┘
 *   │ │   morestack      │◀─────│           else: a note, jmp more     │
 *   │ │   jmp entry      │      └──────────────────────────────────────┘
 *   │ └──────────────────┘
 *
 * Only the target's own addresses are ever on a stack: the runtime knows them all. When the check fails in
 * the original, the function's own block lets the runtime grow the stack and jumps to the entry again, where
 * a caller of the target would get the replacement. So it leaves a note first: this goroutine, at this
 * depth of its stack and called from there, is on its way into this original. The relay finds the note and
 * goes there. A note that nobody came for (the target was restored meanwhile) fits no other call, and goes
 * with the next one.
 *
 * A call of a generic function passes a dictionary: the relay of a shape's function looks for it first. A
 * func value of an instantiation leads to a function of its own, which adds the dictionary and calls the
 * shape's. That function is redefined too, as any other, so its func values get the replacement at once; and
 * its call is made to lead to the shape's original, so that its own original is the instantiation's. (The
 * shape's original cannot be entered without it: the callee keeps its arguments in its caller's frame, where
 * there is no room for the dictionary but in that function's.) The shape's original checks the stack anyway:
 * func values of the instantiation's original enter its own function behind the check, if its frame is small.
 */
#ifndef RDF_GO_ABI_H
#define RDF_GO_ABI_H

#include "arch/arch.h"
#include "base/error.h"
#include "base/span.h"

enum {
    RDF_GO_ENTRY_BYTES_MAX = 40, /* of a check, at most */
    RDF_GO_CODE_BYTES_MAX = RDF_TRAMPOLINE_BYTES_MAX + 288,
    RDF_GO_POINTS_MAX = 4,
    RDF_GO_CALL_BYTES_MAX = 8,
    RDF_GO_PROBE_BYTES_MAX = 8,
};

/* How a function begins. */
struct rdf_go_entry {
    bool has_check;
    bool is_small_frame;              /* such as functions may have that do not check */
    uint8_t check_bytes;              /* the whole check: the body begins behind it */
    uint8_t more_at[2];               /* offsets of its branches to `more` … */
    uint8_t more_count;               /* … which the original replaces by its own */
    uint64_t more;                    /* where the function asks for more stack and begins again */
    uint8_t point[RDF_GO_POINTS_MAX]; /* offsets of the instructions that begin inside the entry jump */
    uint8_t point_count;
    uint8_t bytes[RDF_GO_ENTRY_BYTES_MAX];
};

/* What one goroutine, or the users of one dictionary, get instead. */
struct rdf_go_choice {
    uint64_t key;     /* goid, or address of the dictionary; 0 ends the list, RDF_GO_FREE is a gap */
    uint64_t closure; /* 0: the original; of a goroutine in a generic function: its list by dictionary */
};

#define RDF_GO_FREE UINT64_MAX

/* A goroutine on its way into an original. Goroutines' records are never freed, so a place once taken is
 * that goroutine's for good. */
struct rdf_go_note {
    uint64_t g;
    struct rdf_go_record *record; /* null: none now */
    uint64_t depth_bytes;         /* of its stack, which may move meanwhile */
    uint64_t return_addr;
};

enum {
    RDF_GO_NOTES_BITS = 20,
    RDF_GO_NOTES_SPARE = 4096, /* behind the last place that an address leads to */
    RDF_GO_NOTES = (1 << RDF_GO_NOTES_BITS) + RDF_GO_NOTES_SPARE,
    RDF_GO_SPECIAL_LIST = 1 << 30, /* in `special`: there are lists; below it: how many notes */
};

/* What the relay of one function reads. The routines in relay.c know these offsets. */
struct rdf_go_record {
    uint64_t closure;  /*  0: what everyone else gets; `own`: the original. Of a generic function what the
                        *     first of its dictionaries gets; 0: the original */
    uint32_t special;  /*  8: notes under way, and RDF_GO_SPECIAL_LIST */
    uint64_t slow;     /* 16: rdf_go_relay_slow */
    uint64_t note;     /* 24: rdf_go_relay_note */
    uint64_t original; /* 32: the check again, and the body */
    uint64_t more;     /* 40: struct rdf_go_entry.more */
    struct rdf_go_note *notes;           /* 48: one table for all records */
    struct rdf_go_choice *by_goroutine;  /* 56: by goid; may be null */
    struct rdf_go_choice *by_dictionary; /* 64: by dictionary; may be null */
    uint64_t select;   /* 72: code that finds what this call's dictionary gets; 0: not generic */
    uint64_t goid_off; /* 80: of the goroutine's number in its record */
    /* 88: a func value for everyone when there is only the original: no relay ever reads a null */
    struct {
        uint64_t code; /* rdf_go_relay_own */
        struct rdf_go_record *record;
    } own;
    uint64_t select_mine; /* 104: the same, first of all in the goroutine's list, in R13 */
};

/* Where the pieces of the code of one function lie. */
struct rdf_go_code {
    uint64_t relay;
    uint64_t original;
    uint64_t select; /* 0: not generic */
    uint64_t select_mine;
    uint32_t len_bytes;
};

/* A call of a generic function passes a dictionary, which tells instantiations of one shape apart. */
struct rdf_go_wrapper {
    uint64_t shape;      /* entry of the function that all instantiations of the shape run */
    uint64_t dictionary; /* of this one */
    uint64_t call_addr;  /* the call of `shape` */
    uint8_t call_bytes;
    uint8_t position; /* of the dictionary among the integer registers of arguments */
};

/* An instruction that faults where the first instructions of a function will, but before they make a frame;
 * no bytes: they cannot fault in one. */
struct rdf_go_probe {
    uint8_t code[RDF_GO_PROBE_BYTES_MAX];
    uint8_t len_bytes;
};

struct rdf_go_emit {
    const struct rdf_go_entry *entry;
    uint64_t addr;      /* of the function */
    uint64_t code_addr; /* where the code will be */
    uint64_t slot_addr; /* holds the address of the function's record */
    const struct rdf_relocated
        *relocated;            /* of a function without a check: its first instructions, and on … */
    struct rdf_go_probe probe; /* … which run behind this */
    const struct rdf_go_wrapper *wrapper; /* null: not generic */
    uint8_t registers;                    /* integer ones that the arguments take, without the dictionary */
};

/* Entered by jumps, with Go's registers. */
typedef void rdf_go_routine(void);

struct rdf_go_abi {
    uint8_t registers_max; /* integer ones of a generic function's arguments: one more is the dictionary's */
    /* How the function at `addr` begins. REDEFINE_EUNSUPPORTED: it checks its stack in a way that is not
     * known. `code` reaches from its entry to its end. */
    redefine_status (*entry)(struct rdf_span code, uint64_t addr, struct rdf_go_entry *ret,
                             struct rdf_error *err);
    /* Whether the function is the wrapper that passes a dictionary to a shape's function, and nothing else.
     */
    bool (*wrapper)(struct rdf_span code, uint64_t addr, struct rdf_go_wrapper *ret);
    /* Whether instructions of a function without a check may run elsewhere: none of them faults, calls or
     * waits once the stack pointer has changed, if they run behind the probe. */
    bool (*may_move)(struct rdf_span code, uint64_t addr, struct rdf_go_probe *ret);
    /* All code of one function. False when something is out of reach. */
    bool (*emit)(const struct rdf_go_emit *request, uint8_t ret_code[RDF_GO_CODE_BYTES_MAX],
                 struct rdf_go_code *ret);
    /* A call at `from`, as long as the compiler's; 0: out of reach. */
    size_t (*emit_call)(uint8_t ret_code[RDF_GO_CALL_BYTES_MAX], uint64_t from, uint64_t to);
    rdf_go_routine *slow, *note, *own; /* relay.c */
    /* The code of func values that call an original: behind its first word such a value holds the func value
     * of the target, and the address of the original's code. */
    rdf_go_routine *call_original;
    rdf_go_routine *current; /* func() uintptr: the goroutine's record */
};

/* The convention of the CPU this build runs on; null: Go is not known there. */
const struct rdf_go_abi *rdf_go_abi_native(void);

#endif
