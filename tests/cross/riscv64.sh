#!/bin/sh
# SPDX-License-Identifier: MIT
. "$SRC/tests/support/cross.sh"
cross_test riscv64 'live/(library|short|methods|unwinding|owners|threads)|unit/os_linux_memory|golden'
