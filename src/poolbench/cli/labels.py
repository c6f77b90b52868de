"""What a composed configuration is called: the choices' names, with what makes them differ from their YAML."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from poolbench.cli import choices
from poolbench.cli.command_line import CommandLine
from poolbench.cli.compose import Job, of_experiment
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.record import GROUPS, NOT_IDENTITY
from poolbench.spec import TARGET
from poolbench.sweep.asked import Asked

# What an arm can be matched with its reference by; `poolbench.measure.matching` has them, and torch with them.
MATCHES = ("params", "macs")


def described(jobs: Sequence[Job], line: CommandLine, others: Iterable[Asked] = ()) -> list[Asked]:
    """Return composed jobs as plain configurations, each with its labels and the reference's pooling.

    The reference is a YAML of conf/pooling, or a variant among these jobs and `others`, or of the line's experiment as
    it is written, of which the line may ask for a part.

    Raises:
        ConfigurationError: the reference is none of these.
    """
    cells = [_described(job) for job in jobs]
    variants = {one.labels["variant"]: one.config["pooling"] for one in others}
    variants |= {names["variant"]: config["pooling"] for config, names in cells}
    if any(_reference(job, variants) is None for job in jobs):
        of_whole = (_described(job) for job in of_experiment(line))
        variants = {names["variant"]: config["pooling"] for config, names in of_whole} | variants
    return [
        Asked(config, names, _known_reference(job, variants), _written_protocol(job))
        for job, (config, names) in zip(jobs, cells, strict=True)
    ]


def _described(job: Job) -> tuple[dict[str, Any], dict[str, str]]:
    config = {group: job.config.get(group) for group in GROUPS} | {"seed": job.config.get("seed")}
    for group in ("backbone", "pooling", "dataset", "protocol"):
        if not isinstance(config[group], Mapping):
            raise ConfigurationError(f"`{group}` must be chosen: {group}=NAME, got {config[group]!r}")
    written = written_groups(job)
    if job.config.get("resample") is not None:
        config["dataset"] = {**(config["dataset"] or {}), "resample": job.config["resample"]}
    config["backbone"] = own_network(config["backbone"] or {}, written.get("backbone", {}))
    config["pooling"] = own_class(config["pooling"] or {}, written.get("pooling", {}), job.overrides)
    names = labels(config, written, job.choices)
    by, reference = job.config.get("match"), str(job.config.get("reference"))
    if by is not None and by not in MATCHES:
        raise unknown_name("`match`", str(by), MATCHES)
    if by is not None and names["variant"] != reference:
        pooling = written_group(job, "pooling", reference)
        if not pooling:
            raise ConfigurationError(f"`match` needs a reference from conf/pooling, got {reference!r}")
        config["match"] = {"by": str(by), "reference": pooling}
        names["variant"] = with_setting(names["variant"], f"match={by}")
    return config, names


def _written_protocol(job: Job) -> dict[str, Any] | None:
    """Return the recipe as its YAML has it, None where that cannot be read by itself."""
    from omegaconf.errors import OmegaConfBaseException

    try:
        return written_group(job, "protocol", job.choices.get("protocol") or "") or None
    except OmegaConfBaseException:  # what it looked up is no longer there
        return None


def _reference(job: Job, variants: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the pooling group of the variant that others are compared with, None where no such is known."""
    name = str(job.config.get("reference"))
    return written_group(job, "pooling", name) or variants.get(name)


def _known_reference(job: Job, variants: Mapping[str, Any]) -> Mapping[str, Any]:
    found = _reference(job, variants)
    if found is None:
        known = {*choices.names("pooling", job.folders), *variants}
        raise unknown_name("reference", str(job.config.get("reference")), known)
    return found


def own_class(pooling: Mapping[str, Any], written: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return `pooling` without the arguments that belong to the class which the user replaced.

    `pooling=avg_topk pooling.downsample._target_=my.Pool` would leave `k`, which is AvgTopKPool2d's, to my.Pool.
    An argument that the user gave stays.
    """
    cleaned = dict(pooling)
    for slot in ("downsample", "head"):
        now, before = pooling.get(slot), written.get(slot)
        if isinstance(now, Mapping) and isinstance(before, Mapping) and now.get(TARGET) != before.get(TARGET):
            given = _given(overrides)
            cleaned[slot] = {
                key: value
                for key, value in now.items()
                if key == TARGET or key not in before or value != before[key] or f"pooling.{slot}.{key}" in given
            }
    return cleaned


def _given(overrides: Sequence[str]) -> set[str]:
    """Return the keys of overrides, and for a mapping as the value those in it, too.

    >>> sorted(_given(["pooling.downsample={_target_:my.Pool,k:2}", "+pooling.head.p=3", "seed=1"]))
    ['pooling.downsample', 'pooling.downsample._target_', 'pooling.downsample.k', 'pooling.head.p', 'seed']
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    found = set()
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        found.add(override.key_or_group)
        value = override.value()
        if isinstance(value, dict):
            found |= {f"{override.key_or_group}.{key}" for key in value}
    return found


def own_network(backbone: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return `backbone` under the name of the class that the user put in the place of the YAML's.

    `backbone._target_=my.Net` would leave the YAML's name to my.Net. A name that the user gave stays.

    >>> own_network({"name": "slides", "_target_": "my.Net"}, {"name": "slides", "_target_": "poolbench.Slides"})
    {'name': 'Net', '_target_': 'my.Net'}
    """
    target = backbone.get(TARGET)
    if (
        not isinstance(target, str)
        or target == written.get(TARGET, target)
        or backbone.get("name") != written.get("name")
    ):
        return dict(backbone)
    return {**backbone, "name": target.rpartition(".")[2]}


def labels(
    config: Mapping[str, Any], written: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, Any]
) -> dict[str, str]:
    """Return the labels of backbone, variant and dataset.

    `config` holds the composed groups, `written` the same groups as their YAML files say, `chosen` the choice of each
    group: the name of one whose YAML gives none.
    """
    yaml, backbone = written.get("backbone", {}), config["backbone"]
    now = {**config, "backbone": own_network(backbone, yaml)}
    before = {**written, "backbone": own_network({**yaml, TARGET: backbone.get(TARGET)}, yaml)}
    named = {
        group: _named(now[group], before.get(group, {}), group, str(chosen.get(group) or group))
        for group in ("backbone", "dataset")
    }
    variant = _variant(config, written, chosen.get("head"), str(chosen.get("pooling") or "pooling"))
    return named | {"variant": variant}


def with_setting(label: str, setting: str) -> str:
    """Return a label with a further setting.

    >>> with_setting("lip", "match=params"), with_setting("avg_topk[k=3]", "match=macs")
    ('lip[match=params]', 'avg_topk[k=3,match=macs]')
    """
    return f"{label[:-1]},{setting}]" if label.endswith("]") else f"{label}[{setting}]"


def _variant(config: Mapping[str, Any], written: Mapping[str, Mapping[str, Any]], head: str | None, choice: str) -> str:
    pooling, before = config["pooling"], written.get("pooling", {})
    name = str(pooling.get("name") or choice)
    if name != before.get("name", name):
        return name
    differences = dict(_differences(pooling, before))
    if len(differences) > 1:
        # Leave to give another size; the window that does is named.
        differences.pop("resizes", None)
    for slot in ("downsample", "head"):
        target = differences.pop(f"{slot}.{TARGET}", None)
        if target and target != (before.get(slot) or {}).get(TARGET):
            # A custom operator is an arm of its own, never under the name of what it replaced.
            own = str(target).rpartition(".")[2]
            name = own if slot == "downsample" else f"{name}+{own}"
            old = before.get(slot) or {}
            now = pooling.get(slot) or {}
            differences = {k: v for k, v in differences.items() if k.partition(".")[0] != slot} | {
                f"{slot}.{key}": value for key, value in now.items() if key != TARGET and value != old.get(key)
            }
    parts = [f"{key.removeprefix('downsample.')}={_short(value)}" for key, value in differences.items()]
    if head:
        chosen = config.get("head") or {}
        changed = dict(_differences(chosen, written.get("head", {})))
        parts += [f"head={head}", *(f"head.{key}={_short(value)}" for key, value in changed.items())]
    return f"{name}[{','.join(parts)}]" if parts else name


def _named(group: Mapping[str, Any], before: Mapping[str, Any], kind: str, choice: str) -> str:
    name = str(group.get("name") or choice)
    if name != before.get("name", name):
        return name
    left_out = NOT_IDENTITY.get(kind, frozenset())
    parts = [
        f"{key}={_short(value)}"
        for key, value in _differences(group, before)
        if key.partition(".")[0] not in left_out and before
    ]
    return f"{name}[{','.join(parts)}]" if parts else name


def _differences(now: Mapping[str, Any], before: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys (dotted) whose values are not what they were; a slot that was emptied is null."""
    flat_now, flat_before = dict(_flat(now)), dict(_flat(before))
    for key, value in flat_now.items():
        if key != "name" and (key not in flat_before or flat_before[key] != value):
            yield key, value
    dropped = [key for key in flat_before if key not in flat_now and key != "name"]
    for key in dict.fromkeys(_emptied(key, now) for key in dropped):
        yield key, "null"


def _emptied(key: str, now: Mapping[str, Any]) -> str:
    """Return the shortest part of a dropped `key` that is not in `now`: a slot rather than each of its arguments."""
    top = key.partition(".")[0]
    return top if now.get(top) is None else key


def _flat(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _short(value: Any) -> str:
    return str(value).replace(" ", "")


def written_groups(job: Job) -> dict[str, dict[str, Any]]:
    """Return what the YAML files of the chosen groups say."""
    chosen = ((group, job.choices.get(group)) for group in ("backbone", "pooling", "head", "dataset"))
    return {group: written_group(job, group, choice) for group, choice in chosen if choice}


def written_group(job: Job, group: str, choice: str) -> dict[str, Any]:
    """Return what `GROUP/CHOICE.yaml` says, its own defaults beneath it; empty where there is no such file.

    What it looks up elsewhere is looked up in the job.
    """
    from omegaconf import OmegaConf

    unresolved = _unresolved(job.folders, group, choice)
    if "${" not in str(unresolved):  # nothing to look up: a whole configuration takes longer to wrap than all the rest
        return unresolved
    whole = OmegaConf.create({**job.config, group: unresolved})
    return OmegaConf.to_container(whole[group], resolve=True)  # type: ignore[return-value]


def _unresolved(folders: Sequence[Path], group: str, choice: str) -> dict[str, Any]:
    from omegaconf import OmegaConf

    for folder in folders:
        path = folder / group / f"{choice}.yaml"
        if path.is_file():
            state = path.stat()
            content = dict(_read(path, (state.st_mtime_ns, state.st_size)))
            bases = content.pop("defaults", [])
            beneath = [
                _unresolved(folders, group, base) for base in bases if isinstance(base, str) and base != "_self_"
            ]
            if not beneath:
                return copy.deepcopy(content)
            return OmegaConf.to_container(OmegaConf.merge(*beneath, content))  # type: ignore[return-value]
    return {}


@lru_cache
def _read(path: Path, state: tuple[int, int]) -> Mapping[str, Any]:
    """Return what a YAML file in this state says: a sweep's jobs ask for the same few files."""
    from omegaconf import OmegaConf

    content = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(content, dict)
    return cast(dict[str, Any], content)
