"""What every head shares."""

from typing import ClassVar

from torch import nn


class HeadPool2d(nn.Module):
    """A pooling of the whole last map (B, C, H, W) → (B, F); a subclass brings `forward`.

    `gives_logits` says that F is the number of classes and that no classifier follows.
    """

    kind: ClassVar[str] = "head"
    gives_logits: ClassVar[bool] = False
