/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

redefine_status rdf_fail(struct rdf_error *err, redefine_status status, const char *format, ...)
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

#define ERRNO_NAMES(X)                                                                                   \
    X(EPERM, 1)                                                                                          \
    X(ENOENT, 2) X(ESRCH, 3) X(EINTR, 4) X(EIO, 5) X(ENXIO, 6) X(ENOEXEC, 8) X(EBADF, 9) X(ECHILD, 10)   \
        X(EAGAIN, 11) X(ENOMEM, 12) X(EACCES, 13) X(EFAULT, 14) X(EBUSY, 16) X(EEXIST, 17) X(ENODEV, 19) \
            X(ENOTDIR, 20) X(EISDIR, 21) X(EINVAL, 22) X(ENFILE, 23) X(EMFILE, 24) X(EFBIG, 27)          \
                X(ENOSPC, 28) X(EROFS, 30) X(ENOSYS, 38) X(ELOOP, 40) X(ETIMEDOUT, 110) X(ESTALE, 116)   \
                    X(EOWNERDEAD, 130)

/* The names themselves, not strerror: no locale, no lock, no buffer shared between threads. */
const char *rdf_errno_name(int errno_value)
{
    switch (errno_value < 0 ? -errno_value : errno_value) {
#define ERRNO_CASE(name, number) \
    case number: return #name;
        ERRNO_NAMES(ERRNO_CASE)
#undef ERRNO_CASE
    default: return "an unexpected error";
    }
}
