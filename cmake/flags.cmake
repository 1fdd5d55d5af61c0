# SPDX-License-Identifier: MIT
#
# How everything is compiled. Optimisation and sanitizers belong to the presets.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)

add_compile_definitions(_GNU_SOURCE)
if(RDF_OS STREQUAL windows)
    # The printf of the standard, not that of the oldest Windows, which is what the compiler would check
    # formats against; they are checked by every other build. And <errno.h> there lacks a number.
    add_compile_definitions(__USE_MINGW_ANSI_STDIO=1 ESTALE=116)
    add_compile_options(-Wno-format -Wno-format-extra-args)
endif()
add_compile_options(
    -Wall -Wextra
    "$<$<COMPILE_LANGUAGE:C>:-Wpedantic;-Wshadow;-Wmissing-prototypes;-Werror=implicit-function-declaration>")

# Only what is used is loaded: packages also name what their own libraries stand on.
if(RDF_OS STREQUAL linux)
    add_link_options(LINKER:--as-needed)
endif()

# A library that misses something must not link: in a stranger's process it would fail at run time.
# (Not with clang's sanitizers, whose run time is in the program alone.)
if(NOT REDEFINE_FUZZ AND RDF_OS STREQUAL linux)
    string(APPEND CMAKE_SHARED_LINKER_FLAGS " -Wl,-z,defs")
endif()

include(CheckCCompilerFlag)
check_c_compiler_flag("-Werror -fno-tree-loop-distribute-patterns" RDF_HAVE_NO_LOOP_PATTERNS)

# While the world is stopped, or code is being changed, nothing may be called that the program could have
# redefined or that needs the thread's own state: no memcpy that the compiler put in, no stack
# protector, no sanitizer run time.
function(rdf_flags_for_a_stopped_world)
    set(flags -fno-stack-protector -fno-builtin -fno-sanitize=all)
    if(RDF_HAVE_NO_LOOP_PATTERNS)
        list(APPEND flags -fno-tree-loop-distribute-patterns)
    endif()
    # libc.c is what stands in for the C library: its loops must not become calls of itself.
    set(room stop memory trap)
    if(RDF_OS STREQUAL linux)
        list(APPEND room helper task ask)
    endif()
    list(TRANSFORM room REPLACE "(.+)" "src/os/${RDF_OS}/\\1.c")
    foreach(source ${room} src/core/write.c src/core/places.c src/core/store.c src/core/unstopped.c src/go/parked.c
                   src/base/libc.c)
        if(NOT EXISTS ${PROJECT_SOURCE_DIR}/${source})
            message(FATAL_ERROR "${source} runs while the world is stopped and needs its own flags, but is "
                                "not there. Renamed? Then say so in cmake/flags.cmake.")
        endif()
        set_property(SOURCE ${PROJECT_SOURCE_DIR}/${source} APPEND PROPERTY COMPILE_OPTIONS ${flags})
    endforeach()
    # What publishes a change runs there too. Its own bookkeeping takes locks that a stopped thread may hold: the
    # thread sanitizer's does. What is rolled back is zeroed in arena.c and made again here: it would see a half of it.
    file(GLOB publishing ${PROJECT_SOURCE_DIR}/src/core/*.c ${PROJECT_SOURCE_DIR}/src/os/${RDF_OS}/maps.c
         ${PROJECT_SOURCE_DIR}/src/base/arena.c)
    set_property(SOURCE ${publishing} APPEND PROPERTY COMPILE_OPTIONS -fno-sanitize=thread)
endfunction()
