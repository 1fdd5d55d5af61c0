/* SPDX-License-Identifier: MIT
 *
 * A process that is to be changed while it runs: who it is, and whether it may be and can be.
 */
#ifndef RDF_CLI_PROCESS_H
#define RDF_CLI_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cli_process {
    pid_t pid;
    char name[32];
    char state; /* the letter in /proc */
};

/* Says what is wrong with it: "process 5 (date) " and that. Always false. */
bool cli_process_fail(const struct cli_process *process, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The argument of a verb: the number of a process that is there, runs a program and may be looked into.
 * False: a sentence has been said. */
bool cli_process_open(const char *verb, const char *arg, struct cli_process *ret);

/* Whether it may be changed as well: nobody traces it, no filter of system calls ends it (unless
 * `is_forced`), its program is one that this command can load something into. */
bool cli_process_may_change(const struct cli_process *process, bool is_forced);

/* How many filters of system calls a thread is under. */
#define CLI_PROCESS_STRICT UINT64_MAX /* under strict seccomp, which allows next to none */
uint64_t cli_process_filters(pid_t pid, pid_t tid);

/* Whether it has the same file at that path as this command. False: it has been said. */
bool cli_process_sees(const struct cli_process *process, const char *path);

/* A number of a line of /proc/PID/task/TID/status, in `base`; false: there is no such line. */
bool cli_process_status(pid_t pid, pid_t tid, const char *key, int base, uint64_t *ret);

/* A line of it, without its end. */
bool cli_process_status_text(pid_t pid, pid_t tid, const char *key, char *ret, size_t room);

/* Its memory, without stopping it. */
bool cli_process_read(pid_t pid, uint64_t addr, void *ret, size_t len_bytes);
bool cli_process_write(pid_t pid, uint64_t addr, const void *bytes, size_t len_bytes);

/* A mapping, as /proc/PID/maps has it. */
struct cli_process_map {
    uint64_t start, end, file_off;
    uint64_t dev, ino;
    char path[4096];
};
enum { CLI_PROCESS_PATH_BYTES = 4200 };
typedef bool cli_process_map_visit(void *ctx, const struct cli_process_map *map); /* false: enough */
bool cli_process_each_map(pid_t pid, cli_process_map_visit *visit, void *ctx);

/* Where this command finds the file of a mapping, into CLI_PROCESS_PATH_BYTES: as it is called, or through
 * the process' own root, where that is another one; a container's files are its own. False: neither is the
 * file that is mapped. */
bool cli_process_file(pid_t pid, const struct cli_process_map *map, char *ret);

/* Also one that was deleted, or replaced by a newer version, since it was mapped; of libraries only root can
 * open that. */
bool cli_process_mapped_file(pid_t pid, const struct cli_process_map *map, char *ret);

#endif
