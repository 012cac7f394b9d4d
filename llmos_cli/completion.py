r"""``llmos completion``: what makes a shell complete commands, options, ids and names.

How llmos is asked and how it answers is click's. The scripts are ours, as click's own fall short of
what people type: no shell completes ``--option=value`` (zsh even takes the option away), fish cuts
what it tells of a value at its first comma, zsh completes every second time from a file of fpath,
and says nothing of help where compinit was not run. tests/cli/test_completion_shells.py holds ours
against the real shells.
"""

from __future__ import annotations

import click

from llmos_cli.exits import Exit
from llmos_cli.main import COMPLETING

BASH = """\
_llmos_completion() {
    local IFS=$'\\n' kind value word words=()
    # bash takes --option=value for three words.
    for word in "${COMP_WORDS[@]:0:COMP_CWORD+1}"; do
        if [[ $word == "=" || ${words[*]: -1} == --*= ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
    done
    while IFS=, read -r kind value; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done < <(env COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) \\
        COMPLETING=bash_complete "$1" 2>/dev/null)
}

complete -o nosort -F _llmos_completion llmos
"""

ZSH = """\
#compdef llmos

_llmos_completion() {
    local -a answer bare told
    local kind value help
    answer=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) \\
        COMPLETING=zsh_complete ${~words[1]} 2>/dev/null)}")
    compset -P '--*='  # what follows is completed, and --option= stays

    for kind value help in "${answer[@]}"; do
        case $kind in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain) if [[ $help == _ ]]; then bare+=("$value"); else told+=("$value:$help"); fi ;;
        esac
    done
    (( $#told )) && _describe -V values told
    (( $#bare )) && compadd -V values -a bare
}

if [[ $funcstack[1] == _llmos ]]; then  # a file of fpath, at its first use and at later ones
    _llmos_completion "$@"
elif (( $+functions[compdef] )); then
    compdef _llmos_completion llmos
else
    print -u2 "llmos completion: put this before it in .zshrc: autoload -Uz compinit && compinit"
fi
"""

FISH = """\
function _llmos_completion
    set -l line (commandline -cp)
    set -l typed (commandline -ct)
    set -l option (string match -r -- '^--[^=]+=' "$typed")
    for answer in (env COMP_WORDS="$line" COMP_CWORD="$typed" COMPLETING=fish_complete \\
            llmos 2>/dev/null)
        set -l parts (string split -m 1 , -- $answer)
        switch $parts[1]
            case dir
                __fish_complete_directories "$parts[2]" | string replace -r '^' -- "$option"
            case file
                __fish_complete_path "$parts[2]" | string replace -r '^' -- "$option"
            case plain
                echo "$option$parts[2]"
        end
    end
end

complete --command llmos --no-files --keep-order --arguments '(_llmos_completion)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(list(SCRIPTS)))
def completion(shell: str) -> int:
    r"""Print the script that completes llmos in SHELL.

    It completes commands and options, and ids of goals, traces, schedules and requests, projects
    and agents from the system that is reached; nothing where none is.

    \b
    eval "$(llmos completion bash)"                                    in ~/.bashrc (4.4 or later)
    eval "$(llmos completion zsh)"                                     in ~/.zshrc, after compinit
    llmos completion fish > ~/.config/fish/completions/llmos.fish      once
    """
    print(SCRIPTS[shell].replace("COMPLETING", COMPLETING), end="")
    return Exit.SUCCEEDED
