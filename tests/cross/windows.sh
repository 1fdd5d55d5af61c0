#!/bin/sh
# SPDX-License-Identifier: MIT
. "$SRC/tests/support/cross.sh"
cross_test windows 'windows/|live/(library|library_cxx|short|sleds|threads)$|golden/|fuzz/|unit/'
