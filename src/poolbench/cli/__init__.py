"""The command `poolbench`. Nothing here imports torch before it is sure that it will be needed."""

import argparse
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import version

from poolbench.cli import (
    bench,
    choices,
    completion,
    cost,
    dashboard,
    evaluate,
    export,
    inspect,
    power,
    report,
    serve,
    status,
    train,
    wandb_sweep,
    wandb_sync,
    work,
)
from poolbench.cli.mirrored import is_override
from poolbench.errors import ConfigurationError
from poolbench.output import lasting_output

DESCRIPTION = "Which pooling should this network use, and how sure are we?"
EXAMPLES = """examples:
  poolbench train backbone=slides pooling=avg_topk dataset=digits seed=0
  poolbench train -m backbone=slides,lenet5 pooling='glob(*)' dataset=digits seed='range(0,5)'
  poolbench train experiment=quickstart     a whole named sweep
  poolbench status results/quickstart       how many cells are done, running, waiting, failed
  poolbench work results/quickstart         start one more worker, on any machine that sees the folder
  poolbench report results/quickstart       tables and figures from its records
  poolbench serve results                   show the pages of all experiments in the browser
  poolbench power experiment=quickstart     before the runs: how many seeds and images are needed
  poolbench inspect backbone=torchvision backbone.model=resnet50 pooling=avg   which layers are replaced
  poolbench cost backbone=slides pooling=max,avg,lip                           parameters, work, memory
  poolbench bench                           speed and memory of operators, against torch's own
  poolbench list pooling                    all choices of a group, a line each

exit status: 0 success; 1 a cell failed (the others finished), or test or export found a difference; 2 wrong usage"""

COMMANDS = (
    *(train, status, work, report, serve, power, inspect, cost, bench, choices, evaluate, export),
    *(dashboard, wandb_sync, wandb_sweep, completion),
)
WITH_OVERRIDES: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train.train,
    "inspect": inspect.inspect,
    "cost": cost.cost,
    "wandb-sweep": wandb_sweep.wandb_sweep,
}


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(
        prog="poolbench",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"poolbench {version('poolbench')}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_to(commands)
    for own in commands.choices.values():
        own.set_defaults(parser=own)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    with lasting_output():
        return _answered(list(sys.argv[1:] if argv is None else argv))


def _answered(arguments: list[str]) -> int:
    try:
        if arguments[:1] and arguments[0] in WITH_OVERRIDES and not {"-h", "--help"} & set(arguments[1:]):
            # What follows is Hydra's, in part: argparse would reject its flags.
            return WITH_OVERRIDES[arguments[0]](arguments[1:])
        # Overrides may stand anywhere among flags, which argparse takes in one order alone.
        overrides = [word for word in arguments[1:] if is_override(word)] if arguments[:1] == ["report"] else []
        known, unknown = parser().parse_known_args([word for word in arguments if word not in overrides])
        if unknown:  # the usage of the command names its flags, that of all commands none
            known.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        known.loggers = overrides
        return known.run(known)
    except ConfigurationError as error:
        print(f"poolbench: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("poolbench: ended by SIGINT", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception:  # status 1 says that a cell failed or a check found a difference, and nothing else
        traceback.print_exc()
        print("poolbench: error: this is a bug in poolbench; the traceback above shows where", file=sys.stderr)
        return 2
