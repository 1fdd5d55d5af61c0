/* SPDX-License-Identifier: MIT
 *
 * Compiled only where the library itself runs on this CPU.
 */
#include "arch/arch.h"

const struct rdf_arch *rdf_arch_native(void)
{
    return &rdf_arch_riscv64;
}
