/* SPDX-License-Identifier: MIT
 *
 * Every macro of every header in one file, for compilers with every warning; also valid C++. */
#include <redefine/apply.h>
#include <redefine/check.h>
#include <redefine/patch.h>
#include <redefine/redefine.h>

#include <string.h>

static size_t length(const char *text)
{
    return redefine_original(strlen)(text) + 1;
}

static size_t patched_length(const char *text)
{
    return REDEFINE_ORIGINAL(patched_length)(text) + 1;
}
REDEFINE_PATCH("strlen", patched_length);
REDEFINE_PATCH("strnlen", patched_length);

int main(void)
{
    redefine_check_report report;
    redefine_status status = redefine(strlen, length);
    status = status == REDEFINE_OK ? redefine(&strlen, &length) : status;
    status = status == REDEFINE_OK ? redefine_for_thread(strlen, length) : status;
    status = status == REDEFINE_OK ? redefine_check(strlen, length, &report) : status;
    {
        REDEFINE_SCOPED(strlen, length);
        REDEFINE_SCOPED(&strlen, &length);
    }
    return status != REDEFINE_OK || redefine_restore(strlen) != REDEFINE_OK;
}
