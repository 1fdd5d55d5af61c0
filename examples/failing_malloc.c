/* SPDX-License-Identifier: MIT
 *
 * What does the code do when memory runs out? Make each allocation fail in turn, and see: the function must
 * either work, or say no and leave nothing behind.
 *
 *     cc $(pkg-config --cflags redefine) -o failing_malloc failing_malloc.c $(pkg-config --libs redefine)
 */
#include <redefine/redefine.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- What is tested: a list of words, each in memory of its own ---- */

struct word {
    struct word *next;
    char *text;
};

static void free_words(struct word *word)
{
    while (word) {
        struct word *next = word->next;
        free(word->text);
        free(word);
        word = next;
    }
}

static struct word *split(const char *text)
{
    struct word *first = NULL;
    struct word **at = &first;
    while (*text) {
        size_t len = strcspn(text, " ");
        struct word *word = malloc(sizeof *word);
        char *copy = malloc(len + 1);
        if (!word || !copy) {
            free(word);
            free(copy);
            free_words(first);
            return NULL;
        }
        memcpy(copy, text, len);
        copy[len] = '\0';
        *word = (struct word){NULL, copy};
        *at = word;
        at = &word->next;
        text += len + strspn(text + len, " ");
    }
    return first;
}

/* ---- malloc fails when it is told to ---- */

/* Of the thread that tests: the rest of the process goes on as it is. */
static _Thread_local bool watching;
static _Thread_local int calls, call_that_fails, alive;

static void *failing_malloc(size_t size)
{
    if (watching && ++calls == call_that_fails)
        return NULL;
    void *memory = redefine_original(malloc)(size);
    alive += watching && memory;
    return memory;
}

static void counting_free(void *memory)
{
    alive -= watching && memory;
    redefine_original(free)(memory);
}

int main(void)
{
    /* Both or neither. */
    redefine_batch *batch = redefine_batch_new();
    if (!batch || redefine_batch_add(batch, REDEFINE_ADDRESS_(malloc), REDEFINE_ADDRESS_(failing_malloc)) ||
        redefine_batch_add(batch, REDEFINE_ADDRESS_(free), REDEFINE_ADDRESS_(counting_free)) ||
        redefine_batch_commit(batch)) {
        fprintf(stderr, "%s\n", redefine_explain());
        return 1;
    }
    redefine_batch_free(batch);

    int failed = 0;
    bool worked = false;
    for (call_that_fails = 1; !worked; call_that_fails++) {
        calls = alive = 0;
        watching = true;
        struct word *words = split("to be or not to be");
        worked = words != NULL;
        free_words(words);
        watching = false;
        if (alive != 0) {
            printf("allocation %d fails: %d blocks are left behind\n", call_that_fails, alive);
            return 1;
        }
        failed += !worked;
    }
    printf("%d allocations failed in turn: each was noticed, and nothing was left behind\n", failed);
    return redefine_restore_all() == REDEFINE_OK && failed == 12 ? 0 : 1;
}
