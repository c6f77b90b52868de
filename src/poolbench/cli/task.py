"""What Hydra calls for each job, in this process or in a worker's."""

from typing import Any

from omegaconf import DictConfig


def run_task(config: DictConfig) -> dict[str, Any]:
    """Run the job's cell and return its outcome; a cell that fails leaves a record and raises nothing."""
    from hydra.core.hydra_config import HydraConfig

    from poolbench.cli.sweep import run_job

    return run_job(config, HydraConfig.get())
