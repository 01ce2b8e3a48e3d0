"""`dermaexp completion bash|zsh|fish`: a script that makes the shell ask here for words."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
from collections.abc import Sequence

from dermaexp.inference.verbs import VERBS
from dermaexp.launch.command import execute
from dermaexp.launch.flags import all_flags

SCRIPTS = {
    "bash": r"""
_dermaexp() {
    local line=${COMP_LINE:0:COMP_POINT} IFS=$'\n'
    local program=(dermaexp)
    case $line in
        dermaexp\ *) ;;
        python*\ -m\ dermaexp\ *) program=("${COMP_WORDS[0]}" -m dermaexp) ;;
        *) return ;;
    esac
    COMPREPLY=($("${program[@]}" completion bash "--line=${line#*dermaexp }" 2>/dev/null))
    local word=${line##* }  # readline replaces only what follows its last break, such as =
    local kept=${word%"${word##*[$COMP_WORDBREAKS]}"}
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
}
complete -o nospace -o default -F _dermaexp dermaexp python python3
""",
    "zsh": r"""
_dermaexp() {
    local -a program=(dermaexp) found
    case $LBUFFER in
        dermaexp\ *) ;;
        python*\ -m\ dermaexp\ *) program=($words[1] -m dermaexp) ;;
        *) _python; return ;;
    esac
    found=(${(f)"$($program completion zsh "--line=${LBUFFER#*dermaexp }" 2>/dev/null)"})
    if (( $#found )); then compadd -S '' -- $found; else _files; fi
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _dermaexp dermaexp python python3
""",
    "fish": r"""
function _dermaexp
    set -l line (commandline -cp)
    set -l program dermaexp
    string match -q 'python*' -- $line; and set program (commandline -cpo)[1] -m dermaexp
    $program completion fish --line=(string replace -r '^.*?dermaexp ' '' -- $line) 2>/dev/null
end
complete -c dermaexp -a '(_dermaexp)'
for python in python python3
    complete -c $python -n 'string match -q "python* -m dermaexp *" -- (commandline -cp)' \
        -a '(_dermaexp)'
end
""",
}


def main() -> None:
    """Print the script of a shell, or the words that complete a line."""
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp completion",
        description="Print a shell's script that completes verbs, config groups, options and keys.",
    )
    parser.add_argument("shell", choices=SCRIPTS)
    parser.add_argument("--line", help=argparse.SUPPRESS)  # up to the cursor, without the program
    given = parser.parse_args()
    print(SCRIPTS[given.shell] if given.line is None else "\n".join(candidates(given.line)))


def candidates(line: str) -> list[str]:
    """Return what the last word of `line`, the arguments up to the cursor, may become.

    Nothing behind a verb, where the shell completes files.
    """
    *before, word = line.split(" ")
    before = [other for other in before if other]
    if before and before[0] in VERBS:
        return []
    if word.startswith("-"):
        return [flag for flag in all_flags() if flag.startswith(word)]
    key, equals, value = word.partition("=")
    start = f"{key}={value.rpartition(',')[0]}," if "," in value else key + equals
    asked = key + equals + value.rpartition(",")[2]
    found = [start + one.removeprefix(key + equals) for one in _of_hydra(before, asked)]
    return [*(verb for verb in VERBS if not before and verb.startswith(word)), *found]


def _of_hydra(before: Sequence[str], word: str) -> list[str]:
    """Return the groups, options and keys that Hydra's own completion knows."""
    place = before.index("--config-dir") if "--config-dir" in before[:-1] else len(before)
    own = before[place : place + 2]
    others = [*before[:place], *before[place + 2 :]]
    os.environ["COMP_LINE"] = " ".join(["dermaexp", *others, word])
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        execute([*own, "-sc", "query=bash"])
    return output.getvalue().split()
