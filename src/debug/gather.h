/* SPDX-License-Identifier: MIT
 *
 * What a scan collects, until it becomes an index.
 */
#ifndef RDF_DEBUG_GATHER_H
#define RDF_DEBUG_GATHER_H

#include "debug/internal.h"

#define NO_FUNCTION UINT32_MAX

/* Numbers by the place of an entry in its file. */
struct places {
    struct place {
        const uint8_t *at; /* null: free */
        uint32_t number;
    } * place;
    size_t count, room; /* a power of two */
};

/* An entry that says of a function that it was inlined. */
struct abstract {
    struct unit *unit;
    uint64_t off;
};

struct gather {
    struct rdf_debug *debug;
    struct rdf_arena *arena; /* of the scan alone */
    struct rdf_debug_function *function;
    struct rdf_debug_entry *entry;
    struct rdf_debug_site *site;
    uint32_t *site_function; /* of each site */
    char *text;
    size_t function_count, function_room, entry_count, entry_room, site_count, site_room, text_bytes,
        text_room;
    size_t site_function_room;
    struct places functions;   /* entry → its function */
    struct places scopes;      /* declaration without a linkage name → the text of its namespaces */
    struct places absent;      /* offsets of names: of definitions that have no code here */
    struct places folded;      /* … of functions that all units know, with copies that left nothing */
    struct places dropped;     /* entries of functions that were inlined into what the linker dropped */
    struct abstract *abstract; /* those of which no copy was found so far */
    size_t abstract_count, abstract_room;
    const uint8_t **declaration; /* of each function that has no linkage name */
    size_t declaration_room;
    /* Offsets of texts, by content; 0: free. */
    uint32_t *text_slot;
    size_t text_count, text_slots; /* a power of two */
};

/* All of these: false (null) when there is no memory, and debug->err says so. */
bool rdf_gather_begin(struct gather *gather, struct rdf_debug *debug, struct rdf_arena *arena);
bool rdf_gather_text(struct gather *gather, const char *text, uint32_t *ret_off); /* a null one is "" */
/* "a::b" of two texts; the second alone, where the first is "". */
bool rdf_gather_joined(struct gather *gather, uint32_t scope, uint32_t name, uint32_t *ret_off);
bool rdf_gather_entry(struct gather *gather, uint64_t addr, uint32_t function, uint64_t body_off);
bool rdf_gather_site(struct gather *gather, uint32_t function, const struct rdf_debug_site *site);

/* Where the number of the entry's function is, or is to be: NO_FUNCTION when it is not known yet. Valid until
 * the next call. */
uint32_t *rdf_gather_slot(struct gather *gather, const struct die *die);
/* A function of this name was defined, and has no code: it was merged with another one, or dropped. */
bool rdf_gather_absent(struct gather *gather, const char *name);
/* The entry says that its function was inlined. */
bool rdf_gather_abstract(struct gather *gather, const struct die *die);
/* It was inlined into code that the linker dropped. */
bool rdf_gather_dropped(struct gather *gather, const struct die *die);
/* Forget the abstract entries from `first` on of which a copy is known. */
void rdf_gather_forget_copied(struct gather *gather, size_t first);
/* Functions of this name that all units know have copies that left nothing to be described. */
bool rdf_gather_folded(struct gather *gather, const char *name);
/* The declaration at `die` lies in these namespaces. */
bool rdf_gather_scope(struct gather *gather, const struct die *die, uint32_t scope);
/* `declaration`: where its name is to be completed by namespaces; else null. */
struct rdf_debug_function *rdf_gather_function(struct gather *gather, const struct die *die,
                                               const struct die *declaration, uint32_t *ret_index);

/* Sort it all and make one piece of it. */
bool rdf_gather_end(struct gather *gather, const struct rdf_page_source *pages, struct rdf_span key,
                    struct rdf_debug_index *ret);

#endif
