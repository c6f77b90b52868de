"""Networks for sequences: what is a map there, and which form of an operator it takes.

An operator is chosen by the name of its 2-D form. Where a network pools sequences (C, L), its 1-D form stands there:
the class of the same name with `1d` in the place of `2d`, which lies beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from poolbench.backbones.construct import Spec
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.spec import TARGET, locate

WINDOWS = (nn.MaxPool2d, nn.AvgPool2d, nn.MaxPool1d, nn.AvgPool1d)
CONVOLUTIONS = (nn.Conv2d, nn.Conv1d)
LINEAR_OR_CONVOLUTION = (nn.Linear, *CONVOLUTIONS)
TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose1d)
MAPS = {1: "sequences (C, L)", 2: "maps (C, H, W)"}


def is_map(shape: Sequence[int], spatial: int) -> bool:
    """Whether a shape without its batch is that of a map, not of features or tokens.

    `spatial` is the number of dimensions in which the network's examples extend: (N, C) are tokens in a network for
    images, and (C, L) is a map in one for sequences.
    """
    return len(shape) == 3 or (len(shape) == 2 and spatial == 1)


def places_of(shape: Sequence[int], spatial: int) -> int:
    """Return the number of places of a map, 1 of features.

    >>> places_of((16, 8, 8), 2), places_of((49, 768), 2), places_of((16, 100), 1)
    (64, 1, 100)
    """
    if not is_map(shape, spatial):
        return 1
    return shape[1] * shape[2] if len(shape) == 3 else shape[1]


def form_for(spec: Spec, spatial: int, *, where: str, place: str) -> Spec:
    """Return the specification of the form of an operator that takes maps of so many dimensions.

    A class that says nothing of dimensions (no `spatial`, no `2d` or `1d` in its name) takes what it is given. What a
    specification has for arguments that are poolings themselves follows.

    Args:
        spec: of a window operator or a head.
        spatial: 2 for maps (C, H, W), 1 for sequences (C, L).
        where: names the slot, `pooling.downsample`, for a message.
        place: names the site or head there.

    Raises:
        UnsupportedError: it has no such form.

    >>> form_for({"_target_": "poolbench.pooling.MaxPool2d"}, 1, where="pooling.downsample", place="site pool1")
    {'_target_': 'poolbench.pooling.MaxPool1d'}
    """
    target = _named(str(spec[TARGET]), spatial, where=where, place=place)
    return {TARGET: target} | {
        key: form_for(value, spatial, where=f"{where}.{key}", place=place) if _is_spec(value) else value
        for key, value in spec.items()
        if key != TARGET
    }


def _is_spec(value: Any) -> bool:
    return isinstance(value, Mapping) and TARGET in value


def _named(path: str, spatial: int, *, where: str, place: str) -> str:
    """Return the dotted path of the form that is wanted, beside the one that is named."""
    module, _, name = path.rpartition(".")
    own = _dimensions(path)
    if own is None or own == spatial:
        return path
    if own == 1:
        raise UnsupportedError(
            f"`{where}` ({path}) takes {MAPS[own]}, but {place} is given {MAPS[spatial]}: name its 2-D form, whose 1-D "
            "form is taken where a network pools sequences"
        )
    form = f"{module}.{name.replace('2d', '1d')}" if "2d" in name else f"{path}1d"
    try:
        locate(form)
    except ConfigurationError:
        raise UnsupportedError(
            f"`{where}` ({path}) has no 1-D form, and {place} is given {MAPS[spatial]}: there is no {form}"
        ) from None
    return form


def _dimensions(path: str) -> int | None:
    """Return for maps of how many dimensions a class is, None where it does not say."""
    said = getattr(locate(path), "spatial", None)
    if said in (1, 2):
        return int(said)
    name = path.rpartition(".")[2]
    return 2 if "2d" in name else 1 if "1d" in name else None
