#!/bin/sh
# SPDX-License-Identifier: MIT
. "$SRC/tests/support/cross.sh"
cross_test riscv64 'live/(frames|library|short|unwinding|threads)$|unit/os_linux_(maps|memory)'
