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

set -l verbs run attach status restore check list show
set -l of_files run check list show
set -l of_processes attach status restore
complete -c redefine -f
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -a run -d 'start a program with functions redefined'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -a attach -d 'redefine functions of a process that runs'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -a status -d 'say what is redefined in a process'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -a restore -d 'take patches off a process again'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -a check -d 'say what a redefinition would meet'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -a list -d 'print the functions of a program'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -a show -d 'print a function and what changes'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -l help -d 'print a summary'
complete -c redefine -n "not __fish_seen_subcommand_from $verbs" -l version -d 'print the version'
complete -c redefine -n "__fish_seen_subcommand_from $of_processes; and __redefine_wants_program" -a '(__fish_complete_pids)'
complete -c redefine -n "__fish_seen_subcommand_from restore; and not __redefine_wants_program" -F
complete -c redefine -n "__fish_seen_subcommand_from $of_files; and __redefine_wants_program" -F
complete -c redefine -n "__fish_seen_subcommand_from $of_files; and __redefine_wants_program" -a '(__fish_complete_command)'
complete -c redefine -n "__fish_seen_subcommand_from check list show; and not __redefine_wants_program" -a '(__redefine_functions)'
complete -c redefine -n "__fish_seen_subcommand_from run check list show status" -l json -d 'print JSON'
complete -c redefine -n "__fish_seen_subcommand_from list" -l all -d 'functions of its libraries, too'
complete -c redefine -n "__fish_seen_subcommand_from list" -l names -d 'only names'
complete -c redefine -n "__fish_seen_subcommand_from run check attach" -l patch -r -F -d 'what a patch file asks for'
complete -c redefine -n "__fish_seen_subcommand_from run attach" -l replace -x -d 'NAME=P.so:SYMBOL'
complete -c redefine -n "__fish_seen_subcommand_from run" -l count -x -d 'count calls of what GLOB matches'
complete -c redefine -n "__fish_seen_subcommand_from run" -l output -r -F -d 'write the report to a file'
complete -c redefine -n "__fish_seen_subcommand_from run" -l follow -d 'also in the programs that it starts'
complete -c redefine -n "__fish_seen_subcommand_from run attach restore" -l force -d 'despite a blocker'
complete -c redefine -n "__fish_seen_subcommand_from run check attach" -l clones -d 'take clones along'
complete -c redefine -n "__fish_seen_subcommand_from run attach restore" -l verbose -d 'say how'
