"""What is wrong in overrides, said with what to write instead: text that Hydra cannot read, keys that are not there."""

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from poolbench.cli import choices
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.paths import conf_dir
from poolbench.record import GROUPS

SEARCH_PATH = "hydra.searchpath"
PARAMS = "hydra.sweeper.params"
# Of Hydra's own configuration, what has a meaning here.
OF_HYDRA = (SEARCH_PATH, PARAMS)
# Mappings whose keys are all known beforehand.
CHECKED_WITHIN = ("speed", "launcher")


def unreadable(override: str, error: Exception) -> str:
    """Return what to do about an override that Hydra's grammar does not read: most often, quote its value."""
    key, equals, value = override.partition("=")
    if not equals and re.fullmatch(r"[\w./-]+", override):
        group = next((group for group in reversed(choices.GROUPS) if override in choices.names(group)), None)
        hint = f"did you mean {group}={override}?" if group else f"write {override}=VALUE, without spaces"
        return f"`{override}` is no KEY=VALUE; {hint}"
    plain = value and not re.search(r"[\[\](){}'\"]", value)
    if equals and plain:
        quoted = shlex.quote(f'{key}="{value}"')
        return (
            f"`{override}` cannot be read: a value with other characters than A-Z, a-z, 0-9 and /-+.$%*@?| needs "
            f"quotes of its own, inside those of the shell: {quoted}"
        )
    words = " ".join(str(error).split()).partition(" See https://")[0]
    return (
        f"`{override}` cannot be read: {words}; a text that holds brackets, quotes, commas or spaces needs quotes of "
        f"its own, inside those of the shell: '{key or 'KEY'}=\"TEXT\"'"
    )


def check_hydras(override: Any) -> None:
    """Raise for a setting of Hydra's that would do nothing here."""
    key = override.key_or_group
    if not override.is_hydra_override() or key.startswith(OF_HYDRA):
        return
    instead = {
        "hydra/launcher": "launcher=local, launcher=processes or launcher=slurm says how cells are run",
        "hydra.launcher": "launcher.KEY=VALUE changes what launcher=NAME chose",
        "hydra/sweeper": "lists, range() and glob() are swept over by poolbench itself",
        "hydra.run": "records go to results_dir=… and name=…",
        "hydra.sweep": "records go to results_dir=… and name=…",
    }
    found = next((text for start, text in instead.items() if key.startswith(start)), "")
    reason = found or f"of Hydra's own settings only {' and '.join(OF_HYDRA)} act"
    raise ConfigurationError(f"`{key}` does nothing here: {reason}")


def with_near_name(error: Exception, name: str, overrides: Sequence[str]) -> Exception:
    """Return the error, with the nearest keys where an override names one that is not there."""
    from hydra import compose as hydra_compose
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import ConfigCompositionException
    from omegaconf import OmegaConf

    if not isinstance(error, ConfigCompositionException):
        return error
    changed = [one for one in OverridesParser.create().parse_overrides(list(overrides)) if not one.is_add()]
    wrong = next((one for one in changed if f"'{one.key_or_group}'" in str(error)), None)
    if wrong is None:
        return error
    try:
        # The choices alone: what keys there are depends on them.
        groups = [_first_value(one) for one in changed if one.key_or_group in (*choices.GROUPS, SEARCH_PATH)]
        known = hydra_compose(name, groups)
    except Exception:  # a second mistake: the first one is reported
        return error
    keys = list(_keys(OmegaConf.to_container(known, resolve=False)))
    if told := _told_of_owners(wrong.key_or_group):
        return ConfigurationError(told)
    hint = str(unknown_name("key", wrong.key_or_group, keys)).partition(" There are:")[0]
    group = wrong.key_or_group.partition(".")[0]
    added = f" What a class takes beyond its YAML is added by +{wrong.key_or_group}=VALUE." if group in GROUPS else ""
    return ConfigurationError(hint + added)


def _told_of_owners(key: str) -> str:
    """Return what to say of a key that some choices of its group have and others have not; empty where none has."""
    group, _, rest = key.partition(".")
    owners = [name for name, keys in _keys_of(group).items() if rest in keys] if group in choices.GROUPS else []
    if not owners:
        return ""
    instead = "name one of these" if group == "launcher" else "`grids` (docs/sweeps.md) sweeps them apart"
    return (
        f"`{key}`: not every {group} that is asked for has `{rest}`; {', '.join(owners)} "
        f"{'have' if len(owners) > 1 else 'has'} it: {instead}"
    )


def _keys_of(group: str) -> dict[str, set[str]]:
    """Return the keys of each choice of a group, another name of one left out."""
    import yaml

    read = {name: yaml.safe_load(path.read_text(encoding="utf-8")) for name, path in choices.names(group).items()}
    return {
        name: set(_keys(content))
        for name, content in read.items()
        if content and (group != "launcher" or content["name"] == name)
    }


def check_added(overrides: Sequence[Any], whole: Any) -> None:
    """Raise for a key beside config.yaml's that nothing looks at: a misspelt one would change nothing.

    Args:
        overrides: the command line's, as Hydra parsed them; those that are swept over are not in `whole`.
        whole: the composed configuration; an experiment's YAML may have added to it.
    """
    import yaml
    from omegaconf import OmegaConf

    main = yaml.safe_load((conf_dir() / "config.yaml").read_text(encoding="utf-8"))
    chosen = _keys_of("launcher").get(str(whole.launcher.name), set())
    known = {*_keys(main), *(f"launcher.{key}" for key in chosen), *choices.GROUPS}
    there = OmegaConf.to_container(whole, resolve=False)
    written = ""
    added = [one.key_or_group for one in overrides if one.is_add() or one.is_force_add()]
    for key in dict.fromkeys([*added, *_keys_looked_at(there)]):
        top = key.partition(".")[0]
        # What a class or a cluster takes is its own to refuse.
        theirs = (top in known and top not in CHECKED_WITHIN) or key.startswith("launcher.slurm.")
        if key in known or theirs or top.partition("/")[0] == "hydra":
            continue
        written = written or OmegaConf.to_yaml(whole, resolve=False)
        if f"${{{top}" not in written:
            hint = str(unknown_name("key", key, sorted(known))).partition(" There are:")[0]
            raise ConfigurationError(_told_of_owners(key) or hint)


def _keys_looked_at(config: Any) -> Iterator[str]:
    """Yield the keys at the top, and within those whose keys are all known."""
    for key, value in config.items():
        if key != "hydra":
            yield str(key)
        if key in CHECKED_WITHIN and isinstance(value, dict):
            yield from _keys(value, f"{key}.")


def _first_value(override: Any) -> str:
    if override.is_sweep_override():
        return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"


def _keys(config: Any, prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")
