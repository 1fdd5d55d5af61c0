# SPDX-License-Identifier: MIT
#
# To build on Debian for another CPU, RDF_TARGET: its cross compiler, the foreign libraries that
# tools/foreign-root.sh keeps in build-RDF_TARGET/root, and qemu to run what was built.
# toolchain-RDF_TARGET.cmake sets RDF_TARGET and is what a preset names.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${RDF_TARGET})

set(triplet ${RDF_TARGET}-linux-gnu)
set(CMAKE_C_COMPILER ${triplet}-gcc)
set(CMAKE_CXX_COMPILER ${triplet}-g++)
set(CMAKE_OBJCOPY /usr/bin/${triplet}-objcopy)
set(CMAKE_LINKER /usr/bin/${triplet}-ld)

get_filename_component(CMAKE_SYSROOT ${CMAKE_CURRENT_LIST_DIR}/../build-${RDF_TARGET}/root ABSOLUTE)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${CMAKE_SYSROOT})
set(ENV{PKG_CONFIG_LIBDIR} ${CMAKE_SYSROOT}/usr/lib/${triplet}/pkgconfig:${CMAKE_SYSROOT}/usr/share/pkgconfig)

# Debian's cross compilers look into their own C library first, which may be older than the one in the root.
set(root_libraries ${CMAKE_SYSROOT}/usr/lib/${triplet})
set(CMAKE_C_FLAGS_INIT "-B${root_libraries}")
set(CMAKE_CXX_FLAGS_INIT "-B${root_libraries}")
foreach(kind EXE SHARED MODULE)
    set(CMAKE_${kind}_LINKER_FLAGS_INIT "-L${root_libraries}")
endforeach()

# Everything that the emulator knows of the CPU: on Arm landing pads and signed pointers, too.
if(RDF_TARGET STREQUAL aarch64)
    set(cpu -cpu max)
endif()
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-${RDF_TARGET} ${cpu} -L ${CMAKE_SYSROOT})
