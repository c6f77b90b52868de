"""Trained weights that a network starts from: which of them were loaded, and which survive the surgery."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.backbones.weight_files import digest_of
from poolbench.errors import ConfigurationError, DataError

ATTRIBUTE = "starting_weights"


@dataclass(frozen=True)
class StartingWeights:
    """What was loaded into a network.

    Args:
        source: the name of the weights, or of their file.
        loaded: names of the parameters and buffers that have the file's values.
        left_out: names of those that the file has not, or in another shape: they start as without it.
        unplaced: names of the file's tensors that the network has not, or in another shape.
        digest: of the file's content; "" where they were downloaded by their name.
    """

    source: str
    loaded: tuple[str, ...]
    left_out: tuple[str, ...]
    unplaced: tuple[str, ...] = ()
    digest: str = ""

    def kept(self, before: Mapping[str, Tensor], network: nn.Module) -> dict[str, Any]:
        """Return what the audit says of them.

        Args:
            before: the parameters of the network before the surgery, by name.
            network: after it; what survived is the same object, whatever it is called now.
        """
        now = {id(parameter) for parameter in network.parameters()}
        loaded = {name: before[name] for name in self.loaded if name in before}
        lost = [name for name, parameter in loaded.items() if id(parameter) not in now]
        return {
            "source": self.source,
            "loaded": sum(parameter.numel() for parameter in loaded.values()),
            "kept": sum(parameter.numel() for name, parameter in loaded.items() if name not in lost),
            "exchanged": lost,
            "left_out": list(self.left_out),
            "unplaced": list(self.unplaced),
            **({"digest": self.digest} if self.digest else {}),
        }


def starting_weights(network: nn.Module) -> StartingWeights | None:
    """Return what was loaded into a network, None where nothing was."""
    found = getattr(network, ATTRIBUTE, None)
    return found if isinstance(found, StartingWeights) else None


def start_from(network: nn.Module, weights: Mapping[str, Tensor], source: str, digest: str = "") -> None:
    """Load `weights` wherever name and shape agree, and remember it on the network.

    Raises:
        ConfigurationError: not one of them fits.
    """
    own = network.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not any(value.is_floating_point() for value in fitting.values()):
        raise ConfigurationError(
            f"`backbone.weights`: nothing in {source} fits the network, be it by name or by shape: it holds "
            f"{_some(weights)}, the network has {_some(own)}"
        )
    network.load_state_dict(fitting, strict=False)
    left_out, unplaced = (tuple(name for name in names if name not in fitting) for names in (own, weights))
    setattr(network, ATTRIBUTE, StartingWeights(source, tuple(fitting), left_out, unplaced, digest))


def start_from_file(network: nn.Module, path: Path) -> None:
    """Load the weights of a file, as `start_from` does.

    Raises:
        ConfigurationError: not one of them fits.
        DataError: there is no such file, or it holds something else.
    """
    weights, digest = weights_in(path)
    start_from(network, weights, str(path), digest)


def _some(names: Iterable[str], most: int = 3) -> str:
    found = list(names)
    return ", ".join(found[:most]) + (", …" if len(found) > most else "")


def weights_in(path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a file by name, and the digest of its content.

    It holds a state_dict as torch.save wrote it, or one under `state_dict`.

    Raises:
        DataError: there is no such file, or it holds something else.
    """
    try:
        with path.open("rb") as file:
            digest = digest_of(file)
            file.seek(0)
            found = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise DataError(f"`backbone.weights`: {path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # torch raises what its readers make of another kind of file
        raise DataError(f"`backbone.weights`: {path} is no file of weights that torch.save wrote") from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise DataError(f"`backbone.weights`: {path} must hold a state_dict, tensors by name")
    return {str(name): value for name, value in found.items()}, digest
