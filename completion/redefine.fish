# SPDX-License-Identifier: MIT
#
# Completion of redefine(1) for fish: verbs, options, programs, and the names of functions, which
# `redefine list --names` tells.

# The words behind the verb that are no options.
function __redefine_words
    set -l words (commandline -opc)[3..-1]
    string match -v -- '-*' $words
end

function __redefine_functions
    set -l words (__redefine_words)
    set -l word (commandline -ct)
    test (count $words) -ge 1; and not string match -q -r -- '[*?!]' "$word"
    and redefine list --names --all -- $words[1] "$word*" 2>/dev/null
end

function __redefine_wants_program
    test (count (__redefine_words)) -eq 0
end

set -l verbs run check list show
complete -c redefine -f
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -a run -d 'start a program with functions redefined'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -a check -d 'say what a redefinition would meet'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -a list -d 'print the functions of a program'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -a show -d 'print a function and what changes'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -l help -d 'print a summary'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -l version -d 'print the version'
complete -c redefine -n "__fish_seen_subcommand_from $verbs; and __redefine_wants_program" -F
complete -c redefine -n "__fish_seen_subcommand_from $verbs; and __redefine_wants_program" -a '(__fish_complete_command)'
complete -c redefine -n "__fish_seen_subcommand_from check list show; and not __redefine_wants_program" -a '(__redefine_functions)'
complete -c redefine -n "__fish_seen_subcommand_from $verbs" -l json -d 'print JSON'
complete -c redefine -n "__fish_seen_subcommand_from list" -l all -d 'functions of its libraries, too'
complete -c redefine -n "__fish_seen_subcommand_from list" -l names -d 'only names'
complete -c redefine -n "__fish_seen_subcommand_from run check" -l patch -r -F -d 'what a patch file asks for'
complete -c redefine -n "__fish_seen_subcommand_from run" -l replace -x -d 'NAME=P.so:SYMBOL'
complete -c redefine -n "__fish_seen_subcommand_from run" -l count -x -d 'count calls of what GLOB matches'
complete -c redefine -n "__fish_seen_subcommand_from run" -l output -r -F -d 'write the report to a file'
complete -c redefine -n "__fish_seen_subcommand_from run" -l follow -d 'also in the programs that it starts'
complete -c redefine -n "__fish_seen_subcommand_from run" -l force -d 'despite a blocker'
complete -c redefine -n "__fish_seen_subcommand_from run check" -l clones -d 'take clones along'
complete -c redefine -n "__fish_seen_subcommand_from run" -l verbose -d 'say how'
