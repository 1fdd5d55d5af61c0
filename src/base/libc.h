/* SPDX-License-Identifier: MIT
 *
 * Included before every source of the library, by the build. The compiler makes calls of these functions out
 * of assignments and loops, and the program may have redefined them, even by something that does not do
 * their work: the calls go to our own instead. An assembler-level alias reaches the compiler's calls too.
 */
#ifndef RDF_BASE_LIBC_H
#define RDF_BASE_LIBC_H

/* What this system's assembler puts before every name of C: "_" on some, nothing on most. */
#define RDF_LIBC_TEXT(name)     #name
#define RDF_LIBC_PREFIX(prefix) RDF_LIBC_TEXT(prefix)
#define RDF_LIBC_OURS(name)                \
    RDF_LIBC_PREFIX(__USER_LABEL_PREFIX__) \
#name " = " RDF_LIBC_PREFIX(__USER_LABEL_PREFIX__) "rdf_" #name "\n"

__asm__(RDF_LIBC_OURS(memcpy) RDF_LIBC_OURS(memmove) RDF_LIBC_OURS(memset) RDF_LIBC_OURS(memcmp)
            RDF_LIBC_OURS(strlen));

#endif
