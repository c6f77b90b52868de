"""A network that reads codons, made symmetric under a shift of the reading frame, or not."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from poolbench.backbones.anatomy import Anatomy
from poolbench.backbones.motif_cnn import one_dimension
from poolbench.checks import is_whole, whole_number
from poolbench.errors import ConfigurationError, UnsupportedError, unknown_name

CODON = 3
FRAMES = ("symmetrised", "equivariant", "none")
PADDINGS = ("circular", "zeros")
FRAME_POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "average": lambda x_BKF: x_BKF.mean(2),
    "max": lambda x_BKF: x_BKF.amax(2),
}


class CodonCNN(nn.Module):
    """Codons read by a convolution, another one over neighbouring codons, the mean over all places, classes.

    Which of three frames the codons lie in is not known. A shift by one letter takes each frame to the next, and the
    third to the first, a codon further. What the network makes of that group:

    - `symmetrised`: one network on the three frames, its logits pooled over them by `frame_pool`.
    - `equivariant`: codons are read at every letter, and the convolution over them takes those of one frame (dilated by
      three): a shift of the letters shifts the map. The head then pools places and frames together.
    - `none`: codons are read in the frame that the first letter begins.

    With `frame_pool=average` and the mean over places, the first two are one function; with any other head or pool they
    are not. With circular padding, a head that pools the whole map, and lengths that are a multiple of three, the first
    two give equal logits for all cyclic shifts (but for rounding), and the last for those by whole codons.

    Args:
        in_channels: channels of a sequence; 4 for letters of DNA.
        num_classes: number of classes.
        image_size: (length,) of a sequence, a multiple of three.
        frames: `symmetrised`, `equivariant` or `none`.
        frame_pool: of the logits (B, K, 3) of the three frames, where they are symmetrised: `average`, `max`, or a
            module, such as a head for sequences, that takes them to (B, K).
        width: channels of both convolutions.
        codons: neighbouring codons that the second convolution takes, odd.
        padding: `circular`, as if a sequence were a ring, or `zeros`.

    Raises:
        ConfigurationError: an argument is out of range.
        UnsupportedError: the length is no multiple of three, or too short.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: tuple[int],
        frames: str = "symmetrised",
        frame_pool: str | nn.Module = "average",
        width: int = 32,
        codons: int = 3,
        padding: str = "circular",
    ) -> None:
        super().__init__()
        for name, value, known in (("frames", frames, FRAMES), ("padding", padding, PADDINGS)):
            if value not in known:
                raise unknown_name(f"`backbone.{name}`", str(value), known)
        if not isinstance(frame_pool, nn.Module) and frame_pool not in FRAME_POOLS:
            raise unknown_name("`backbone.frame_pool`", str(frame_pool), FRAME_POOLS)
        if frames != "symmetrised" and frame_pool != "average":
            raise ConfigurationError(
                f"`backbone.frame_pool={frame_pool}` does nothing with backbone.frames={frames}: only `symmetrised` "
                "has outputs of three frames to pool; leave it at average"
            )
        whole_number("backbone.width", width)
        if not is_whole(codons) or codons < 1 or codons % 2 == 0:
            raise ConfigurationError(f"`backbone.codons` must be an odd whole number, got {codons!r}")
        (length,) = one_dimension("codon_cnn", image_size)
        if length % CODON or length < CODON * codons:
            raise UnsupportedError(
                f"codon_cnn cannot take sequences of length {length}: it must be a multiple of {CODON}, the letters "
                f"of a codon, and at least {CODON * codons} for backbone.codons={codons}"
            )
        self.frames, self.padding = frames, padding
        self.frame_pool = frame_pool
        apart = CODON if frames == "equivariant" else 1  # from one codon of a frame to the next, in places of the map
        letters = (in_channels, CODON) if frames == "equivariant" else (in_channels * CODON, 1)
        self.read = nn.Conv1d(letters[0], width, letters[1])
        self.join = nn.Conv1d(
            width, width, codons, padding=codons // 2 * apart, dilation=apart, padding_mode=cast(Any, padding)
        )
        self.head: nn.Module = nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten())
        self.classifier: nn.Module = nn.Linear(width, num_classes)
        self.anatomy = Anatomy(sites=(), head="head", classifier="classifier")

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of sequences (B, C, L)."""
        if self.frames == "equivariant":  # read at every letter, the last codons end behind the sequence
            return self._logits(self._further(x_BCL, CODON - 1))
        if self.frames == "none":
            return self._logits(_codons(x_BCL))
        turned = torch.cat([self._further(x_BCL, shift)[..., shift:] for shift in range(CODON)])
        x_BKF = self._logits(_codons(turned)).unflatten(0, (CODON, -1)).permute(1, 2, 0)
        if isinstance(self.frame_pool, nn.Module):
            return cast(Tensor, self.frame_pool(x_BKF.contiguous()))
        return FRAME_POOLS[self.frame_pool](x_BKF)

    def extra_repr(self) -> str:
        """Return what a printed network shows."""
        pool = f", frame_pool={self.frame_pool}" if isinstance(self.frame_pool, str) else ""
        return f"frames={self.frames}, padding={self.padding}{pool}"

    def _logits(self, x_BCL: Tensor) -> Tensor:
        maps = torch.relu(self.join(torch.relu(self.read(x_BCL))))
        return self.classifier(self.head(maps))

    def _further(self, x_BCL: Tensor, letters: int) -> Tensor:
        """Return sequences with so many letters more at the end: their first ones, or none."""
        first = x_BCL[..., :letters]
        return torch.cat([x_BCL, first if self.padding == "circular" else torch.zeros_like(first)], dim=2)


def _codons(x_BCL: Tensor) -> Tensor:
    """Return sequences (B, C, L) with a codon at each place, (B, 3·C, L / 3)."""
    return x_BCL.unflatten(2, (-1, CODON)).transpose(2, 3).flatten(1, 2)
