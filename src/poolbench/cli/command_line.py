"""What a command that takes overrides was given: Hydra's flags and the overrides, apart."""

import argparse
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from poolbench.errors import ConfigurationError, unknown_name
from poolbench.paths import expanded

CONFIG_DIR, CONFIG_NAME, CONFIG_PATH = "--config-dir", "--config-name", "--config-path"
SHORT = {
    "-cd": CONFIG_DIR,
    "-cn": CONFIG_NAME,
    "-cp": CONFIG_PATH,
    "-c": "--cfg",
    "-p": "--package",
    "-i": "--info",
    "-sc": "--shell-completion",
    "-m": "--multirun",
    "-r": "--run",
}
WITH_VALUE = (CONFIG_DIR, CONFIG_NAME, CONFIG_PATH, "--cfg", "--package")
# What Hydra answers by itself, without any cell.
ANSWERED_BY_HYDRA = ("--cfg", "--info", "--hydra-help")
OF_AN_ANSWER = ("--resolve", "--package")
# A single cell is a sweep of one here, so these say nothing.
NEEDLESS = ("--multirun", "--run")
INFOS = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")


@dataclass(frozen=True)
class CommandLine:
    """The arguments of one command.

    Args:
        command: its name.
        flags: Hydra's flags, each with its value behind it.
        overrides: `KEY=VALUE` and the like, in their order.
    """

    command: str
    flags: tuple[str, ...]
    overrides: tuple[str, ...]

    @classmethod
    def of(cls, command: str, arguments: Sequence[str], *, own: argparse.ArgumentParser | None = None) -> "CommandLine":
        """Return the arguments sorted, wherever the flags stood; raise `ConfigurationError` for a flag that is none.

        Args:
            command: its name.
            arguments: its words, those of its own flags taken out.
            own: what took them out; a message about an unknown flag names them too.

        >>> CommandLine.of("train", ["seed=0,1", "-m", "--cfg", "job", "pooling=max"])
        CommandLine(command='train', flags=('--cfg', 'job'), overrides=('seed=0,1', 'pooling=max'))
        """
        flags: list[str] = []
        overrides: list[str] = []
        rest = list(arguments)
        while rest:
            argument = rest.pop(0)
            if not argument.startswith("-"):
                overrides.append(argument)
                continue
            flag, equals, value = argument.partition("=")
            flag = SHORT.get(flag, flag)
            if flag == "--shell-completion":
                raise ConfigurationError(
                    f"{argument} is Hydra's, which knows programs and not their commands; poolbench's own is "
                    'eval "$(poolbench completion bash)"'
                )
            if flag not in (*WITH_VALUE, *ANSWERED_BY_HYDRA, *OF_AN_ANSWER, *NEEDLESS):
                of_command = re.findall(r"--[\w-]+", own.format_usage()) if own else ()
                known = (*of_command, *WITH_VALUE, *ANSWERED_BY_HYDRA, *OF_AN_ANSWER, "--multirun")
                raise unknown_name("flag", argument, known)
            if flag in WITH_VALUE:
                if not equals and not rest:
                    raise ConfigurationError(f"{argument} needs a value")
                flags += [flag, value if equals else rest.pop(0)]
            elif flag == "--info":
                asked = value if equals else rest.pop(0) if rest and rest[0] in INFOS else "all"
                flags.append(f"--info={asked}")
            elif flag not in NEEDLESS:
                flags.append(argument if equals else flag)
            elif equals:
                raise ConfigurationError(f"{flag} takes no value, got {value!r}")
        found = cls(command, tuple(flags), tuple(overrides))
        lost = [flag for flag in OF_AN_ANSWER if flag in flags and "--cfg" not in flags]
        if lost:
            raise ConfigurationError(f"{lost[0]} goes with --cfg job, which prints the configuration")
        return found

    @property
    def is_hydras(self) -> bool:
        """Whether Hydra answers it by itself: it prints a configuration, or what completes a command."""
        return any(flag.partition("=")[0] in ANSWERED_BY_HYDRA for flag in self.flags)

    def value(self, flag: str) -> str | None:
        """Return the value of a flag, None where it was not given; the last one counts."""
        found = [value for name, value in zip(self.flags, self.flags[1:], strict=False) if name == flag]
        return found[-1] if found else None

    @property
    def config_dir(self) -> Path | None:
        """The further folder of configurations, absolute; None where none was given."""
        value = self.value(CONFIG_DIR)
        return None if value is None else expanded(value, CONFIG_DIR).absolute()

    @property
    def words(self) -> tuple[str, ...]:
        """The command as it can be given again."""
        return ("poolbench", self.command, *self.overrides, *self.flags)

    def __str__(self) -> str:
        return shlex.join(self.words)
