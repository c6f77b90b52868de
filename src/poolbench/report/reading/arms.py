"""From records to blocks and arms: what is compared with what, and under which names.

Arms are identified by their digest, blocks likewise; the names that people read may collide (the same variant trained
with two learning rates). Where they do, the settings that differ are added to the name, so that a name is unique in its
block and a block's name in the report.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from poolbench.record import STATUSES, identifying

Record = Mapping[str, Any]
Settings = dict[str, str]

ARM_GROUPS = ("pooling", "head", "protocol", "trainer")
RECIPE_GROUPS = ("protocol", "trainer", "device")
# More settings than this in a name hide it; the digest then tells the arms apart, summary.md what differs.
MOST_SETTINGS = 3
ABSENT = "absent"


@dataclass(eq=False)
class Arm:
    """All cells that differ in the seed alone."""

    arm_id: str
    block_id: str
    backbone: str
    dataset: str
    variant: str
    plain: str
    """The variant's name as the records have it, before the differing settings were added."""
    records: dict[int, Record]
    """One record a seed, whatever its status."""
    settings: Settings
    reference: "Arm | None" = None
    """The arm that this one is compared with: itself for a reference, None where there is none."""
    identical: list[str] = field(default_factory=list)

    @property
    def finished(self) -> dict[int, Record]:
        """The records of the cells that finished, by seed."""
        return {seed: record for seed, record in self.records.items() if record["status"] == "ok"}

    @property
    def is_reference(self) -> bool:
        """Whether others are compared with this arm."""
        return self.reference is self

    def with_seeds(self, seeds: Collection[int]) -> "Arm":
        """Return the arm with its cells of these seeds alone."""
        return replace(self, records={seed: record for seed, record in self.records.items() if seed in seeds})

    def count(self, status: str) -> int:
        """Return how many cells have this status."""
        return sum(record["status"] == status for record in self.records.values())


@dataclass(eq=False)
class Block:
    """One backbone on one dataset: within it the arms are compared."""

    block_id: str
    backbone: str
    dataset: str
    reference: str
    arms: list[Arm]

    @property
    def title(self) -> str:
        """The block's name in a heading."""
        return f"{self.backbone} on {self.dataset}"


def fault(record: Record) -> str | None:
    """Return why a record cannot be used, or None if it can.

    >>> fault({"labels": {"backbone": "slides", "variant": "max"}})
    'labels lacks dataset'
    """
    labels = record.get("labels")
    if not isinstance(labels, Mapping):
        return f"labels must be an object, is {type(labels).__name__}"
    lacking = [key for key in ("backbone", "dataset", "variant") if not isinstance(labels.get(key), str)]
    if lacking:
        return f"labels lacks {', '.join(lacking)}"
    if not isinstance(record.get("seed"), int):
        return f"seed must be a whole number, is {record.get('seed')!r}"
    for key in ("config", "metrics"):
        if not isinstance(record.get(key), Mapping):
            return f"{key} must be an object, is {type(record.get(key)).__name__}"
    for key in ("cost", "audit", "data", "provenance", "files", "times"):
        if not isinstance(record.get(key) or {}, Mapping):
            return f"{key} must be an object, is {type(record[key]).__name__}"
    if not isinstance(section(record, "provenance").get("versions") or {}, Mapping):
        return "provenance.versions must be an object"
    for key in ("block_id", "arm_id"):
        if not isinstance(record.get(key), str):
            return f"{key} must be a text, is {type(record.get(key)).__name__}"
    if record.get("status") not in STATUSES:
        return f"unknown status {record.get('status')!r}"
    return None


def section(record: Record, key: str) -> Mapping[str, Any]:
    """Return a part of a record, empty where the record has none."""
    return record.get(key) or {}


def number(value: Any) -> float:
    """Return a metric's value, NaN for one that is null, not finite or not a number.

    >>> number(None), number("0.9"), number(0.5)
    (nan, nan, 0.5)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value) if math.isfinite(value) else math.nan


def first(arm: "Arm", key: str) -> Mapping[str, Any]:
    """Return a part of the first record of the arm that has it, finished ones first; empty where none has."""
    for record in (*arm.finished.values(), *arm.records.values()):
        if section(record, key):
            return section(record, key)
    return {}


def group(records: Sequence[Record]) -> tuple[list[Block], list[str]]:
    """Return the blocks with their arms, ordered and named, and warnings about what is not comparable.

    Blocks are ordered by name, arms with the references first and by name after that.
    """
    warnings: list[str] = []
    by_block: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        by_block[record["block_id"]][record["arm_id"]].append(record)
    titles = _block_titles({block_id: next(iter(arms.values()))[0] for block_id, arms in by_block.items()})
    blocks = []
    for block_id, members in by_block.items():
        backbone, dataset = titles[block_id]
        arms = [_arm(arm_id, found, backbone, dataset, warnings) for arm_id, found in members.items()]
        names = unique_names({arm.arm_id: (arm.plain, arm.settings) for arm in arms})
        for arm in arms:
            arm.variant = names[arm.arm_id]
        block = Block(block_id, backbone, dataset, _reference_name(arms, f"{backbone} on {dataset}", warnings), arms)
        _choose_references(block, warnings)
        arms.sort(key=lambda arm: (not arm.is_reference, arm.variant, arm.arm_id))
        _find_identical(arms)
        blocks.append(block)
    blocks.sort(key=lambda block: (block.backbone, block.dataset, block.block_id))
    return blocks, warnings


def _arm(arm_id: str, records: Sequence[Record], backbone: str, dataset: str, warnings: list[str]) -> Arm:
    by_seed: dict[int, Record] = {}
    twice = set()
    # Of two records of one cell the finished one stands, then the newest.
    for record in sorted(records, key=lambda r: (r["status"] == "ok", str(section(r, "times").get("ended") or ""))):
        if record["seed"] in by_seed:
            twice.add(record["seed"])
        by_seed[record["seed"]] = record
    # A cell that never ran may not know its device.
    first = min(by_seed.values(), key=lambda record: (record["status"] != "ok", record["seed"]))
    plain = first["labels"]["variant"]
    if twice:
        warnings.append(
            f"{backbone} on {dataset}, {plain}: two records of seed {listed(sorted(twice))}; "
            "the newest finished one counts"
        )
    return Arm(
        arm_id=arm_id,
        block_id=first["block_id"],
        backbone=backbone,
        dataset=dataset,
        variant=plain,
        plain=plain,
        records=dict(sorted(by_seed.items())),
        settings=settings(first, ARM_GROUPS) | {"device": str(section(first, "provenance").get("device"))},
    )


def settings(record: Record, groups: Sequence[str]) -> Settings:
    """Return the settings in these groups of a record's configuration by dotted key, those of its identity only.

    >>> settings({"config": {"protocol": {"optimizer": {"lr": 0.1}}, "head": None}}, ["protocol", "head"])
    {'protocol.optimizer.lr': '0.1', 'head': 'null'}
    """
    flat: Settings = {}
    for name in groups:
        content = record["config"].get(name)
        if isinstance(content, Mapping):
            content = identifying(name, content)
        _flatten(name, content, flat)
    return flat


def _flatten(key: str, value: Any, flat: Settings) -> None:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            _flatten(f"{key}.{name}", inner, flat)
    else:
        flat[key] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def differing(several: Sequence[Settings]) -> list[str]:
    """Return the keys in which the settings differ, ordered.

    >>> differing([{"a": "1", "b": "2"}, {"a": "1", "b": "3"}, {"a": "1"}])
    ['b']
    """
    keys = sorted({key for one in several for key in one})
    return [key for key in keys if len({one.get(key, ABSENT) for one in several}) > 1]


def unique_names(named: Mapping[str, tuple[str, Settings]]) -> dict[str, str]:
    """Return a name for each identifier that no other has: the given one, with differing settings where it collides.

    `named` gives for each identifier its name and its settings. Where the settings do not tell two apart, the
    beginning of the identifier does.

    >>> unique_names({"1f": ("max", {"lr": "0.1"}), "2e": ("max", {"lr": "0.01"}), "3d": ("avg", {"lr": "0.1"})})
    {'1f': 'max[lr=0.1]', '2e': 'max[lr=0.01]', '3d': 'avg'}
    """
    sharing: dict[str, list[str]] = defaultdict(list)
    for identifier, (name, _) in named.items():
        sharing[name].append(identifier)
    result = {}
    for name, identifiers in sharing.items():
        if len(identifiers) == 1:
            result[identifiers[0]] = name
            continue
        keys = _telling([named[identifier][1] for identifier in identifiers])
        for identifier in identifiers:
            own = named[identifier][1]
            pairs = [f"{key}={own[key]}" for key in keys if key in own] if len(keys) <= MOST_SETTINGS else []
            result[identifier] = with_settings(name, pairs)
    taken = Counter(result.values())
    return {
        identifier: with_settings(name, [f"#{identifier[:6]}"]) if taken[name] > 1 else name
        for identifier, name in ((identifier, result[identifier]) for identifier in named)
    }


def _telling(several: Sequence[Settings]) -> list[str]:
    """Return the differing keys that a reader needs: not the class where a name beside it says the same."""
    keys = differing(several)
    named = {key.rpartition(".")[0] for key in keys if key.endswith(".name")}
    return [key for key in keys if not (key.rpartition(".")[0] in named and key.endswith("._target_"))]


def with_settings(name: str, pairs: Sequence[str]) -> str:
    """Return the name with settings in brackets, inside those that it has.

    >>> with_settings("avg_topk[k=3]", ["protocol.epochs=5"])
    'avg_topk[k=3,protocol.epochs=5]'
    """
    if not pairs:
        return name
    text = ",".join(pairs)
    return f"{name[:-1]},{text}]" if name.endswith("]") and "[" in name else f"{name}[{text}]"


def _block_titles(first: Mapping[str, Record]) -> dict[str, tuple[str, str]]:
    """Return the backbone's and the dataset's name of each block, made different where two blocks share both."""
    titles = {key: (record["labels"]["backbone"], record["labels"]["dataset"]) for key, record in first.items()}
    sharing: dict[tuple[str, str], list[str]] = defaultdict(list)
    for block_id, title in titles.items():
        sharing[title].append(block_id)
    for (backbone, dataset), block_ids in sharing.items():
        if len(block_ids) == 1:
            continue
        parts_of = {}
        for index, (group_name, name) in enumerate((("backbone", backbone), ("dataset", dataset))):
            own = {key: settings(first[key], [group_name]) for key in block_ids}
            keys = _telling(list(own.values()))
            parts_of[index] = {
                key: with_settings(
                    name, [f"{k}={own[key][k]}" for k in keys if k in own[key]] if len(keys) <= MOST_SETTINGS else []
                )
                for key in block_ids
            }
        taken = Counter((parts_of[0][key], parts_of[1][key]) for key in block_ids)
        for key in block_ids:
            title = (parts_of[0][key], parts_of[1][key])
            titles[key] = title if taken[title] == 1 else (title[0], with_settings(title[1], [f"#{key[:6]}"]))
    return titles


def _reference_name(arms: Sequence[Arm], title: str, warnings: list[str]) -> str:
    named = Counter(str(record.get("reference") or "max") for arm in arms for record in arm.records.values())
    chosen = min(named, key=lambda name: (-named[name], name))
    if len(named) > 1:
        warnings.append(f"{title}: records name different references ({', '.join(sorted(named))}); {chosen} is taken")
    return chosen


def recipe(arm: Arm) -> Settings:
    """Return the settings that belong to the block and not to the arm: protocol, trainer, device."""
    return {key: value for key, value in arm.settings.items() if key.partition(".")[0] in RECIPE_GROUPS}


def _choose_references(block: Block, warnings: list[str]) -> None:
    """Give each arm the arm to compare it with: the block's reference, trained by the arm's own recipe if there are
    several.
    """
    candidates = [arm for arm in block.arms if block.reference in (arm.plain, arm.variant)]
    finished = [arm for arm in candidates if arm.finished]
    if not finished:
        if any(arm.finished for arm in block.arms):
            warnings.append(
                f"{block.title}: no finished cell of the reference {block.reference}, so there are no differences"
            )
        return
    if len(finished) > 1:
        warnings.append(
            f"{block.title}: {len(finished)} arms are named {block.reference}; each arm is compared with the one of "
            "its own recipe (protocol, trainer, device), named in the column `reference` of accuracy.csv"
        )
    for arm in block.arms:
        if arm in finished:
            arm.reference = arm
            continue
        # Fewest differing recipe settings, then fewest differing heads and the like, then by name.
        arm.reference = min(
            finished,
            key=lambda other: (
                len(differing([recipe(arm), recipe(other)])),
                len(differing([arm.settings, other.settings])),
                other.variant,
                other.arm_id,
            ),
        )


def _find_identical(arms: Sequence[Arm]) -> None:
    """Name for each arm the others that are the same network trained by the same recipe."""
    sharing: dict[Hashable, list[Arm]] = defaultdict(list)
    for arm in arms:
        digests = frozenset(section(record, "audit").get("network_digest") for record in arm.finished.values())
        if digests and None not in digests:
            sharing[digests, tuple(sorted(recipe(arm).items()))].append(arm)
    for same in sharing.values():
        for arm in same:
            arm.identical = [other.variant for other in same if other is not arm]


def listed(seeds: Sequence[int]) -> str:
    """Return whole numbers in words, runs of them shortened.

    >>> listed([0, 1, 2, 5, 7, 8])
    '0–2, 5, 7, 8'
    """
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
