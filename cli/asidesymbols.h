/* SPDX-License-Identifier: MIT */
#ifndef RDF_CLI_ASIDESYMBOLS_H
#define RDF_CLI_ASIDESYMBOLS_H

#include "image/image.h"

/* Symbols of stripped objects that were put aside: in a separate debug file, or compressed in .gnu_debugdata,
 * as some distributions have it. Each image without symbols of its own gets those that are found for it. Give
 * the result back when the images are gone; null: there are none. */
struct cli_aside;
struct cli_aside *cli_aside_lend(struct rdf_images *images);
void cli_aside_free(struct cli_aside *aside);

#endif
