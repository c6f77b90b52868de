"""The size of the last map, reckoned before a layer is built, so that a flattening network knows its width."""

from collections.abc import Iterable

from poolbench.errors import UnsupportedError
from poolbench.pooling import output_size

Step = tuple[str, int, int, int]
"""A layer's name, kernel, stride and padding."""


def two_dimensions(network: str, image_size: tuple[int, ...]) -> tuple[int, int]:
    """Return height and width of images; raise `UnsupportedError` where examples are no images."""
    if len(image_size) != 2:
        raise UnsupportedError(
            f"{network} takes images (C, H, W), but examples are sequences of {'x'.join(map(str, image_size))} places; "
            "choose a network for sequences"
        )
    return image_size[0], image_size[1]


def map_size(network: str, image_size: tuple[int, ...], steps: Iterable[Step]) -> tuple[int, int]:
    """Return (height, width) of the map after the `steps`.

    Raises:
        UnsupportedError: a window is larger than the map it meets, or examples are no images.

    >>> map_size("net", (32, 32), [("conv", 3, 1, 0), ("pool", 2, 2, 0)])
    (15, 15)
    """
    height, width = two_dimensions(network, image_size)
    for name, kernel, stride, padding in steps:
        if min(height, width) + 2 * padding < kernel:
            raise UnsupportedError(
                f"{network} cannot take images of {image_size[0]}x{image_size[1]}: at {name} the map is "
                f"{height}x{width}, and a {kernel}x{kernel} window with padding {padding} needs at least "
                f"{kernel - 2 * padding}x{kernel - 2 * padding}"
            )
        height, width = (output_size(size, kernel, stride, padding) for size in (height, width))
    return height, width
