# SPDX-License-Identifier: MIT
#
# Completion of redefine(1) for bash: verbs, options, programs, and the names of functions, which
# `redefine list --names` tells.
# shellcheck shell=bash

# _redefine_fill COMMAND…: its lines are the answers. Without compgen, which would take "$" and the like in
# names for the shell's.
_redefine_fill()
{
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <("$@" 2>/dev/null)
}

# Functions of a program whose names begin with what is there.
_redefine_functions()
{
    # A pattern is left alone. Behind a backslash it is a name's: main.(*counter).Inc of a Go program.
    case ${2//\\[*]/} in *[*?!]*) return ;; esac
    local words word=${2//\\/} i
    _redefine_fill redefine list --names --all "$1" "$word*"
    for i in "${!COMPREPLY[@]}"; do
        if [[ ${COMPREPLY[i]} == "$word"* ]]; then
            printf -v "COMPREPLY[i]" %q "${COMPREPLY[i]}"
        else
            unset "COMPREPLY[i]"
        fi
    done
    # ":" divides words for readline: what it has already is not put in again.
    if [[ $2 == *:* && $COMP_WORDBREAKS == *:* ]]; then
        words=${2%"${2##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"$words"}")
    fi
}

_redefine_processes()
{
    local process
    for process in /proc/[0-9]*/; do
        process=${process#/proc/}
        [[ $process == "$1"* ]] && echo "${process%/}"
    done
}

_redefine_programs()
{
    if [[ $1 == */* ]]; then
        _redefine_fill compgen -f -- "$1"
    else
        _redefine_fill compgen -c -f -- "$1"
    fi
    compopt -o filenames 2>/dev/null
}

_redefine()
{
    local verbs="run attach status restore check list show" word=${COMP_WORDS[COMP_CWORD]} verb="" program="" before i
    local -a line
    # Words as the shell takes them: readline cuts at ":" and "=".
    read -ra line <<<"${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *" " ]] && line+=("")
    word=${line[${#line[@]} - 1]}
    before=${line[${#line[@]} - 2]}
    for ((i = 1; i < ${#line[@]} - 1; i++)); do
        case ${line[i]} in
        --patch | --replace | --count | --output) [[ -n $verb ]] && i=$((i + 1)) ;;
        -*) ;;
        *) if [[ -z $verb ]]; then verb=${line[i]}; elif [[ -z $program ]]; then program=${line[i]}; fi ;;
        esac
    done
    COMPREPLY=()
    case $before in
    --patch)
        _redefine_fill compgen -f -X '!*.so' -- "$word"
        compopt -o filenames 2>/dev/null
        return
        ;;
    --output)
        _redefine_fill compgen -f -- "$word"
        compopt -o filenames 2>/dev/null
        return
        ;;
    --count | --replace) return ;;
    esac
    if [[ -z $verb ]]; then
        _redefine_fill compgen -W "$verbs --help --version" -- "$word"
    elif [[ $word == -* && ! ($verb == run && -n $program) ]]; then
        case $verb in
        run) _redefine_fill compgen -W "--patch --replace --count --json --output --follow --force --clones --verbose" -- "$word" ;;
        attach) _redefine_fill compgen -W "--patch --replace --force --clones --verbose" -- "$word" ;;
        status) _redefine_fill compgen -W "--json" -- "$word" ;;
        restore) _redefine_fill compgen -W "--force --verbose" -- "$word" ;;
        check) _redefine_fill compgen -W "--patch --clones --json" -- "$word" ;;
        list) _redefine_fill compgen -W "--all --names --json" -- "$word" ;;
        show) _redefine_fill compgen -W "--json" -- "$word" ;;
        esac
    elif [[ $verb == attach || $verb == status || ($verb == restore && -z $program) ]]; then
        [[ -n $program ]] || _redefine_fill _redefine_processes "$word"
    elif [[ $verb == restore ]]; then
        _redefine_fill compgen -f -X '!*.so' -- "$word"
        compopt -o filenames 2>/dev/null
    elif [[ -z $program ]]; then
        _redefine_programs "$word"
    elif [[ $verb != run ]]; then
        _redefine_functions "$program" "$word"
    else
        _redefine_fill compgen -f -- "$word"
        compopt -o filenames 2>/dev/null
    fi
}
complete -F _redefine redefine
