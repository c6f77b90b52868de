"""Any of torchvision's classification networks, by name."""

import difflib
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
import torchvision
from torch import nn

from poolbench.backbones.starting_weights import start_from, start_from_file
from poolbench.backbones.stems import PUBLISHED, put_stem, replace_convolution
from poolbench.backbones.weight_files import DEFAULT, weights_path
from poolbench.errors import ConfigurationError, DataError

# What these build beside the network proper, for losses at its middle: the comparison has one loss.
WITHOUT_AUXILIARY = {"googlenet": {"aux_logits": False}, "inception_v3": {"aux_logits": False}}
DRAWN = {"googlenet": {"init_weights": True}, "inception_v3": {"init_weights": True}}


def torchvision_model(
    model: str | None,
    in_channels: int,
    num_classes: int,
    image_size: tuple[int, int],
    weights: str | None = None,
    stem: str = PUBLISHED,
    **options: Any,
) -> nn.Module:
    """Return a network of torchvision's.

    Args:
        model: its name, as `torchvision.models.list_models` has it.
        in_channels: channels of an image; other than 3 gives the first convolution new weights.
        num_classes: number of classes.
        image_size: (H, W), for networks that must know it.
        weights: None: drawn; `"DEFAULT"` or another name of torchvision's: downloaded, where they are not in torch's
            cache already; else a path of a file that torch.save wrote. They are loaded wherever name and shape agree:
            with 1000 classes the classifier's, too.
        stem: `"published"`, or `"small"` for images of about 32x32, see `stems`.
        options: further arguments of torchvision's constructor.

    Raises:
        ConfigurationError: there is no such network, argument or weights.
        DataError: the weights cannot be had.

    >>> sum(p.numel() for p in torchvision_model("resnet50", 3, 1000, (224, 224)).parameters())
    25557032
    """
    names = torchvision.models.list_models(module=torchvision.models)
    if model not in names:
        raise unknown_model("torchvision", model, names)
    assert model is not None
    arguments = {**WITHOUT_AUXILIARY.get(model, {}), **DRAWN.get(model, {}), **options, "num_classes": num_classes}
    if model.startswith("vit_"):
        arguments["image_size"] = image_size[0]
    elif model.startswith("maxvit"):
        arguments["input_size"] = image_size
    network = torchvision.models.get_model(model, weights=None, **arguments)
    first = first_convolution(network)
    if first is not None and network.get_submodule(first).in_channels != in_channels:
        replace_convolution(network, first, in_channels=in_channels)
    put_stem(network, model, stem)
    if weights is not None:
        _load(network, model, weights)
    return network


def first_convolution(network: nn.Module) -> str | None:
    """Return the name of a network's first convolution, None where it has none."""
    return next((name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)), None)


def unknown_model(library: str, model: str | None, known: list[str]) -> ConfigurationError:
    """Return the error for a name that a library does not know; of hundreds, only the nearest are named."""
    if model is None:
        return ConfigurationError(f"`backbone.model` must name a network of {library}'s, for example {known[0]}")
    near = difflib.get_close_matches(model, known, n=5, cutoff=0.5)
    hint = f"; did you mean {', '.join(near)}?" if near else "."
    return ConfigurationError(f"`backbone.model`: {library} knows no {model!r}{hint} It has {len(known)} networks.")


def _load(network: nn.Module, model: str, weights: str) -> None:
    kinds = torchvision.models.get_model_weights(model)
    path = weights_path(weights, [DEFAULT, *kinds.__members__], of=model)
    if path is not None:
        start_from_file(network, path)
        return
    kind = kinds[weights]
    try:
        found = dict(kind.get_state_dict(progress=False, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise DataError(
            f"`backbone.weights`: {weights} of {model} cannot be downloaded ({error}); put the file "
            f"{Path(kind.url).name} into {folder}, or give its path as backbone.weights"
        ) from error
    start_from(network, found, weights)
