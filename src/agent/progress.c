/* SPDX-License-Identifier: MIT */
#include "agent/progress.h"

#include "os/clock.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

enum { SILENT_MS = 1000, PAUSE_MS = 100, LINE_BYTES = 160 };

/* Not through stdio, whose state belongs to the program that is being changed. */
static void put(const char *text, int len)
{
    ssize_t written = len > 0 ? write(STDERR_FILENO, text, (size_t)len) : 0;
    (void)written; /* nobody left to tell */
}

void rdf_agent_show_progress(void *ctx, const char *what, size_t done, size_t total)
{
    static const char wipe[] = "\r\033[K";
    static uint64_t begun_ms, shown_ms;
    static bool is_shown, is_terminal;
    char line[LINE_BYTES];
    (void)ctx;
    if (!begun_ms) {
        int saved_errno = errno;
        begun_ms = rdf_now_ms();
        is_terminal = isatty(STDERR_FILENO);
        errno = saved_errno;
    }
    if (!is_terminal)
        return;
    if (done == total) {
        if (is_shown)
            put(wipe, sizeof wipe - 1);
        is_shown = false;
        return;
    }
    uint64_t now = rdf_now_ms();
    if (now - begun_ms < SILENT_MS || now - shown_ms < PAUSE_MS)
        return;
    shown_ms = now;
    is_shown = true;
    int len = total ? snprintf(line, sizeof line, "%s%s: %zu of %zu", wipe, what, done, total)
                    : snprintf(line, sizeof line, "%s%s: %zu", wipe, what, done);
    put(line, len < LINE_BYTES ? len : LINE_BYTES - 1);
}
