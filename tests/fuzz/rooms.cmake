# SPDX-License-Identifier: MIT
#
# What a fuzzer needs of the command, whose sources are in no library.

# fuzz_command_sources(TARGET FUZZER)
function(fuzz_command_sources target fuzzer)
    if(fuzzer STREQUAL fuzz_json)
        target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/cli/report.c ${PROJECT_SOURCE_DIR}/cli/text.c)
        target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/cli)
    endif()
endfunction()
