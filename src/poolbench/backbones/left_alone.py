"""What makes a map smaller in a network, or pools it, and is left as it is: with its sizes, and why."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from poolbench.backbones.anatomy import Anatomy, Calls, is_site, patch_embeddings, why_no_site, within
from poolbench.backbones.dimensions import CONVOLUTIONS, WINDOWS
from poolbench.backbones.find_head import WHOLE, pools_channels
from poolbench.backbones.flow import Flow, Step
from poolbench.backbones.subsample import ONE_DIMENSIONAL

PATCHES = "it cuts the image into patches: a pooling in the place of its stride would pool none of the network's maps"
OWN_CODE = "it makes the map smaller in the network's own code: no module stands there that an operator could replace"
OTHER_KIND = "it makes the map smaller, but is no max or average pooling, strided convolution or Subsample2d"
SCRIPT = "it is TorchScript, of which no module can be exchanged"
BY_NAME = "it is given its map by name: no operator is"
BORDER = "it makes the map smaller by no stride, but because it is not padded"
CROPPED = "it cuts off the border, as of a map that was padded before: no stride, and no pooling"
JOINED = "what it makes of the map comes together with a larger map again, as with a gate, a norm or a token"


@dataclass(frozen=True)
class Left:
    """One of them.

    Args:
        name: of the module, or of the module in whose code it is and the operation.
        native: the module's class.
        input_shape: of its map, without the batch's dimension.
        output_shape: likewise.
        reason: why it is left as it is.
    """

    name: str
    native: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    reason: str


def left_alone(
    network: nn.Module,
    anatomy: Anatomy,
    calls: Calls,
    flow: Flow,
    *,
    name: str,
    given: Mapping[str, str],
    not_head: Mapping[str, str],
    unreadable: Mapping[str, str],
    spatial: int,
) -> list[Left]:
    """Return what pools or strides in a network, or makes a map smaller, but is neither site nor head.

    Args:
        network: the network.
        anatomy: what is operated on.
        calls: of its modules.
        flow: of the same pass.
        name: what messages call the network.
        given: modules that were chosen to be left, and why.
        not_head: why modules are not the head.
        spatial: in how many dimensions its examples extend.
        unreadable: why calls of poolings in a module's code could not be made modules, by the module.
    """
    modules = dict(network.named_modules())
    # By identity: a part of the head may have another name, too.
    in_head = [] if anatomy.head is None else [id(module) for module in network.get_submodule(anatomy.head).modules()]
    reasons = dict(given) | {
        part: why
        for part, why in _modules(network, anatomy, calls, flow, not_head, spatial)
        if part not in given and id(modules[part]) not in in_head
    }
    scripts = [part for part, why in reasons.items() if why == SCRIPT and part not in calls]
    unreadable = dict(unreadable) | dict.fromkeys(scripts, SCRIPT)
    reasons = {part: why for part, why in reasons.items() if part not in scripts}
    known = {part: _of_module(modules[part], part, calls, why) for part, why in reasons.items()}
    skipped = [*anatomy.sites, *known, *([] if anatomy.head is None else [anatomy.head])]
    found = [replace(row, name=row.name or name) for row in known.values()]
    # Behind the head there is no map: what makes one smaller there, such as flattening it, takes it to features.
    end = flow.spans[anatomy.head][-1].end if anatomy.head in flow.spans else len(flow.steps)
    steps = {
        index: step
        for index, step in _merged(flow, end).items()
        if not any(part and within(step.module, part) for part in skipped) and id(modules[step.module]) not in in_head
    }
    explained = set()
    for index, step in steps.items():
        joined = step.after == 1 and flow.joins_larger(index)
        own = modules[step.module]
        if step.module in unreadable or any(True for _ in own.children()) or not step.module:
            part = f"{step.module or name} ({step.word})"
            why = unreadable.get(step.module, JOINED if joined else CROPPED if _crops(step) else OWN_CODE)
            explained.add(step.module)
            row = Left(part, type(own).__name__, step.into, step.out, why)
        else:
            why = JOINED if joined else _why(own, is_called=step.module in calls)
            row = _of_module(own, step.module, calls, why, step)
        if row not in found:
            found.append(row)
    for part, why in unreadable.items():
        if part not in explained:
            found.append(Left(f"{part or name} (a function)", type(modules[part]).__name__, (), (), why))
    return found


def _modules(
    network: nn.Module, anatomy: Anatomy, calls: Calls, flow: Flow, not_head: Mapping[str, str], spatial: int
) -> Iterator[tuple[str, str]]:
    """Yield the poolings and convolutions that are modules but no site, and why."""
    patches, scripts = patch_embeddings(network, calls, flow), list[str]()
    for name, module in network.named_modules():
        if isinstance(module, torch.jit.ScriptModule) and not any(within(name, part) for part in scripts):
            scripts.append(name)
            yield name, SCRIPT
        if (
            name not in calls
            or any(within(site, name) for site in anatomy.sites if name)
            or (anatomy.head is not None and within(name, anatomy.head))
        ):
            continue
        if name in patches:
            yield name, PATCHES
        elif spatial == 2 and isinstance(module, ONE_DIMENSIONAL):
            continue  # of tokens, or of channels
        elif isinstance(module, (*WINDOWS, *CONVOLUTIONS)) and not is_site(module, spatial):
            why = why_no_site(module)
            if why:
                yield name, why
        elif is_site(module, spatial):
            yield name, "the network's anatomy leaves it out"
        elif isinstance(module, WHOLE) and not pools_channels(module, name, flow):
            around = next((why for part, why in not_head.items() if within(name, part)), None)
            yield name, around or "the head is another module"


def _of_module(module: nn.Module, part: str, calls: Calls, why: str, step: Step | None = None) -> Left:
    if part in calls:
        into, out = calls[part][0]
    else:
        into, out = (step.into, step.out) if step else ((), ())
    kind = getattr(module, "original_name", type(module).__name__)  # TorchScript's own classes say nothing
    return Left(part, kind, tuple(into), tuple(out), why)


def _why(module: nn.Module, *, is_called: bool) -> str:
    """Return why a module without parts of its own that makes a map smaller is left alone.

    `is_called` says whether it was seen to take a tensor, in its place, and to give one.
    """
    if isinstance(module, CONVOLUTIONS) and max(module.stride) == 1:
        return BORDER
    is_window = isinstance(module, WINDOWS) and not isinstance(module, ONE_DIMENSIONAL)
    why = why_no_site(module) if is_window else ""
    is_known = isinstance(module, (*WINDOWS, *CONVOLUTIONS, *WHOLE)) and not getattr(module, "return_indices", False)
    return why or (BY_NAME if is_known and not is_called else OTHER_KIND)


def _crops(step: Step) -> bool:
    """Whether an operation takes a piece of more than half of each side: every second place would be fewer."""
    if step.word != "slice" or len(step.into) != len(step.out):
        return False
    return all(2 * after > before + 1 or after == before for before, after in zip(step.into, step.out, strict=True))


def _merged(flow: Flow, end: int) -> dict[int, Step]:
    """Return the steps before `end` that make a map smaller, by number; those of an operation in a row are one."""
    found: dict[int, Step] = {}
    for index in itertools.takewhile(lambda at: at < end, flow.reductions()):
        step = flow.steps[index]
        before = next(
            (
                at
                for at in step.inputs
                if at in found and (found[at].module, found[at].operation) == (step.module, step.operation)
            ),
            None,
        )
        if before is not None and found[before].out == step.into:
            first = found.pop(before)
            step = replace(step, into=first.into, before=first.before)
        found[index] = step
    return found
