/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

redefine_status(rdf_fail)(struct rdf_error *err, redefine_status status, const char *format, ...)
{
    if (err && err->status == REDEFINE_OK) {
        va_list args;
        va_start(args, format);
        (void)vsnprintf(err->sentence, sizeof err->sentence, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

/* It would pack the list anew each time it is run: */
/* clang-format off */
#define ERRNO_NAMES(X)                                                                                      \
    X(EPERM)                                                                                                \
    X(ENOENT)                                                                                               \
    X(ESRCH) X(EINTR) X(EIO) X(ENXIO) X(ENOEXEC) X(EBADF) X(ECHILD) X(EAGAIN) X(ENOMEM) X(EACCES) X(EFAULT) \
        X(EBUSY) X(EEXIST) X(ENODEV) X(ENOTDIR) X(EISDIR) X(EINVAL) X(ENFILE) X(EMFILE) X(EFBIG) X(ENOSPC)  \
            X(EROFS) X(ENOSYS) X(ELOOP) X(ETIMEDOUT) X(ESTALE) X(EOWNERDEAD)
/* clang-format on */

/* The names themselves, not strerror: no locale, no lock, no buffer shared between threads. */
const char *rdf_errno_name(int errno_value)
{
    switch (errno_value < 0 ? -errno_value : errno_value) {
#define ERRNO_CASE(name) \
    case name: return #name;
        ERRNO_NAMES(ERRNO_CASE)
#undef ERRNO_CASE
    default: return "an unexpected error";
    }
}
