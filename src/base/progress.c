/* SPDX-License-Identifier: MIT */
#include "base/progress.h"

static rdf_progress_tell *listener;
static void *listener_ctx;

void rdf_progress_to(rdf_progress_tell *tell, void *ctx)
{
    listener_ctx = ctx;
    listener = tell;
}

void rdf_progress(const char *what, size_t done, size_t total)
{
    if (listener)
        listener(listener_ctx, what, done, total);
}
