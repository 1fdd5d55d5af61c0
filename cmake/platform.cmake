# SPDX-License-Identifier: MIT
#
# The rooms this build is for: RDF_CPU names a folder of src/arch, RDF_OS one of src/os,
# RDF_FORMAT that of its objects. This is where a
# CPU and an operating system are chosen; no source outside those folders asks again.

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
    set(RDF_CPU x86_64)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
    set(RDF_CPU aarch64)
elseif(CMAKE_SYSTEM_PROCESSOR STREQUAL riscv64)
    set(RDF_CPU riscv64)
else()
    message(FATAL_ERROR "No room for the CPU ${CMAKE_SYSTEM_PROCESSOR} in src/arch")
endif()

if(CMAKE_SYSTEM_NAME STREQUAL Linux)
    set(RDF_OS linux)
    set(RDF_FORMAT elf)
elseif(CMAKE_SYSTEM_NAME STREQUAL Windows)
    set(RDF_OS windows)
    set(RDF_FORMAT pe)
elseif(CMAKE_SYSTEM_NAME STREQUAL Darwin)
    set(RDF_OS darwin)
    set(RDF_FORMAT macho)
elseif(CMAKE_SYSTEM_NAME STREQUAL FreeBSD)
    set(RDF_OS bsd)
    set(RDF_FORMAT elf)
else()
    message(FATAL_ERROR "No room for ${CMAKE_SYSTEM_NAME} in src/os")
endif()
