"""Hooks of a module that is exchanged: what takes its place has them, too."""

from torch import nn

from poolbench.errors import UnsupportedError

# Where torch.nn.Module holds what is called around a module's forward and backward pass.
HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
)


def has_hooks(module: nn.Module) -> bool:
    """Whether anything is called around a module's passes."""
    return any(getattr(module, kind, None) for kind in HOOKS)


def hand_over_hooks(name: str, old: nn.Module, new: nn.Module) -> None:
    """Let `new`, which takes the place of `old`, have its hooks.

    Raises:
        UnsupportedError: something inside of `old` that is no part of `new` has hooks: nothing would call them.
    """
    stays = {id(module) for module in new.modules()}
    lost = [
        f"{name}.{inner}"
        for inner, module in old.named_modules()
        if inner and id(module) not in stays and has_hooks(module)
    ]
    if lost:
        raise UnsupportedError(
            f"{name} ({type(old).__name__}) cannot be exchanged: {', '.join(lost)} inside of it has hooks, which "
            "nothing would call any more; remove them, or register them where they stay"
        )
    if id(old) in stays:
        return
    for kind in HOOKS:
        getattr(new, kind).update(getattr(old, kind))
    new._is_full_backward_hook = old._is_full_backward_hook
