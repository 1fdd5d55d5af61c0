/* SPDX-License-Identifier: MIT
 *
 * The record of one function that is, or was, redefined. There may be a hundred thousand of them, so it has
 * no more than cannot be worked out again: the bytes that were there, where the code for it is, and who
 * redefined it. What the jump is follows from where it leads.
 */
#ifndef RDF_CORE_REDEF_H
#define RDF_CORE_REDEF_H

#include "base/arena.h"
#include "core/plan.h"

/* One owner's redefinition of a function. */
struct rdf_layer {
    struct rdf_layer *below;
    const void *owner; /* null: the in-process calls; else what identifies a patch file */
    uint64_t replacement;
    void (**original)(void);    /* where the owner reads its original; null: it asks */
    uint32_t replacement_bytes; /* what the replacement has, where that is known; else 0 */
};

/* Which replacement of the in-process calls is in force. */
enum rdf_asked {
    RDF_ASKED_NOTHING, /* none */
    RDF_ASKED_RECORD,  /* the record's */
    RDF_ASKED_SLOT,    /* what the slot holds: see swap.c */
};

/* Goes where the running thread wants to: to its own replacement, or on through the cell. */
struct rdf_selector {
    struct rdf_selector *older;
    uint64_t entry; /* of the function */
    uint64_t code_addr;
    uint64_t cell_addr; /* 8 bytes */
    uint32_t index;     /* in each thread's table */
};

/* A thread's table has so many entries. */
enum { RDF_SELECTORS_MAX = 1024 };

struct rdf_redef {
    uint64_t entry;          /* the key; of addresses in the registry the first word is one */
    uint64_t asked_original; /* what redefine_func_original answers; 0: not redefined */
    uint64_t replacement;    /* of the in-process calls, also after a restore; 0: none yet */
    struct rdf_layer *list;  /* the layers, newest first; null when there is none, or one in the record */
    uint32_t replacement_bytes;
    uint32_t function_bytes : 24; /* as far as they fit */
    uint32_t file : 8;            /* see rdf_redef_file */
    int32_t relay_off;            /* from the entry */
    int32_t slot_off;             /* from the relay */
    uint8_t trampoline_off;       /* from the relay; 0: the original is what lies behind a sled */
    uint8_t window_bytes;         /* the instructions that are displaced, from the entry */
    uint8_t edit_off;             /* the entry jump goes here … */
    uint8_t edit_bytes;           /* … and has so many bytes */
    uint8_t asked;                /* enum rdf_asked; read without a lock */
    uint8_t strategy : 3;         /* enum rdf_strategy */
    uint8_t extra_count : 3;      /* of edits; EXTRAS_IN_TAIL: the tail says it */
    uint8_t branches_back : 1;    /* see struct rdf_window */
    uint8_t is_loop_head : 1;
    uint8_t method : 2;      /* enum rdf_write_method: the entry jump's latest */
    uint8_t is_active : 1;   /* redefined now */
    uint8_t is_direct : 1;   /* the jump leads straight to the top layer's replacement, within reach */
    uint8_t has_layer : 1;   /* its one layer is `replacement`, of the in-process calls */
    uint8_t has_landing : 1; /* a plain landing pad lies before the jump, in the place of one that signs */
    uint8_t has_hops : 1;    /* jumps for short branches lie behind the entry jump, in one edit with it */
    uint8_t keeps : 1;       /* the relay calls, and keeps what callers rely on: nothing goes past it */
    uint8_t tail[];          /* old bytes; lengths of instructions; hops; extra edits */
};

/* The record of a plan, from `arena`; nobody's yet. Null: no memory. */
struct rdf_redef *rdf_redef_new(struct rdf_arena *arena, const struct rdf_plan *plan);

static inline uint64_t rdf_redef_relay(const struct rdf_redef *redef)
{
    return redef->entry + (uint64_t)(int64_t)redef->relay_off;
}

static inline uint64_t rdf_redef_slot(const struct rdf_redef *redef)
{
    return rdf_redef_relay(redef) + (uint64_t)(int64_t)redef->slot_off;
}

static inline uint64_t rdf_redef_trampoline(const struct rdf_redef *redef)
{
    return redef->trampoline_off ? rdf_redef_relay(redef) + redef->trampoline_off
                                 : redef->entry + redef->window_bytes;
}

static inline uint64_t rdf_redef_edit(const struct rdf_redef *redef)
{
    return redef->entry + redef->edit_off;
}

/* The bytes that lay at the entry: the window, and what else the jump overwrites. */
static inline const uint8_t *rdf_redef_bytes(const struct rdf_redef *redef)
{
    return redef->tail;
}

/* The edits beside the one at the entry: how many, and number `index`. */
size_t rdf_redef_extras(const struct rdf_redef *redef);
struct rdf_edit rdf_redef_extra(const struct rdf_redef *redef, size_t index);

/* Where the displaced instructions are now, one pair for each. Returns how many. */
size_t rdf_redef_pcs(const struct rdf_redef *redef, struct rdf_pc_pair ret[RDF_WINDOW_INSNS_MAX]);

/* A sign of the file that code is mapped from: another one tells another object, loaded in the place of the
 * one that had the function. 0: no file. */
static inline uint8_t rdf_redef_file(const struct rdf_map *map)
{
    uint64_t mixed = map && map->ino ? (map->ino + map->dev * 31) * UINT64_C(0x9e3779b97f4a7c15) : 0;
    return (uint8_t)(mixed >> 56);
}

/* The padding that holds a long jump for the short one at the entry; 0: none. */
uint64_t rdf_redef_padding(const struct rdf_redef *redef);

/* The bytes of the jump at the entry alone, without hops behind it. */
size_t rdf_redef_jump_bytes(const struct rdf_redef *redef);

/* What is written at the entry while it is redefined, hops and all: a jump straight to `direct_to`, or with 0
 * the way to the relay. */
void rdf_redef_jump(const struct rdf_redef *redef, const struct rdf_arch *arch, uint64_t direct_to,
                    uint8_t ret_bytes[RDF_EDIT_BYTES_MAX]);

/* The newest layer: of the list, or the one in the record, which is then spelled out in *room. Null: none. */
const struct rdf_layer *rdf_redef_top(const struct rdf_redef *redef, struct rdf_layer *room);

#endif
