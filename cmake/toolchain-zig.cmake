# SPDX-License-Identifier: MIT
#
# To build on Linux for a system whose compiler is zig's clang, with the tools that tools/zig.sh has laid out for one
# target: -DREDEFINE_ZIG=FOLDER -DREDEFINE_SYSTEM=Darwin|FreeBSD -DREDEFINE_CPU=….

set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES REDEFINE_ZIG REDEFINE_SYSTEM REDEFINE_CPU)
# To link one program of C++, zig first compiles the whole library of it.
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
set(CMAKE_SYSTEM_NAME ${REDEFINE_SYSTEM})
set(CMAKE_SYSTEM_PROCESSOR ${REDEFINE_CPU})

set(CMAKE_C_COMPILER ${REDEFINE_ZIG}/cc)
set(CMAKE_CXX_COMPILER ${REDEFINE_ZIG}/c++)
set(CMAKE_AR ${REDEFINE_ZIG}/ar CACHE FILEPATH "")
set(CMAKE_RANLIB ${REDEFINE_ZIG}/ranlib CACHE FILEPATH "")
set(CMAKE_LINKER ${REDEFINE_ZIG}/ld CACHE FILEPATH "")

# Nothing of this system's is that system's. What the compiler has, it finds by itself.
set(CMAKE_OSX_SYSROOT "" CACHE STRING "")
set(CMAKE_OSX_ARCHITECTURES "" CACHE STRING "")
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE NEVER)
