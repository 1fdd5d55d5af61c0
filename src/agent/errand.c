/* SPDX-License-Identifier: MIT
 *
 * Called by a thread that the command had this process make (os/errand.h): the request is carried out in a
 * program that runs. The thread is the agent's alone, with every signal held back.
 */
#include "agent/agent.h"
#include "agent/ledger.h"
#include "agent/request.h"
#include "os/errand.h"

#include <redefine/apply.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

void redefine_agent_errand(struct rdf_errand *errand);

static void tell_progress(void *ctx, const char *what, size_t done, size_t total)
{
    struct rdf_errand *errand = ctx;
    (void)what;
    __atomic_store_n(&errand->done, done, __ATOMIC_RELAXED);
    __atomic_store_n(&errand->total, total, __ATOMIC_RELAXED);
}

static bool carry_out(char *item)
{
    const char *kind = rdf_agent_cut(&item, RDF_REQUEST_FIELD);
    if (strcmp(kind, "patch") == 0)
        return rdf_agent_patch(item);
    if (strcmp(kind, "name") == 0)
        return rdf_agent_replace(item);
    if (strcmp(kind, "restore") == 0)
        return rdf_agent_restore(item);
    if (strcmp(kind, "verbose") == 0)
        return rdf_agent_work.verbose = true;
    rdf_agent_say(
        "the agent in this process knows no request '%s': it is of another version; nothing was changed",
        kind);
    return false;
}

/* What is loaded may take its time, or not come back at all: no patch is in force before all of them are
 * there. */
static bool load(char *item)
{
    const char *kind = rdf_agent_cut(&item, RDF_REQUEST_FIELD);
    return (strcmp(kind, "patch") != 0 && strcmp(kind, "name") != 0) || rdf_agent_load(item);
}

static bool each(char *items, bool (*carry_out_one)(char *item))
{
    bool done = true;
    for (char *item = rdf_agent_cut(&items, RDF_REQUEST_ITEM); done && item && *item;
         item = rdf_agent_cut(&items, RDF_REQUEST_ITEM))
        done = carry_out_one(item);
    return done;
}

static bool carry_out_all(char *items)
{
    char *copy = strdup(items);
    if (!copy)
        rdf_agent_say("no memory; %s", rdf_agent_work.otherwise);
    bool done = copy && each(copy, load) && each(items, carry_out) && rdf_agent_keep_all();
    free(copy);
    return done;
}

__attribute__((visibility("default"))) void redefine_agent_errand(struct rdf_errand *errand)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    errand->status = 1;
    if (errand->version != RDF_ERRAND_VERSION) {
        strcpy(errand->answer,
               "the agent in this process is of another version of redefine; nothing was changed\n");
        return;
    }
    (void)pthread_mutex_lock(&one_at_a_time);
    rdf_agent_work = (struct rdf_agent_work){.errand = errand, .otherwise = "nothing was changed"};
    redefine_on_progress(tell_progress, errand);
    if (carry_out_all(errand->request))
        errand->status = 0;
    else
        rdf_agent_take_all_back();
    redefine_on_progress(NULL, NULL);
    rdf_agent_publish_ledger();
    rdf_agent_work.errand = NULL;
    (void)pthread_mutex_unlock(&one_at_a_time);
}
