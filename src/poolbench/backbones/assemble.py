"""Surgery: a variant's operators into a network's sites, its head before the classifier, everything checked.

The network is built in its published form from one random stream, and only what is new draws from streams of its own
name: so two arms with the same seed start from equal values wherever both have the parameter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.backbones.anatomy import Anatomy, anatomy_of, first_linear
from poolbench.backbones.digest import network_digest
from poolbench.backbones.site import GEOMETRY, Site, site_of
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.spec import TARGET, build, locate
from poolbench.streams import drawing

Spec = Mapping[str, Any]
# What fills the sites of a variant that leaves the slot out.
REFERENCE: Spec = {TARGET: "poolbench.pooling.MaxPool2d"}
SHOWN_NOT = frozenset({TARGET, "name"})


@dataclass
class Assembled:
    """A network with a variant in it, and what was done to it.

    Args:
        network: images (B, C, H, W) → logits (B, num_classes).
        sites: a row for each site, in the order of the forward pass.
        head: what stands between the last map and the classifier.
        operators: the variant's modules inside the network.
        again: builds the same network for another seed.
    """

    network: nn.Module
    sites: list[dict[str, Any]]
    head: dict[str, Any]
    operators: list[nn.Module] = field(repr=False)
    again: Callable[[int], "Assembled"] = field(repr=False)
    input_shape: tuple[int, int, int] = (3, 32, 32)

    @property
    def parameters_pooling(self) -> int:
        """Parameters of the operators: none where a network's own strided convolution is left as it was."""
        return sum(p.numel() for operator in self.operators for p in operator.parameters())

    def audit(self) -> dict[str, Any]:
        """Return sites, head and the network's digest, equal for two networks that are the same function."""
        digest = network_digest(self.again(0).network, self.input_shape)
        return {"sites": self.sites, "head": self.head, "network_digest": digest}


def assemble(
    backbone: Spec,
    pooling: Spec,
    head: Spec | None = None,
    *,
    in_channels: int,
    image_size: tuple[int, int],
    num_classes: int,
    seed: int,
) -> Assembled:
    """Build `backbone` with the variant `pooling` in it.

    Args:
        backbone: specification of a network; its constructor may take `in_channels`, `num_classes`, `image_size`.
        pooling: the variant: specifications `downsample` (of a window operator, for every site) and `head`; a slot
            that is null has the reference's filling, max pooling and the network's own head.
        head: specification of a head that goes before the variant's.
        in_channels: channels of an image.
        image_size: (H, W) of an image.
        num_classes: width of the logits.
        seed: for the starting weights.

    Raises:
        ConfigurationError: a name or argument is wrong.
        UnsupportedError: the parts do not fit together for images of this size; site, sizes and rule are named.
    """
    name = str(backbone.get("name", "backbone"))
    shape = (in_channels, *image_size)
    context = {"in_channels": in_channels, "num_classes": num_classes, "image_size": image_size}
    with drawing(seed, "backbone"):
        network = build(_arguments(backbone), context, where="backbone")
    if not isinstance(network, nn.Module):
        raise ConfigurationError(f"`backbone` ({backbone[TARGET]}) must be a torch.nn.Module, got {type(network)}")
    anatomy = anatomy_of(network)
    native = _trace(network, anatomy, shape, name)
    operators: list[nn.Module] = []
    sites = _fill_sites(network, anatomy, pooling.get("downsample"), native, seed, operators, name)
    chosen = head or pooling.get("head")
    described = _fill_head(network, anatomy, chosen, native, num_classes, seed, operators, name)
    _check(network, sites, shape, num_classes, name)
    again = partial(_again, backbone, pooling, head, in_channels, image_size, num_classes)
    return Assembled(network.train(), sites, described, operators, again, shape)


def _again(
    backbone: Spec, pooling: Spec, head: Spec | None, in_channels: int, size: tuple[int, int], classes: int, seed: int
) -> Assembled:
    return assemble(backbone, pooling, head, in_channels=in_channels, image_size=size, num_classes=classes, seed=seed)


def _arguments(spec: Spec) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key != "name"}


@dataclass
class _Trace:
    """Shapes (C, H, W) seen in a forward pass: into and out of each site, and into the head."""

    into: dict[str, tuple[int, ...]] = field(default_factory=dict)
    out: dict[str, tuple[int, ...]] = field(default_factory=dict)


def _trace(network: nn.Module, anatomy: Anatomy, shape: tuple[int, int, int], name: str) -> _Trace:
    """Pass a batch of zeros through the network as it was built, and note shapes."""
    trace = _Trace()
    reached = ["its input"]
    modules = dict(network.named_modules())
    wanted = [*anatomy.sites, *([anatomy.head] if anatomy.head else [])]
    for missing in (part for part in [*wanted, anatomy.classifier] if part and part not in modules):
        raise ConfigurationError(f"`backbone`: its anatomy names {missing!r}, but {name} has no such module")

    def enter(part: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor):
            reached[0] = f"{part} ({type(module).__name__}, map {_size(inputs[0].shape[1:])})"
            if part in wanted:
                trace.into[part] = tuple(inputs[0].shape[1:])

    def leave(part: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            trace.out[part] = tuple(output.shape[1:])

    hooks = [module.register_forward_pre_hook(partial(enter, part)) for part, module in modules.items() if part]
    hooks += [modules[part].register_forward_hook(partial(leave, part)) for part in wanted]
    try:
        _forward(network, shape)
    except UnsupportedError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        raise UnsupportedError(
            f"{name} cannot serve images of {shape[1]}x{shape[2]} with {shape[0]} channels: at {reached[0]}: {error}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    for part in wanted:
        if part not in trace.into:
            raise ConfigurationError(f"`backbone`: {name} does not pass through {part!r}, which its anatomy names")
    return trace


@torch.no_grad()
def _forward(network: nn.Module, shape: tuple[int, ...]) -> Tensor:
    was_training = network.training
    try:
        return network.eval()(torch.zeros(2, *shape))
    finally:
        network.train(was_training)


def _fill_sites(
    network: nn.Module,
    anatomy: Anatomy,
    spec: Spec | None,
    native: _Trace,
    seed: int,
    operators: list[nn.Module],
    name: str,
) -> list[dict[str, Any]]:
    if spec is not None and not anatomy.sites:
        raise UnsupportedError(f"`pooling.downsample`: {name} has no site to act on: nowhere does it reduce resolution")
    chosen = spec or REFERENCE
    keeps = getattr(locate(chosen.get(TARGET, "")), "is_convolution", False)
    rows = []
    for part in anatomy.sites:
        module = network.get_submodule(part)
        site = site_of(part, module, native.into[part], native.out[part])
        row = {
            "name": part,
            "native": type(module).__name__,
            "input_shape": list(native.into[part]),
            "output_shape": list(native.out[part]),
        }
        if site.strided and keeps:
            rows.append(row | {"operator": row["native"], "arguments": "", "geometry": "equal"} | site.geometry())
            continue
        operator = _operator(chosen, site, seed)
        operators.append(operator)
        _replace(network, part, site.with_operator(module, operator))
        own = {key: chosen[key] for key in GEOMETRY if key in chosen}
        rows.append(
            row
            | {
                "operator": type(operator).__name__,
                "arguments": _shown(chosen, without=GEOMETRY),
                "geometry": "own" if own else "equal",
            }
            | site.geometry(own)
        )
    return rows


def _operator(spec: Spec, site: Site, seed: int) -> nn.Module:
    with drawing(seed, "site", site.name):
        operator = build(_arguments(spec), site.context(), where=f"pooling.downsample at site {site.name}")
    if not isinstance(operator, nn.Module) or getattr(operator, "kind", "window") != "window":
        raise ConfigurationError(
            f"`pooling.downsample` ({spec[TARGET]}) must be a window operator, which takes kernel_size and stride; "
            f"got {type(operator).__name__}"
        )
    return operator


def _fill_head(
    network: nn.Module,
    anatomy: Anatomy,
    spec: Spec | None,
    native: _Trace,
    num_classes: int,
    seed: int,
    operators: list[nn.Module],
    name: str,
) -> dict[str, Any]:
    if anatomy.head is None:
        if spec is not None:
            raise UnsupportedError(
                f"`pooling.head`: {name} has no head to act on: no module named head, avgpool or global_pool stands "
                "before its classifier"
            )
        return {"native": "", "operator": "", "arguments": "", "features": None, "gives_logits": False}
    module = network.get_submodule(anatomy.head)
    channels, *size = native.into[anatomy.head]
    row = {"native": type(module).__name__, "arguments": "", "gives_logits": False}
    if spec is None:
        return row | {"operator": type(module).__name__, "features": _width(native.out[anatomy.head])}
    context = {"channels": channels, "num_classes": num_classes, "map_size": tuple(size)}
    with drawing(seed, "head"):
        head = build(_arguments(spec), context, where="pooling.head")
    if not isinstance(head, nn.Module) or getattr(head, "kind", "head") != "head":
        raise ConfigurationError(
            f"`pooling.head` ({spec[TARGET]}) must take the whole map (B, C, H, W) to features (B, F), "
            f"got {type(head).__name__}"
        )
    try:
        features = _forward(head, native.into[anatomy.head])
    except (RuntimeError, ValueError) as error:
        raise UnsupportedError(
            f"`pooling.head` ({type(head).__name__}) cannot pool the last map {_size(native.into[anatomy.head])} of "
            f"{name}: {error}"
        ) from error
    if features.ndim != 2:
        raise ConfigurationError(
            f"`pooling.head` ({spec[TARGET]}) must give features (B, F), got shape {tuple(features.shape)} "
            f"for a batch of 2"
        )
    logits = bool(getattr(head, "gives_logits", False))
    _replace(network, anatomy.head, head)
    operators.append(head)
    _fit_classifier(network, anatomy, features.shape[1], num_classes, seed, type(head).__name__, name, logits=logits)
    return row | {
        "operator": type(head).__name__,
        "arguments": _shown(spec),
        "features": features.shape[1],
        "gives_logits": logits,
    }


def _fit_classifier(
    network: nn.Module,
    anatomy: Anatomy,
    width: int,
    num_classes: int,
    seed: int,
    head: str,
    name: str,
    *,
    logits: bool,
) -> None:
    """Let the classifier's first layer follow the head's width; a bias whose shape survives is kept."""
    if logits and anatomy.classifier:
        _replace(network, anatomy.classifier, nn.Identity())
        return
    if anatomy.classifier is None:
        if width != num_classes:
            raise UnsupportedError(
                f"`pooling.head` ({head}) gives {width} features, but {name} pools its {num_classes} class maps "
                f"straight to the logits: there the head must keep the width, {num_classes}"
            )
        return
    found = first_linear(network.get_submodule(anatomy.classifier))
    if found is None:
        raise ConfigurationError(f"`backbone`: the classifier {anatomy.classifier!r} of {name} holds no nn.Linear")
    inner, old = found
    if old.in_features == width:
        return
    part = ".".join(filter(None, (anatomy.classifier, inner)))
    with drawing(seed, "weight", f"{part}.weight", f"{old.out_features}x{width}"):
        new = nn.Linear(width, old.out_features, bias=old.bias is not None)
    if old.bias is not None:
        new.bias = old.bias
    _replace(network, part, new)


def _check(
    network: nn.Module, sites: list[dict[str, Any]], shape: tuple[int, int, int], num_classes: int, name: str
) -> None:
    """Pass a batch of zeros through the finished network: every site's output has the shape it had."""
    reached = ["its input"]

    def leave(row: dict[str, Any], module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        if list(output.shape[1:]) != row["output_shape"]:
            raise UnsupportedError(
                f"site {row['name']} of {name}: {row['operator']} makes {_size(output.shape[1:])} of "
                f"{_size(row['input_shape'])}, but every operator must give {_size(row['output_shape'])} there "
                f"(kernel {row['kernel_size']}, stride {row['stride']}, padding {row['padding']}, "
                f"ceil_mode {row['ceil_mode']})"
            )

    def enter(part: str, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        reached[0] = f"{part} ({type(module).__name__})"

    modules = dict(network.named_modules())
    hooks = [module.register_forward_pre_hook(partial(enter, part)) for part, module in modules.items() if part]
    hooks += [modules[row["name"]].register_forward_hook(partial(leave, row)) for row in sites]
    try:
        logits = _forward(network, shape)
    except UnsupportedError:
        raise
    except Exception as error:  # an operator of the user's may raise anything
        raise UnsupportedError(
            f"{name} does not run on images of {shape[1]}x{shape[2]}: at {reached[0]}: {type(error).__name__}: {error}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if tuple(logits.shape) != (2, num_classes):
        raise UnsupportedError(
            f"{name} gives {tuple(logits.shape[1:])} for an image, but there are {num_classes} classes"
        )


def _replace(network: nn.Module, part: str, module: nn.Module) -> None:
    parent, _, child = part.rpartition(".")
    setattr(network.get_submodule(parent), child, module)


def _shown(spec: Spec, without: tuple[str, ...] = ()) -> str:
    return ", ".join(f"{key}={value}" for key, value in spec.items() if key not in SHOWN_NOT and key not in without)


def _size(shape: Any) -> str:
    return "x".join(map(str, shape))


def _width(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
