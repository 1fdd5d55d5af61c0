# SPDX-License-Identifier: MIT
#
# What has no package for the target is built from Debian's sources, which tools/sources.sh has unpacked into
# RDF_SOURCES: never from copies in this tree.

# All of zydis that is needed here is in its own folder; of Zycore only headers (libzycore-dev), and those alone:
# beside them lie the headers of this system.
set(zydis_folder ${RDF_SOURCES}/zydis)
file(COPY /usr/include/Zycore DESTINATION ${RDF_SOURCES}/zycore)
file(GLOB zydis_sources ${zydis_folder}/src/*.c)
add_library(zydis-from-source STATIC ${zydis_sources})
add_library(Zydis::Zydis ALIAS zydis-from-source)
target_include_directories(zydis-from-source SYSTEM PUBLIC ${zydis_folder}/include ${RDF_SOURCES}/zycore PRIVATE ${zydis_folder}/src)
target_compile_definitions(zydis-from-source PUBLIC ZYDIS_STATIC_BUILD ZYCORE_STATIC_BUILD)
target_compile_options(zydis-from-source PRIVATE -w)
set_target_properties(zydis-from-source PROPERTIES
    OUTPUT_NAME Zydis POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden)

if(NOT REDEFINE_TESTS)
    return()
endif()
set(cmocka_folder ${RDF_SOURCES}/cmocka)
add_library(cmocka-from-source STATIC EXCLUDE_FROM_ALL ${cmocka_folder}/src/cmocka.c)
add_library(PkgConfig::CMOCKA ALIAS cmocka-from-source)
target_include_directories(cmocka-from-source SYSTEM PUBLIC ${cmocka_folder}/include)
target_compile_definitions(cmocka-from-source PRIVATE
    HAVE_SIGNAL_H HAVE_INTTYPES_H HAVE_STDINT_H HAVE_STDLIB_H HAVE_STRING_H
    HAVE_SETJMP_H HAVE_STDARG_H HAVE_STDDEF_H HAVE_STDIO_H HAVE_TIME_H HAVE_SNPRINTF HAVE_VSNPRINTF HAVE_EXIT HAVE_LONGJMP HAVE_SETJMP HAVE_MALLOC
    HAVE_FREE HAVE_PRINTF HAVE_FPRINTF HAVE_STRCMP HAVE_STRCPY HAVE_MEMCPY HAVE_MEMSET)
if(RDF_OS STREQUAL linux)
    target_compile_definitions(cmocka-from-source PRIVATE HAVE_STRSIGNAL HAVE_UNISTD_H HAVE_CLOCK_GETTIME
        HAVE_CLOCK_REALTIME HAVE_STRUCT_TIMESPEC)
endif()
target_compile_options(cmocka-from-source PRIVATE -w)
