"""Hydra's overrides in, composed configurations out: what every command that takes overrides begins with.

Only Hydra's compose API is used: it gives jobs, choices, sources and globs. Nothing of it is left when the jobs are
there: they hold plain values.
"""

import copy
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from poolbench.cli import choices
from poolbench.cli.command_line import CONFIG_DIR, CONFIG_NAME, CONFIG_PATH, CommandLine
from poolbench.cli.mistakes import SEARCH_PATH, check_added, check_hydras, unreadable, with_near_name
from poolbench.cli.task_overrides import with_task
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.folders import require_folder
from poolbench.paths import conf_dir
from poolbench.record import GROUPS

SEED = "seed"
# What a cell is made of: of a job in which one of these is looked up elsewhere, the overrides do not say what it is.
OF_A_CELL = (*GROUPS, SEED, "match", "reference", "resample")

# Who else gives a job's sources: Hydra's own configuration, its classes.
HYDRAS_OWN = ("hydra", "schema")
PLAIN_SEED = re.compile(rf"{SEED}=(0|[1-9]\d*)")

EXPERIMENT = "experiment"
# Further mappings like PARAMS, each swept over together with it: the sweep is the union.
GRIDS = "grids"


@dataclass(frozen=True)
class Job:
    """One job of a sweep, composed; plain values alone.

    Args:
        config: the configuration, its interpolations resolved.
        overrides: what it was composed with.
        choices: the chosen YAML of each group, None where none is.
        folders: where the YAML files were looked for, the first one first.
        interpolated: keys of the configuration in which something was looked up elsewhere.
        is_from_files: whether all of it comes from YAML files in `folders`.
    """

    config: Mapping[str, Any]
    overrides: tuple[str, ...]
    choices: Mapping[str, str | None]
    folders: tuple[Path, ...]
    interpolated: frozenset[str] = frozenset()
    is_from_files: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether the same files and overrides give the same cell again."""
        return self.is_from_files and self.interpolated.isdisjoint(OF_A_CELL)

    def with_seed(self, seed: int) -> "Job":
        """Return the job of another seed: of one in which nothing was looked up, nothing but the seed is another."""
        overrides = [f"{SEED}={seed}" if _key(override) == SEED else override for override in self.overrides]
        return replace(self, config=copy.deepcopy(dict(self.config)) | {SEED: seed}, overrides=tuple(overrides))


def compose(line: CommandLine) -> list[Job]:
    """Return every job that the overrides ask for, an experiment's `hydra.sweeper.params` narrowed by them.

    Raises:
        ConfigurationError: whatever is wrong in the overrides or in the YAML files.
    """
    with composing(line) as composer:
        return [composer.job(overrides) for overrides in composer.overrides]


def of_experiment(line: CommandLine) -> list[Job]:
    """Return the jobs of the line's experiment as its YAML has them, whatever the line narrows or sets beside."""
    kept = tuple(override for override in line.overrides if _key(override) in (EXPERIMENT, SEARCH_PATH))
    return compose(replace(line, overrides=kept)) if any(_key(one) == EXPERIMENT for one in kept) else []


@contextmanager
def composing(line: CommandLine) -> Iterator["Composer"]:
    """Give what composes the jobs that the overrides ask for, one by one; raises what `compose` raises."""
    further = [require_folder(line.config_dir, CONFIG_DIR)] if line.config_dir else []
    if (path := line.value(CONFIG_PATH)) is not None:
        further.append(require_folder(path, CONFIG_PATH))
    if not any(override.lstrip("+").startswith(SEARCH_PATH) for override in line.overrides):
        choices.check(line.overrides, further)
    # A mistake in the names is reported before Hydra is loaded.
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    try:
        with _loader(line) as loader:
            yield Composer.of(loader, line)
    except ConfigurationError:
        raise
    except OverrideParseException as error:
        raise ConfigurationError(unreadable(str(error.override), error)) from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ConfigurationError(_in_a_line(error)) from error


@dataclass(frozen=True)
class Composer:
    """What a command line asks of Hydra, expanded into jobs that are not composed yet.

    Args:
        line: the command line.
        name: the primary configuration's.
        of_all: overrides of every job: where YAML files are looked for.
        overrides: each job's own.
        grids: those whose union the jobs are: for each key that is given, the overrides that it is swept over.
        constant: jobs in which nothing was looked up elsewhere, by their overrides without the seed.
    """

    line: CommandLine
    name: str
    of_all: tuple[str, ...]
    overrides: tuple[tuple[str, ...], ...]
    grids: tuple[Mapping[str, Sequence[str]], ...] = ()
    constant: dict[tuple[str, ...], Job] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, loader: Any, line: CommandLine) -> "Composer":
        """Expand what a command line asks for."""
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.types import RunMode

        name = line.value(CONFIG_NAME) or "config"
        given = _with_config_dir(line)
        parsed = OverridesParser.create().parse_overrides(given)
        for override in parsed:
            check_hydras(override)
            if override.key_or_group == EXPERIMENT and override.is_sweep_override():
                raise ConfigurationError(
                    f"`{EXPERIMENT}` takes one name at a time, got {override.input_line}: what each sweeps over would "
                    "be lost; give one command for each"
                )
        try:
            whole = loader.load_configuration(name, given, RunMode.MULTIRUN)
        except Exception as error:
            raise with_near_name(error, name, given) from error
        if name == "config" and line.value(CONFIG_PATH) is None:
            check_added(parsed, whole)
        of_all = _raw(whole.hydra.overrides.hydra)
        globbing: Any = _Globbing(loader, name, of_all)
        parser = OverridesParser.create(config_loader=globbing)
        # As they were written: what is interpolated is looked up in each job.
        params, task = _as_overrides(_raw(whole.hydra.sweeper.params) or {}), _raw(whole.hydra.overrides.task)
        jobs: dict[tuple[str, ...], None] = {}
        grids: list[dict[str, list[str]]] = []
        for grid in _grids(whole.get(GRIDS)):
            choices.check([override for override in _as_overrides(grid) if override.endswith("=null")])
            swept = parser.parse_overrides([*params, *_as_overrides(grid), *task])
            grids.append(_values(swept))
            jobs.update(dict.fromkeys(itertools.product(*grids[-1].values())))
        return cls(line, name, tuple(of_all), tuple(jobs), tuple(grids))

    def job(self, overrides: Sequence[str]) -> Job:
        """Compose one job; raises what Hydra raises, which `composing` turns into a `ConfigurationError`.

        Hydra takes a tenth of a second. A job that is an earlier one with another seed is made of that one.
        """
        others = tuple(override for override in overrides if _key(override) != SEED)
        plain = PLAIN_SEED.fullmatch(" ".join(override for override in overrides if _key(override) == SEED))
        if plain and others in self.constant:
            return self.constant[others].with_seed(int(plain[1]))
        made = _composed(self.name, list(self.of_all), list(overrides))
        if plain and not made.interpolated:
            self.constant[others] = made
        return made


def _key(override: str) -> str:
    """Return the key of `KEY=VALUE`, `+KEY=VALUE`, `++KEY=VALUE` or `~KEY`."""
    return override.lstrip("+~").partition("=")[0]


def _raw(config: Any) -> Any:
    """Return a part of Hydra's own configuration as plain values, with nothing resolved in them."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=False) if OmegaConf.is_config(config) else config


def _as_overrides(params: Mapping[str, Any]) -> list[str]:
    """Return what a mapping sweeps over as overrides, written as on the command line."""
    return with_task([f"{key}={_as_value(value)}" for key, value in params.items()])


def _as_value(value: Any) -> str:
    """Return a YAML's value as an override has it.

    >>> _as_value(None), _as_value(True), _as_value("max,avg"), _as_value(0.5)
    ('null', 'true', 'max,avg', '0.5')
    """
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _grids(value: Any) -> list[Mapping[str, Any]]:
    """Return the grids whose union is swept over; without any, one that adds nothing."""
    grids = _raw(value)
    if grids is None:
        return [{}]
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        raise ConfigurationError(
            f"`{GRIDS}` must be a list of mappings from a key to the values that it is swept over, as "
            f"hydra.sweeper.params is one, got {grids!r}"
        )
    return grids


def _in_a_line(error: Exception) -> str:
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    told = next((one for one in (error, error.__cause__) if isinstance(one, OmegaConfBaseException)), None)
    if told is None or not told.full_key:
        return " ".join(str(error).split())
    if isinstance(told, MissingMandatoryValue):
        return f"`{told.full_key}` must be given: {told.full_key}=VALUE"
    # Its further lines say how the configuration is held.
    return f"`{told.full_key}`: {str(told).splitlines()[0]}"


@contextmanager
def _loader(line: CommandLine) -> Iterator[Any]:
    """Give Hydra's loader of configurations; Hydra is as it was afterwards."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    main = Path(line.value(CONFIG_PATH) or conf_dir()).absolute()
    with initialize_config_dir(str(main), job_name="poolbench", version_base="1.3"):
        yield GlobalHydra.instance().config_loader()


def _with_config_dir(line: CommandLine) -> list[str]:
    """Return the overrides as Hydra takes them, the folder of `--config-dir` where it looks first behind its own."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = with_task(line.overrides)
    if line.config_dir is None:
        return overrides
    parsed = OverridesParser.create().parse_overrides(overrides)
    others = [override.value() for override in parsed if override.key_or_group == SEARCH_PATH]
    kept = [text for text, override in zip(overrides, parsed, strict=True) if override.key_or_group != SEARCH_PATH]
    folders = [f"file://{line.config_dir}", *(folder for value in others for folder in value)]  # type: ignore[union-attr]
    return [*kept, f"{SEARCH_PATH}=[{','.join(map(_quoted, folders))}]"]


def _quoted(text: str) -> str:
    r"""Return a text that Hydra's grammar reads as it stands.

    >>> print(_quoted("it's"))
    'it\'s'
    """
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.single).with_quotes()


class _Globbing:
    """What a glob is expanded with: the choices of a group, those of further folders too."""

    def __init__(self, loader: Any, name: str, overrides: Sequence[str]) -> None:
        self._loader, self._name, self._overrides = loader, name, list(overrides)

    def get_group_options(self, group_name: str, results_filter: Any = None) -> list[str]:
        """Return the choices of a group."""
        found = self._loader.get_group_options(group_name, results_filter, self._name, self._overrides)
        if not found:
            raise unknown_name("group", group_name, choices.GROUPS)
        return found


def _values(overrides: Sequence[Any]) -> dict[str, list[str]]:
    """Return what each key is swept over, as overrides; a later one takes the place of an earlier one."""
    found: dict[str, list[str]] = {}
    for override in overrides:
        key = override.get_key_element()
        if not override.is_sweep_override():
            found[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            found[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
            if not found[key]:
                raise ConfigurationError(f"`{override.input_line}` gives no value: there is nothing to run")
        else:
            raise ConfigurationError(
                f"`{override.input_line}`: an interval has no list of values; use range(0,5) or a,b"
            )
    return found


def _composed(name: str, of_all: list[str], overrides: list[str]) -> Job:
    from hydra import compose as hydra_compose
    from omegaconf import OmegaConf

    try:
        config = hydra_compose(name, [*of_all, *overrides], return_hydra_config=True)
    except Exception as error:
        raise with_near_name(error, name, [*of_all, *overrides]) from error
    runtime = OmegaConf.to_container(config.hydra.runtime)
    assert isinstance(runtime, dict)
    plain: dict[str, Any] = {}
    interpolated = set()
    for key in (str(key) for key in config if key != "hydra"):
        if OmegaConf.is_config(config[key]):
            plain[key] = OmegaConf.to_container(config[key], resolve=True, throw_on_missing=True)
            looked_up = plain[key] != _raw(config[key])
        else:
            plain[key] = config[key]
            looked_up = OmegaConf.is_interpolation(config, key)
        if looked_up:
            interpolated.add(key)
    return Job(
        config=plain,
        overrides=tuple(_raw(config.hydra.overrides.task)),
        choices=runtime["choices"],
        folders=tuple(Path(source["path"]) for source in runtime["config_sources"] if source["schema"] == "file"),
        interpolated=frozenset(interpolated),
        is_from_files=all(
            source["schema"] == "file" or source["provider"] in HYDRAS_OWN for source in runtime["config_sources"]
        ),
    )


def answered_by_hydra(line: CommandLine) -> int:
    """Let Hydra answer what it answers by itself (`--cfg`, `--info`, …), in a process whose command line is its own."""
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "poolbench.cli.hydras_own", *line.flags, *with_task(line.overrides)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        sys.stderr.write(done.stderr)
        sys.stdout.write(done.stdout)
        return 0
    if "Ambiguous value" in done.stderr:
        swept = next((one for one in line.overrides if f"'{one}'" in done.stderr), "a list")
        raise ConfigurationError(f"--cfg shows one job, and {swept} asks for several: give one value of the list")
    raise ConfigurationError(" ".join(done.stderr.split("\nSet the environment variable HYDRA_FULL_ERROR")[0].split()))
