# SPDX-License-Identifier: MIT
set(RDF_TARGET riscv64)
include(${CMAKE_CURRENT_LIST_DIR}/toolchain.cmake)
