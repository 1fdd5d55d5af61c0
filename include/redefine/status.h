/* SPDX-License-Identifier: MIT
 *
 * The one list of everything that can go wrong: the enum and redefine_strerror are made from it.
 */
#ifndef REDEFINE_STATUS_H
#define REDEFINE_STATUS_H

/* X(name, number, short text) */
#define REDEFINE_STATUS_LIST(X)                                                      \
    X(OK, 0, "done")                                                                 \
    X(EINVAL, 1, "the argument is not something that can be redefined")              \
    X(ENOTFOUND, 2, "no function has that name")                                     \
    X(EAMBIGUOUS, 3, "several functions have that name")                             \
    X(EINLINED, 4, "the function was inlined into its callers")                      \
    X(ETYPE, 5, "the types of target and replacement differ")                        \
    X(ESHORT, 6, "the function is too short for every strategy that applies")        \
    X(EUNSUPPORTED, 7, "the code has a form that cannot be redefined safely")        \
    X(EBUSY, 8, "the function cannot be changed at this moment")                     \
    X(EDENIED, 9, "the operating system does not allow the change")                  \
    X(ENOMEM, 10, "no memory within reach of the function")                          \
    X(ESYSTEM, 11, "a system call failed")                                           \
    X(EROLLBACK, 12, "a change failed and could not be taken back completely")       \
    X(EFOLDED, 13, "nothing calls the function: its calls were computed away")       \
    X(EBOUND, 14, "the method is bound to its receiver, or belongs to an interface") \
    X(EWRAPPER, 15, "the function is the compiler's way to another one")             \
    X(EVERSION, 16, "this release of Go is not known")

typedef enum redefine_status {
#define REDEFINE_STATUS_ENUMERATOR(name, number, text) REDEFINE_##name = number,
    REDEFINE_STATUS_LIST(REDEFINE_STATUS_ENUMERATOR)
#undef REDEFINE_STATUS_ENUMERATOR
} redefine_status;

#endif
