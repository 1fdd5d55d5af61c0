# SPDX-License-Identifier: MIT
#
# With musl as the C library, on Debian: musl-gcc, which has no C++, and no library but musl's own.

set(RDF_TARGET musl)
set(RDF_HAS_CXX OFF)
set(CMAKE_C_COMPILER musl-gcc)
# The kernel's headers are not musl's to give; Zycore's, and valgrind's, ask for no C library of their own.
set(CMAKE_C_FLAGS_INIT "-idirafter /usr/include -idirafter /usr/include/${CMAKE_HOST_SYSTEM_PROCESSOR}-linux-gnu")
get_filename_component(RDF_SOURCES ${CMAKE_CURRENT_LIST_DIR}/../build-musl/sources ABSOLUTE)
