/* SPDX-License-Identifier: MIT
 *
 * What the agent has redefined in this process, by patch file; and how the command reads that from outside,
 * without disturbing anything.
 */
#ifndef RDF_AGENT_LEDGER_H
#define RDF_AGENT_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* One symbol of the agent. The text is items like those of agent/request.h, in the order in which the files
 * came: patch     FIELD path ITEM               then each of its functions: function  FIELD name FIELD
 * address in hexadecimal FIELD how ITEM `sequence` is odd while it is being changed; another one afterwards:
 * read again. */
#define RDF_LEDGER_SYMBOL "redefine_agent_ledger"
#define RDF_LEDGER_MAGIC  "redefine"
enum { RDF_LEDGER_VERSION = 1 };

struct rdf_ledger {
    char magic[8];
    uint32_t version;
    uint32_t reserved;
    uint64_t sequence;
    uint64_t text; /* its address; 0: empty */
    uint64_t text_bytes;
};

struct rdf_agent_function {
    char *name;
    void *target;
    char *how; /* strategy, addresses, way of writing */
};

/* A file that was loaded, in the order of loading; it stays, for its code may be running, or be called. */
struct rdf_agent_file {
    struct rdf_agent_file *next;
    char *path;
    void *handle;
    const void *owner; /* an address in its object */
    dev_t dev;
    ino_t ino;
    struct timespec changed; /* the file, as it was loaded */
    bool is_active;          /* its functions are redefined */
    bool is_whole;           /* all that its table asks for; else what was named */
    bool is_new;             /* by the running errand */
    bool is_old;             /* which puts another version in its place */
    struct rdf_agent_function *function;
    size_t count;
};

/* The files in the order in which they are in force. */
extern struct rdf_agent_file *rdf_agent_files;

/* The last one loaded under that path; null: none. */
struct rdf_agent_file *rdf_agent_find_file(const char *path);

/* The one loaded from that very file, under whatever path: for the loader two paths of one file are one
 * object. */
struct rdf_agent_file *rdf_agent_find_inode(dev_t dev, ino_t ino);

/* Copies the path. Null: no memory. */
struct rdf_agent_file *rdf_agent_add_file(const char *path);

/* It is the last one in force from now on. */
void rdf_agent_move_last(struct rdf_agent_file *file);

bool rdf_agent_add_function(struct rdf_agent_file *file, const char *name, void *target);
void rdf_agent_forget_functions(struct rdf_agent_file *file);

/* Tell whoever reads it. */
void rdf_agent_publish_ledger(void);

#endif
