/* SPDX-License-Identifier: MIT
 *
 * Apart from arch.c, so that a build for another CPU can take this room along without being of it. */
#include "arch/arch.h"

const struct rdf_arch *rdf_arch_native(void)
{
    return &rdf_arch_x86_64;
}
