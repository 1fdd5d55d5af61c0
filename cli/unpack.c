/* SPDX-License-Identifier: MIT
 *
 * Compressed debug sections beyond zlib's. The library reads none of them, which would need another library
 * in the program that is being changed; the command takes what this system has, when it is needed.
 */
#include "unpack.h"

#include <dlfcn.h>
#include <errno.h>

enum { METHOD_ZSTD = 2 }; /* ELFCOMPRESS_ZSTD, which older <elf.h> do not name */

int cli_unpack(struct rdf_space *space, uint32_t method, struct rdf_span packed, void *ret_bytes,
               size_t len_bytes)
{
    static union {
        void *object;
        size_t (*function)(void *to, size_t to_bytes, const void *from, size_t from_bytes);
    } decompress;
    (void)space;
    if (method == METHOD_ZSTD && !decompress.object) {
        void *library = dlopen("libzstd.so.1", RTLD_LAZY | RTLD_LOCAL);
        decompress.object = library ? dlsym(library, "ZSTD_decompress") : NULL;
    }
    if (method != METHOD_ZSTD || !decompress.object)
        return -ENOTSUP;
    /* A failure is a length that nothing has. */
    size_t got = decompress.function(ret_bytes, len_bytes, packed.data, packed.len_bytes);
    return got == len_bytes ? 0 : -EBADMSG;
}
