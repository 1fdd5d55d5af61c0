#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The rules of the house that a machine can see, checked on the sources.
exec "$SRC/tools/check-house"
