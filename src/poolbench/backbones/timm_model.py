"""Any network of timm's, by name."""

from typing import Any

from torch import nn

from poolbench.backbones.starting_weights import ATTRIBUTE, StartingWeights, start_from_file
from poolbench.backbones.stems import PUBLISHED, put_stem
from poolbench.backbones.torchvision_model import unknown_model
from poolbench.backbones.weight_files import DEFAULT, weights_path
from poolbench.errors import ConfigurationError, DataError


def timm_model(
    model: str | None,
    in_channels: int,
    num_classes: int,
    weights: str | None = None,
    stem: str = PUBLISHED,
    **options: Any,
) -> nn.Module:
    """Return a network of timm's, which the extra `timm` installs.

    Args:
        model: its name, as `timm.list_models` has it.
        in_channels: channels of an image.
        num_classes: number of classes.
        weights: None: drawn; `"DEFAULT"`: timm's own, downloaded; else a path of a file that torch.save wrote.
        stem: `"published"`, or `"small"` for images of about 32x32, see `stems`.
        options: further arguments of `timm.create_model`.

    Raises:
        ConfigurationError: timm is not installed, or there is no such network or argument.
        DataError: the weights cannot be had.
    """
    try:
        import timm
    except ImportError as error:
        raise ConfigurationError(
            "`backbone=timm` needs timm, which is not installed: pip install '.[timm]' in its checkout"
        ) from error
    names = timm.list_models()
    if model is None or model not in names:
        raise unknown_model("timm", model, names)
    path = None if weights is None else weights_path(weights, [DEFAULT], of=f"timm's {model}")
    trained = weights is not None and path is None
    try:
        network: Any = timm.create_model(
            model, pretrained=trained, in_chans=in_channels, num_classes=num_classes, **options
        )
    except Exception as error:
        if not trained:
            raise
        raise DataError(
            f"`backbone.weights`: those of {model} cannot be downloaded ({type(error).__name__}: {error}); give the "
            "path of a file of them as backbone.weights"
        ) from error
    made = {id(parameter) for parameter in network.parameters()}
    put_stem(network, model, stem)
    if trained:
        # timm itself leaves the classifier out where the number of classes is another one.
        written = network.pretrained_cfg
        classifier = written.get("classifier") or ()
        heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
        drawn = heads if num_classes != written.get("num_classes") else ()
        there = {name: id(one) in made and not name.startswith(drawn) for name, one in network.named_parameters()}
        loaded = tuple(name for name, is_loaded in there.items() if is_loaded)
        left_out = tuple(name for name, is_loaded in there.items() if not is_loaded)
        setattr(network, ATTRIBUTE, StartingWeights(f"timm {model}", loaded, left_out))
    elif path is not None:
        start_from_file(network, path)
    return network
