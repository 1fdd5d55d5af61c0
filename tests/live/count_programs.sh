#!/bin/sh
# SPDX-License-Identifier: MIT
#
# redefine run --count '*': real programs do the same as without it. The long form is `make soak`.
set -u
. "$SRC/tests/support/tap.sh"
needs_plain_agent
export SMALL=1
exec "$SRC/tests/soak/count.sh" "$BUILD" sqlite.sh git.sh session.pl session.bash
