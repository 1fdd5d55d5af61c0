# SPDX-License-Identifier: MIT
set(RDF_TARGET aarch64)
include(${CMAKE_CURRENT_LIST_DIR}/toolchain.cmake)
