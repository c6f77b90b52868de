"""`poolbench completion bash`: what a shell needs to complete commands and choices with the tabulator key."""

import argparse
from collections.abc import Iterable
from typing import Any

from poolbench.cli import choices

KEYS = ("seed", "name", "results_dir", "reference", "match", "margin", "force", "strict", "threads", "allocator")
# `=` must not part words, or GROUP=CHOICE could not be completed.
BASH = """_poolbench() {{
    local word=${{COMP_WORDS[COMP_CWORD]}}
    if (( COMP_CWORD == 1 )); then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
    else
        COMPREPLY=($(compgen -W "{words}" -- "$word"))
        [[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace
    fi
}}
COMP_WORDBREAKS=${{COMP_WORDBREAKS//=}}
complete -o default -F _poolbench poolbench
"""
ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


def add_to(commands: Any) -> None:
    """Add `poolbench completion`."""
    command = commands.add_parser(
        "completion", help='let a shell complete commands and choices: eval "$(poolbench completion bash)"'
    )
    command.add_argument("shell", choices=("bash", "zsh"))
    command.set_defaults(run=lambda known: _print(known, list(commands.choices)))


def _print(known: argparse.Namespace, commands: Iterable[str]) -> int:
    words = [f"{group}={name}" for group in choices.GROUPS for name in sorted(choices.names(group))]
    words += [f"{key}=" for key in KEYS]
    text = BASH.format(commands=" ".join(commands), words=" ".join(words))
    print((ZSH if known.shell == "zsh" else "") + text, end="")
    return 0
