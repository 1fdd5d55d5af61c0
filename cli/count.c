/* SPDX-License-Identifier: MIT
 *
 * redefine run --count: what is made before the program starts.
 */
#include "count.h"

#include "cli.h"

#include "agent/count.h"
#include "agent/request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

bool cli_count_add(struct cli_count *count, const char *glob)
{
    const char *mark = strchr(glob, '!');
    if (!*glob || (mark && (mark == glob || !mark[1])) || strpbrk(glob, "\036\037")) {
        cli_say("--count takes a pattern of names like 'str*', or OBJECT!PATTERN, not '%s'", glob);
        return false;
    }
    if (count->glob_count == RDF_REQUEST_GLOBS_MAX) {
        cli_say("--count may be given %d times at most", (int)RDF_REQUEST_GLOBS_MAX);
        return false;
    }
    if (!count->glob)
        count->glob = calloc(RDF_REQUEST_GLOBS_MAX, sizeof *count->glob);
    if (!count->glob) {
        cli_say("no memory");
        return false;
    }
    count->glob[count->glob_count++] = glob;
    return true;
}

/* Of a fixed size: a program that cut it off would mean a SIGBUS to everybody else who counts. */
static bool make_file(struct cli_count *count)
{
    count->fd = memfd_create("redefine-counts", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    struct rdf_count_file *file = MAP_FAILED;
    if (count->fd >= 0 && ftruncate(count->fd, (off_t)sizeof *file) == 0 &&
        fcntl(count->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        file = mmap(NULL, sizeof *file, PROT_READ | PROT_WRITE, MAP_SHARED, count->fd, 0);
    if (file == MAP_FAILED) {
        cli_say("the file of the counters cannot be made: %s", strerror(errno));
        return false;
    }
    memcpy(file->magic, RDF_COUNT_MAGIC, sizeof file->magic);
    file->version = RDF_COUNT_VERSION;
    file->text_bytes = RDF_COUNT_TEXT_ALIGN;
    count->file = file;
    (void)snprintf(count->path, sizeof count->path, "/proc/%ld/fd/%d", (long)getpid(), count->fd);
    return true;
}

bool cli_count_open(struct cli_count *count)
{
    if (!count->output)
        count->out = stderr;
    else
        count->out = fopen(count->output, "we");
    if (!count->out) {
        cli_say("--output %s: %s", count->output, strerror(errno));
        return false;
    }
    return make_file(count);
}

bool cli_count_was_refused(const struct cli_count *count, int wait_status)
{
    return WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == RDF_EXIT_OWN_FAILURE &&
           __atomic_load_n(&count->file->programs, __ATOMIC_ACQUIRE) == 0;
}

void cli_count_close(struct cli_count *count)
{
    if (count->out && count->out != stderr)
        fclose(count->out);
    free(count->glob);
}
