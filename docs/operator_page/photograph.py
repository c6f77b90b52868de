"""What the operators make of a photograph: pooled maps for window operators, for heads the places that count."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from operator_page.catalogue import Entry
from operator_page.facts import both, geometry_of

CREDIT = (
    "The photograph is a part of [china.jpg](https://www.flickr.com/photos/danielbuechele/6061409035/) by "
    "Daniel Buechele ([danielbuechele](https://www.flickr.com/photos/danielbuechele/)), licensed under "
    "[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/), as it comes with scikit-learn; it was cut to size, and "
    "the pictures below show what operators make of it."
)
SIDE, TOP, LEFT = 192, 24, 112
# Windows of 4×4, which change more than windows of 2×2, and as large steps.
WINDOW = 4
HEAD_MAP = 24
# Between two levels of grey a value goes by this; without it, exact ties would go by a machine's last bits.
OFF_TIE = 0.0123

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Panel:
    """One picture of a row: its title and its pixels, (H, W, 3), shown enlarged to `SIDE`."""

    title: str
    pixels: Pixels


def cut_from_sample() -> Image.Image:
    """Return the part of scikit-learn's sample photograph that all pictures are made from."""
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image("china.jpg")[TOP : TOP + SIDE, LEFT : LEFT + SIDE])


def photograph(path: Path) -> Tensor:
    """Return the photograph (1, 3, 192, 192) from the file that the page shows, values from 0 to 1 in float64."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float64)
    if pixels.shape != (SIDE, SIDE, 3):
        raise ValueError(f"{path.name} must have {SIDE}x{SIDE} pixels, got {pixels.shape}")
    return torch.from_numpy(pixels / 255).permute(2, 0, 1).unsqueeze(0)


def panels(entry: Entry, photo: Tensor) -> list[Panel]:
    """Return the pictures of an operator."""
    return _window_panels(entry, photo) if entry.kind == "window" else _head_panels(entry, photo)


def how(entry: Entry) -> str:
    """Return how the pictures of a window operator were made."""
    geometry, times = _strong(entry)
    if times == 1:
        return f"in adjacent windows of {WINDOW}×{WINDOW}"
    shown = ", ".join(f"{key}={value}" for key, value in geometry.items())
    return f"twice with {shown}, as it serves no window of {WINDOW}×{WINDOW}"


def gain(entry: Entry) -> float:
    """Return by what a constant map is multiplied, where pictures are divided by it; 1 for an operator that learns."""
    geometry, times = _strong(entry)
    side = SIDE // 4
    operator = entry.built(geometry, channels=3, map_size=(side, side)).double()
    if getattr(operator, "keeps_constants", True) or next(operator.parameters(), None) is not None:
        return 1.0
    with torch.no_grad():
        found = operator(torch.ones(1, 3, side, side, dtype=torch.float64)).mean().item() ** times
    # What comes close to 1 is not worth a remark.
    return found if found > 0 and abs(found - 1) > 0.01 else 1.0


def _strong(entry: Entry) -> tuple[dict[str, Any], int]:
    geometry = geometry_of(entry, WINDOW)
    return geometry, 1 if both(geometry["stride"]) == (WINDOW, WINDOW) else 2


def _window_panels(entry: Entry, photo: Tensor) -> list[Panel]:
    geometry, times = _strong(entry)
    x = photo.clamp(min=1 / 255) if getattr(entry.target, "domain", "real") == "positive" else photo

    def pooled(seed: int, *, training: bool) -> Tensor:
        y = x
        for _ in range(times):
            operator = entry.built(geometry, channels=3, map_size=(y.shape[-2], y.shape[-1]), seed=seed)
            with torch.no_grad():
                y = operator.double().train(training)(y)
        return y / gain(entry)

    evaluated = pooled(0, training=False)
    if getattr(entry.target, "is_random", False):
        drawn = [Panel(f"training, draw {seed + 1}", pixels_of(pooled(seed, training=True))) for seed in (0, 1)]
        return [*drawn, Panel("evaluation", pixels_of(evaluated))]
    found = [Panel("pooled", pixels_of(evaluated))]
    if evaluated.shape[-2:] == (SIDE // WINDOW, SIDE // WINDOW):
        apart = evaluated - F.avg_pool2d(x, WINDOW)
        # The root lifts small differences, which else would not be seen beside large ones. Last bits are no difference.
        apart = torch.where(apart.abs() < 1e-9, 0.0, apart)
        found.append(Panel("minus the mean", pixels_of(0.5 + 0.5 * apart.sign() * apart.abs().sqrt())))
    return found


def _head_panels(entry: Entry, photo: Tensor) -> list[Panel]:
    small = F.avg_pool2d(photo, SIDE // HEAD_MAP)
    head = entry.built(channels=3, map_size=(HEAD_MAP, HEAD_MAP)).double()
    return [
        Panel(f"the map, {HEAD_MAP}×{HEAD_MAP}", pixels_of(small)),
        Panel("places that count", shades(influence(head, small))),
    ]


def influence(head: nn.Module, x: Tensor) -> Tensor:
    """Return (H, W): √(Σ (∂y/∂x)²) over all features y and the channels x of a place.

    >>> influence(nn.Flatten(), torch.ones(1, 1, 1, 2)).tolist()
    [[1.0, 1.0]]
    """
    x = x.clone().requires_grad_()
    y = head(x)[0]
    squares = torch.zeros(x.shape[-2:], dtype=x.dtype)
    for some in torch.eye(len(y), dtype=y.dtype).split(128):
        (slopes_N1CHW,) = torch.autograd.grad(y, x, some, retain_graph=True, is_grads_batched=True)
        squares += slopes_N1CHW.square().sum((0, 1, 2))
    return squares.sqrt()


def pixels_of(x: Tensor) -> Pixels:
    """Return (H, W, 3) of (1, 3, H, W): 0 is black and 1 white, what lies outside is cut off."""
    levels = (x[0].clamp(0, 1).permute(1, 2, 0) * 255 + 0.5 + OFF_TIE).floor().clamp(0, 255)
    return levels.to(torch.uint8).numpy()


def shades(weight_HW: Tensor) -> Pixels:
    """Return white for 0 up to dark blue for the largest."""
    largest = weight_HW.max()
    share = (weight_HW / largest if largest > 0 else weight_HW).sqrt().unsqueeze(-1)
    light, dark = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([0.03, 0.19, 0.42])
    return pixels_of((light + share * (dark - light)).permute(2, 0, 1).unsqueeze(0))
