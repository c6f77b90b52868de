"""A window operator into every site of a network."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from poolbench.backbones.construct import MANY, Spec, construct, shown_arguments, takes
from poolbench.backbones.digest import Placed
from poolbench.backbones.dimensions import form_for
from poolbench.backbones.left_alone import Left
from poolbench.backbones.native import Native
from poolbench.backbones.site import GEOMETRY, Geometry, Site, site_of, usual
from poolbench.backbones.trace import calls_reached, pass_zeros, refusal, shown_size
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.spec import TARGET, locate

SLOT = "pooling.downsample"
# What fills the sites for a variant that leaves the slot out.
REFERENCE: Spec = {TARGET: "poolbench.pooling.MaxPool2d"}


def fill_sites(
    native: Native, spec: Spec | None, *, seed: int, resizes: Sequence[int] | None = None
) -> tuple[list[dict[str, Any]], list[Placed]]:
    """Put the operator of `spec` into every site; return the audit's rows and the operators in their places.

    A new operator's starting weights are drawn from (seed, "site NAME"). Where the network itself reduces by a strided
    convolution and the operator is one, the network is left as it is; where the operator names another to
    stand behind a convolution (`behind_convolution`), that one is put there.

    Every operator must give the shape that the network has at the site. With `resizes`, the shape (C, H, W) of an
    image, it may give another, which the next site is then given.

    Raises:
        ConfigurationError: an argument is wrong, or it is no window operator.
        UnsupportedError: there is no site (the reference alone is then the network as it is), or the operator does not
            fit a site's map.
    """
    if spec is not None and spec[TARGET] != REFERENCE[TARGET] and not native.anatomy.sites:
        raise UnsupportedError(
            f"`{SLOT}`: {native.name} has no site to act on: no max or average pooling with a stride, no strided "
            f"convolution and no Subsample2d{_left(native.left)}"
        )
    chosen = REFERENCE if spec is None else spec
    target = locate(chosen[TARGET])
    if getattr(target, "kind", "window") != "window" or not takes(chosen, "kernel_size"):
        raise ConfigurationError(
            f"`{SLOT}` ({chosen[TARGET]}) must be a window operator, whose constructor takes kernel_size and stride; "
            "a pooling of the whole map belongs into `pooling.head`"
        )
    rows, placed = list[dict[str, Any]](), list[Placed]()
    for name in native.anatomy.sites:
        calls = native.calls if resizes is None else calls_reached(native.network, resizes)
        site = site_of(name, native.network.get_submodule(name), calls[name])
        own = form_for(chosen, site.spatial, where=SLOT, place=f"site {name} of {native.name}")
        operator = _operator(site, own, seed)
        # Only now, so that a wrong argument is found on every network.
        if site.strided and getattr(target, "is_convolution", False):
            rows.append(_row(site, site.module, "", site.native, own=False))
            continue
        put = _spec_at(site, own)
        if put is not own:
            operator = _operator(site, put, seed)
        geometry = _geometry(site, put)
        filled = site.with_operator(operator)
        out = _out(native.name, site, filled, operator, geometry, put, may_resize=resizes is not None)
        native.replace(name, filled)
        arguments = shown_arguments(put, without=GEOMETRY)
        row = _row(site, operator, arguments, geometry, own=geometry != site.geometry)
        rows.append(row | {"output_shape": list(out)})
        sides = zip(out[1:], geometry.stride, geometry.kernel_size, strict=True)
        shape = (site.channels, *(max(out * stride, kernel) for out, stride, kernel in sides))
        placed.append(Placed(name, operator, shape, geometry.kernel_size))
    return rows, placed


def _operator(site: Site, spec: Spec, seed: int) -> nn.Module:
    """Return a new operator for a site."""
    # By name, so that a constructor which hands on `**kwargs` is given the geometry too.
    given = {key: value for key, value in site.geometry.arguments().items() if takes(spec, key)}
    return construct(
        {**given, **spec},
        {"channels": site.channels},
        where=f"{SLOT} at site {site.name}",
        seed=seed,
        stream=f"site {site.name}",
        elsewhere=[
            ({**{key: window.arguments()[key] for key in given}, **spec}, {"channels": channels})
            for window in usual(site.spatial)
            for channels in (site.channels, MANY)
        ],
    )


def _spec_at(site: Site, spec: Spec) -> Spec:
    """Return what goes into a site: where the network's own convolution is, an operator may name another for itself.

    Of the operator's arguments that one gets those that it takes.
    """
    other = getattr(locate(spec[TARGET]), "behind_convolution", None)
    if other is None or not site.strided:
        return spec
    path = {TARGET: f"{other.__module__}.{other.__qualname__}"}
    named = dict(form_for(path, site.spatial, where=SLOT, place=f"site {site.name}"))
    return named | {key: value for key, value in spec.items() if key != TARGET and takes(named, key)}


def _left(left: Sequence[Left]) -> str:
    """Return what was found but is no site, for a message."""
    reasons: dict[str, list[str]] = {}
    for row in left:
        reasons.setdefault(row.reason, []).append(row.name)
    found = [f"{names[0]}{' and the like' if len(names) > 1 else ''}: {why}" for why, names in reasons.items()]
    return f" ({'; '.join(found)})" if found else ""


def _row(site: Site, operator: nn.Module, arguments: str, geometry: Geometry, *, own: bool) -> dict[str, Any]:
    remark: Any = getattr(operator, "remark", None)
    said = "" if not callable(remark) else str(remark(tuple(site.calls[0].into[1:])))
    return {
        "name": site.name,
        "native": type(site.module).__name__,
        "operator": type(operator).__name__,
        "arguments": arguments,
        "geometry": "own" if own else "equal",
        **geometry.shown(),
        "input_shape": list(site.calls[0].into),
        "output_shape": list(site.calls[0].out),
    } | ({"note": said} if said else {})


def _geometry(site: Site, spec: Spec) -> Geometry:
    """Return the site's geometry with what the operator has of its own in it.

    A constructor that takes no stride or padding makes windows side by side, without any. One that takes no ceil_mode
    either gives another shape, which is refused, or has the site's windows.
    """
    none = (0,) * site.spatial
    fixed = {key: value for key, value in (("stride", None), ("padding", none)) if not takes(spec, key)}
    try:
        return site.geometry.with_own(fixed | {key: spec[key] for key in GEOMETRY if key in spec})
    except ValueError as error:
        raise ConfigurationError(f"`{SLOT}` ({spec[TARGET]}): {error}") from error


def _out(
    network: str,
    site: Site,
    filled: nn.Module,
    operator: nn.Module,
    geometry: Geometry,
    spec: Spec,
    *,
    may_resize: bool,
) -> tuple[int, ...]:
    """Return the shape that what now stands at the site gives; raise where it is not the network's and must be."""
    kind = type(operator).__name__
    shapes = []
    for call in site.calls:
        try:
            output = pass_zeros(filled, call.into)
        except Exception as error:  # a custom operator may raise anything
            raise refusal(
                error, f"site {site.name} of {network}: {kind} ({geometry}) fails on the map {shown_size(call.into)}"
            ) from error
        if not isinstance(output, Tensor):
            raise ConfigurationError(f"`{SLOT}` ({spec[TARGET]}) must give a tensor, got {type(output).__name__}")
        shapes.append(tuple(output.shape[1:]))
        if shapes[-1] != call.out and not may_resize:
            untaken = [key for key in GEOMETRY if not takes(spec, key)]
            hint = f"; its constructor takes no {' and no '.join(f'`{key}`' for key in untaken)}" if untaken else ""
            raise UnsupportedError(
                f"site {site.name} of {network}: {kind} ({geometry}) makes {shown_size(output.shape[1:])} of the map "
                f"{shown_size(call.into)}, but every operator must give {shown_size(call.out)} there{hint}; "
                "`pooling.resizes=true` allows another size"
            )
    return shapes[0]
