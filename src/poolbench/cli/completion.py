"""`poolbench completion bash`: what a shell needs to complete commands and choices with the tabulator key."""

import argparse
from collections.abc import Iterable
from typing import Any

from poolbench.cli import choices
from poolbench.paths import conf_dir

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


def keys() -> list[str]:
    """Return the keys of `conf/config.yaml` that overrides set, those of its mappings by their dotted names too."""
    import yaml

    content = yaml.safe_load((conf_dir() / "config.yaml").read_text(encoding="utf-8"))
    del content["defaults"]  # Hydra's: which YAML of each group
    found: list[str] = []
    for key, value in content.items():
        found += [key, *(f"{key}.{inner}" for inner in value)] if isinstance(value, dict) else [key]
    return found


def _print(known: argparse.Namespace, commands: Iterable[str]) -> int:
    words = [f"{group}={name}" for group in choices.GROUPS for name in sorted(choices.names(group))]
    words += [f"{key}=" for key in keys()]
    text = BASH.format(commands=" ".join(commands), words=" ".join(words))
    print((ZSH if known.shell == "zsh" else "") + text, end="")
    return 0
