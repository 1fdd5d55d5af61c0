/* SPDX-License-Identifier: MIT
 *
 * Included before every source of the library, by the build. The compiler makes calls of these functions out
 * of assignments and loops, and the program may have redefined them, even by something that does not do
 * their work: the calls go to our own instead. An assembler-level alias reaches the compiler's calls too.
 */
#ifndef RDF_BASE_LIBC_H
#define RDF_BASE_LIBC_H

__asm__("memcpy = rdf_memcpy\n"
        "memmove = rdf_memmove\n"
        "memset = rdf_memset\n"
        "memcmp = rdf_memcmp\n"
        "strlen = rdf_strlen\n");

#endif
