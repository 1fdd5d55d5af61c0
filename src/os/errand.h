/* SPDX-License-Identifier: MIT
 *
 * An errand: what the command has a process do that runs already. The record lies in that process' memory;
 * a thread of its own carries the errand out (src/os/linux/errand.c tells how it comes to be), and each side
 * writes only its own words of it.
 */
#ifndef RDF_OS_ERRAND_H
#define RDF_OS_ERRAND_H

#include <stdint.h>

/* How far the thread has come. */
enum rdf_errand_stage {
    RDF_ERRAND_SENT,    /* there is no thread yet */
    RDF_ERRAND_BEGUN,   /* it waits for `go` */
    RDF_ERRAND_LOADING, /* it loads the agent */
    RDF_ERRAND_WORKING, /* the agent has it */
    RDF_ERRAND_DONE,    /* `status`, and what is to be told in the answer */
    RDF_ERRAND_FAILED,  /* the agent could not be loaded: what the loader says is in the answer */
};

/* Functions of the process that the code of the errand calls. As few as can be: any of them may be redefined.
 * It sleeps and unmaps by system calls. */
enum rdf_errand_function {
    RDF_ERRAND_ERRNO, /* __errno_location */
    RDF_ERRAND_ATTR_INIT,
    RDF_ERRAND_ATTR_STACK, /* pthread_attr_setstacksize */
    RDF_ERRAND_CREATE,
    RDF_ERRAND_DETACH,
    RDF_ERRAND_DLOPEN,
    RDF_ERRAND_DLSYM,
    RDF_ERRAND_DLERROR,
    RDF_ERRAND_FUNCTIONS,
};

enum {
    RDF_ERRAND_VERSION = 1,
    RDF_ERRAND_PATH_BYTES = 4096,
    RDF_ERRAND_ENTRY_BYTES = 64,
    RDF_ERRAND_STEP_BYTES = 256,
    RDF_ERRAND_ANSWER_BYTES = 32 * 1024,
};

/* The order of the first ones is known to src/os/linux/errand_<cpu>.h. */
struct rdf_errand {
    uint32_t version;
    uint32_t stage;     /* the thread's */
    uint32_t go;        /* the command's: the borrowed thread is its own master again */
    uint32_t read;      /* the command's: nobody needs the record any more */
    uint32_t cancelled; /* the command's: nobody waits any more; what has not begun is not to be done */
    int32_t made;       /* what pthread_create returned; -1 before */
    uint64_t thread;    /* pthread_t */
    uint64_t function[RDF_ERRAND_FUNCTIONS];
    uint64_t start; /* what the thread runs */
    uint64_t region, region_bytes;
    uint64_t call; /* of the C library: a system call, and a return */
    char agent[RDF_ERRAND_PATH_BYTES];
    char entry[RDF_ERRAND_ENTRY_BYTES];
    char answer[RDF_ERRAND_ANSWER_BYTES];
    /* The agent's. */
    int32_t status;                   /* 0: done */
    uint32_t applying;                /* it is being carried out, or has been: cancelling is too late */
    char step[RDF_ERRAND_STEP_BYTES]; /* what it is at, for who waits in vain; "": it waits for another one */
    uint64_t done, total;             /* of a long piece of work */
    uint64_t request_bytes;
    char request[]; /* as src/agent/request.h has it; ends with a NUL */
};

#endif
