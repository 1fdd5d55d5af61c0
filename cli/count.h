/* SPDX-License-Identifier: MIT
 *
 * redefine run --count: the counters' file, the program as a child, and the report when it has ended.
 */
#ifndef RDF_CLI_COUNT_H
#define RDF_CLI_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct rdf_count_file; /* src/agent/count.h */

struct cli_count {
    const char **glob; /* null: nothing is counted */
    size_t glob_count;
    bool json;
    const char *output; /* null: standard error */
    FILE *out;
    int fd; /* of the counters … */
    const struct rdf_count_file *file;
    char path[64]; /* … as other processes reach it */
};

/* One more pattern; false: a sentence has been said. */
bool cli_count_add(struct cli_count *count, const char *glob);

/* Makes the counters' file and opens the output. False: a sentence has been said. */
bool cli_count_open(struct cli_count *count);

/* Whether the agent did not let the program start, and has said so. */
bool cli_count_was_refused(const struct cli_count *count, int wait_status);
void cli_count_close(struct cli_count *count);

/* child.c: `become` turns the child into the program and returns an exit status when that fails. Waits,
 * passing on signals and stops. True: the program ran and ended, *ret_wait_status as waitpid gives it; false:
 * it did not, and *ret_wait_status is what the command itself exits with. */
bool cli_child_run(int (*become)(void *ctx), void *ctx, const int *keep_fd, size_t keep_count,
                   int *ret_wait_status);

/* Ends this process as the program ended. */
int cli_child_end_as(int wait_status);

/* One function, its calls in all processes summed. */
struct cli_count_row {
    const char *name, *object;
    uint64_t calls;
};

/* What could not be counted. */
struct cli_count_refusal {
    const char *name, *reason;
};

struct cli_count_result {
    struct cli_count_row *row; /* by calls, then by name; those never called come last */
    size_t row_count, called_count;
    struct cli_count_refusal *refusal; /* by reason, then by name */
    size_t refusal_count;
    uint64_t calls, lost;
};

/* count_read.c: the file as it is now; nothing in it is trusted. Names point into the file. */
bool cli_count_read(const struct rdf_count_file *file, struct cli_count_result *ret);
void cli_count_result_free(struct cli_count_result *result);

/* count_report.c; false: it could not be written, a sentence has been said. */
bool cli_count_report(const struct cli_count *count, const struct cli_count_result *result);

#endif
