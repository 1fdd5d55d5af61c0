/* SPDX-License-Identifier: MIT */
#include "go/abi.h"

const struct rdf_go_abi *rdf_go_abi_native(void)
{
    return NULL;
}
