/* SPDX-License-Identifier: MIT
 *
 * A program of someone else's: only the installed headers, every macro of them once. */
#include <redefine/redefine.h>

#include <stdio.h>
#include <string.h>

__attribute__((noinline)) static int price(int count)
{
    __asm__ volatile("");
    return 3 * count;
}

static int half_price(int count)
{
    return redefine_original(price)(count) / 2;
}

static int free_of_charge(int count)
{
    (void)count;
    return 0;
}

/* Volatile, so that no compiler works out the answer without a call. */
static int (*volatile ask)(int) = price;

static int expect(const char *what, int is, int should_be)
{
    if (is != should_be)
        printf("%s: %d, not %d\n", what, is, should_be);
    return is == should_be;
}

int main(void)
{
    int good = expect("before", ask(4), 12);
    redefine_status status = redefine(price, half_price);
    if (status != REDEFINE_OK) {
        printf("%s: %s\n", redefine_strerror(status), redefine_explain());
        return 1;
    }
    good &= expect("redefined", ask(4), 6);
    {
        REDEFINE_SCOPED(price, free_of_charge);
        good &= expect("in the scope", ask(4), 0);
    }
    good &= expect("after the scope", ask(4), 6);
    good &= expect("restore", (int)redefine_restore(&price), REDEFINE_OK);
    good &= expect("restored", ask(4), 12);

    redefine_batch *batch = redefine_batch_new();
    status = redefine_batch_add(batch, (void *)(uintptr_t)price, (void *)(uintptr_t)half_price);
    good &= expect("add", (int)status, REDEFINE_OK);
    good &= expect("commit", (int)redefine_batch_commit(batch), REDEFINE_OK);
    redefine_batch_free(batch);
    good &= expect("batch", ask(4), 6);
    good &= expect("restore all", (int)redefine_restore_all(), REDEFINE_OK);

    void *found = NULL;
    good &= expect("find", (int)redefine_find("puts", &found), REDEFINE_OK);
    return good ? 0 : 1;
}
