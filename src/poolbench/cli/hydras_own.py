"""Hydra's own answers (`--cfg`, `--info`, completion): run as a program, whose arguments are Hydra's."""

from typing import Any

from poolbench.paths import conf_dir


def main() -> None:
    """Hand the program's arguments whole to Hydra."""
    import hydra

    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(_no_task)()


def _no_task(config: Any) -> None:
    raise SystemExit("a configuration was asked for, not a run")


if __name__ == "__main__":
    main()
