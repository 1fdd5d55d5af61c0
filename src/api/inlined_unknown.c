/* SPDX-License-Identifier: MIT
 *
 * Debug data of objects other than ELF is not read: nothing is known of inlined copies.
 */
#include "api/inlined.h"

redefine_status rdf_inlined_refuse(uint64_t target, struct rdf_error *err)
{
    (void)target, (void)err;
    return REDEFINE_OK;
}
