"""Augmentation of whole batches of examples, on the device they are on.

What is drawn is drawn for a whole epoch at once, on the CPU, one stream for each kind: equal on every device, in every
memory layout, for every batch size, and one kind shifts nothing in another.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from poolbench.checks import is_whole
from poolbench.errors import ConfigurationError, unknown_name
from poolbench.streams import stream

CROP_MODES = ("zeros", "reflect")


@dataclass(frozen=True)
class Draws:
    """What was drawn for each example; None where that kind is off. D is 2 for images, 1 for sequences.

    Args:
        flip: whether it is mirrored, bool (N,).
        crop: first corner (top and left) of the window in the padded example, int64 (N, D), in 0..2·crop_padding.
        translate: likewise in 0..2·translate; `translate` is no shift.
        cutout: centre of the square, int64 (N, D), in 0..size−1 of each dimension.
    """

    flip: Tensor | None = None
    crop: Tensor | None = None
    translate: Tensor | None = None
    cutout: Tensor | None = None

    def __getitem__(self, part: slice) -> "Draws":
        return Draws(*(None if drawn is None else drawn[part] for drawn in self._all()))

    def to(self, device: torch.device) -> "Draws":
        """Return the draws on `device`."""
        return Draws(*(None if drawn is None else drawn.to(device) for drawn in self._all()))

    def _all(self) -> tuple[Tensor | None, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Augment:
    """How training examples vary: mirrored, then cropped, then moved, then covered.

    Pixels are places of a sequence, and what is square is a stretch of it.

    Args:
        crop_padding: pixels added on each side, out of which a window of the example's own size is cut, uniformly.
        crop_mode: what the padding holds: `zeros` (black) or `reflect` (mirrored without repeating the edge).
        flip: mirror left and right, or a sequence's beginning and end, with probability 1/2.
        translate: shift by up to so many pixels along each axis, uniformly, black moving in.
        cutout: side of a square that is set to the mean of the training examples, its centre anywhere in the example,
            what lies outside cut off (DeVries and Taylor, 2017, https://arxiv.org/abs/1708.04552); 0 for none.
    """

    crop_padding: int = 0
    crop_mode: str = "zeros"
    flip: bool = False
    translate: int = 0
    cutout: int = 0

    @classmethod
    def of(cls, spec: "Mapping[str, Any] | Augment | None", sizes: int | Sequence[int]) -> "Augment":
        """Return the augmentation of this specification (None: none), checked for examples of these sizes.

        >>> Augment.of({"crop_padding": 40}, (32, 48))
        Traceback (most recent call last):
            ...
        poolbench.errors.ConfigurationError: `dataset.augment.crop_padding` must be in 0..31 for image_size=32, got 40
        """
        if isinstance(spec, Augment):
            augment = spec
        else:
            names = [field.name for field in fields(cls)]
            if spec is not None and not isinstance(spec, Mapping):
                raise ConfigurationError(f"`dataset.augment` must be null or a mapping of {names}, got {spec!r}")
            for name in spec or ():
                if name not in names:
                    raise unknown_name("argument of `dataset.augment`", name, names)
            augment = cls(**(spec or {}))
        image_size = sizes if isinstance(sizes, int) else min(sizes)
        for name, most in (("crop_padding", image_size - 1), ("translate", image_size - 1), ("cutout", image_size)):
            value = getattr(augment, name)
            if not is_whole(value) or not 0 <= value <= most:
                raise ConfigurationError(
                    f"`dataset.augment.{name}` must be in 0..{most} for image_size={image_size}, got {value!r}"
                )
        if augment.crop_mode not in CROP_MODES:
            raise unknown_name("`dataset.augment.crop_mode`", str(augment.crop_mode), CROP_MODES)
        if augment.crop_mode != CROP_MODES[0] and not augment.crop_padding:
            raise ConfigurationError(
                f"`dataset.augment.crop_mode={augment.crop_mode}` does nothing: it says what the padding holds, and "
                "`dataset.augment.crop_padding` is 0; give that, too"
            )
        if not isinstance(augment.flip, bool):
            raise ConfigurationError(f"`dataset.augment.flip` must be true or false, got {augment.flip!r}")
        return augment

    def draw(self, count: int, sizes: int | Sequence[int], *, seed: int, epoch: int) -> Draws:
        """Draw for the `count` examples of an epoch, in the order in which they come.

        `sizes` is that of each dimension; one number stands for square images.
        """
        sizes = (sizes, sizes) if isinstance(sizes, int) else sizes

        def whole(kind: str, *ends: int) -> Tensor:
            generator = stream(seed, "augment", epoch, kind)
            if len(set(ends)) == 1:
                return torch.randint(ends[0], (count, len(ends)), generator=generator)
            return torch.cat([torch.randint(end, (count, 1), generator=generator) for end in ends], dim=1)

        draws = Draws()
        if self.flip:
            drawn = torch.rand(count, generator=stream(seed, "augment", epoch, "flip"))
            draws = replace(draws, flip=drawn < 0.5)
        if self.crop_padding:
            draws = replace(draws, crop=whole("crop", *[2 * self.crop_padding + 1] * len(sizes)))
        if self.translate:
            draws = replace(draws, translate=whole("translate", *[2 * self.translate + 1] * len(sizes)))
        if self.cutout:
            draws = replace(draws, cutout=whole("cutout", *sizes))
        return draws

    def move(self, examples: Tensor, draws: Draws, *, outside: float = 0) -> Tensor:
        """Return examples (B, C, H, W) or (B, C, L), of channels-last strides, mirrored, cropped and shifted.

        `outside` is what moves in where the padding holds zeros; class maps that move along have another value there.
        """
        batch = _as_rows(examples.movedim(1, -1))
        if draws.flip is not None:
            batch = _mirror(batch, draws.flip)
        if draws.crop is not None:
            batch = _cut(batch, self.crop_padding, self.crop_mode, draws.crop, outside)
        if draws.translate is not None:
            batch = _cut(batch, self.translate, "zeros", draws.translate, outside)
        return (batch if examples.ndim == 4 else batch.squeeze(1)).movedim(-1, 1)

    def cover(self, examples: Tensor, draws: Draws) -> Tensor:
        """Set the drawn squares of normalised examples (B, C, …) to 0, which is the mean, in place."""
        if draws.cutout is None:
            return examples
        inside = torch.ones((), dtype=torch.bool, device=examples.device)
        for axis, size in enumerate(examples.shape[2:]):
            at = torch.arange(size, device=examples.device)
            begin = draws.cutout[:, axis, None] - self.cutout // 2
            along = (at >= begin) & (at < begin + self.cutout)
            inside = inside[..., None] & along.view(len(along), *[1] * axis, size)
        return examples.masked_fill_(inside[:, None], 0)


def _as_rows(batch: Tensor) -> Tensor:
    """Return a batch (B, H, W, C); a sequence (B, L, C) is a row."""
    return batch if batch.ndim == 4 else batch.unsqueeze(1)


def _cut(batch: Tensor, padding: int, mode: str, corners: Tensor, outside: float) -> Tensor:
    """Pad a batch (B, H, W, C) and cut a window of its own size out of it, its first corner at `corners`.

    Of sequences, batches of one row, corners are (B, 1): they are padded along that row alone.
    """
    rows = padding if corners.shape[1] == 2 else 0
    places = corners if corners.shape[1] == 2 else torch.cat([torch.zeros_like(corners), corners], dim=1)
    return _window(_padded(batch, (rows, padding), mode, outside), places, batch.shape)


def _mirror(batch: Tensor, flip: Tensor) -> Tensor:
    """Return the batch (B, H, W, C) with the images where `flip` is set mirrored."""
    if batch.device.type != "cpu":  # to count the mirrored images would wait for the device
        return torch.where(flip[:, None, None, None], batch.flip(2), batch)
    # Copying whole images is cheap and mirroring is not: mirror those alone, then bring all back into their order.
    straight, mirrored = (~flip).nonzero().flatten(), flip.nonzero().flatten()
    images = batch.index_select(0, mirrored).permute(0, 3, 1, 2).flip(3).permute(0, 2, 3, 1)
    place = torch.empty(len(flip), dtype=torch.int64)
    place[torch.cat([straight, mirrored])] = torch.arange(len(flip))
    rows = torch.cat([batch.index_select(0, straight), images]).reshape(len(flip), -1)
    return rows.index_select(0, place).view(batch.shape)


def _padded(batch: Tensor, padding: tuple[int, int], mode: str, outside: float) -> Tensor:
    """Return the batch (B, H, W, C) with so many pixels more above and below, and at the left and right."""
    count, height, width, channels = batch.shape
    above, beside = padding
    shape = (count, height + 2 * above, width + 2 * beside, channels)
    padded = batch.new_full(shape, outside) if outside else batch.new_zeros(shape)
    padded[:, above : above + height, beside : beside + width] = batch
    if mode == "reflect":
        for axis, size, more in ((1, height, above), (2, width, beside)):
            if more:
                before = padded.narrow(axis, more + 1, more).flip(axis)
                after = padded.narrow(axis, size - 1, more).flip(axis)
                padded.narrow(axis, 0, more).copy_(before)
                padded.narrow(axis, more + size, more).copy_(after)
    return padded


def _window(padded: Tensor, corners: Tensor, shape: torch.Size) -> Tensor:
    """Cut a window of `shape` (B, H, W, C) out of each padded image, its top left at `corners` (B, 2).

    Rows of a window are runs of bytes in memory: seen through a view in which every byte begins a run, cutting is one
    selection of rows.
    """
    count, height, width, channels = shape
    row_stride, image_stride = padded.shape[2] * channels, padded.shape[1] * padded.shape[2] * channels
    device = padded.device
    first = torch.arange(count, device=device) * image_stride + corners[:, 0] * row_stride + corners[:, 1] * channels
    begins = first[:, None] + torch.arange(height, device=device) * row_stride
    run = width * channels
    runs = padded.view(-1).as_strided((padded.numel() - run + 1, run), (1, 1))
    return runs.index_select(0, begins.flatten()).view(shape)
