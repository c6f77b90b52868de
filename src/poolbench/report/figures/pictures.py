"""Test images, their targets and each variant's predictions: the same images for every arm, from its first seed."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from poolbench.report.content import Content
from poolbench.report.figures.panels import EDGE_INCH, TEXT_INCH, Foot, left_out, panel, wrapped, write
from poolbench.report.reading.arms import Arm, Block
from poolbench.report.reading.pictures import Pictures, pictures_of

SIDE_INCH, GAP_INCH = 1.15, 0.06
# More columns cannot be looked at beside each other.
MOST_ARMS, MOST_IMAGES, MOST_BLOCKS = 8, 5, 3
NOTE = (
    "The same test images for every arm, of the first seed that finished. Colours are classes, the first of them dark; "
    "white does not count. Under each: the share of its pixels that are right."
)


def draw(content: Content) -> Figure | None:
    """Return the figure; None where no cell left pictures."""
    found = [(block, arms) for block in content.blocks if (arms := _arms(content, block))]
    if not found:
        return None
    shown = found[:MOST_BLOCKS]
    columns = 2 + max(len(arms[:MOST_ARMS]) for _, arms in shown)
    further = sum(max(len(arms) - MOST_ARMS, 0) for _, arms in shown)
    width = 2 * EDGE_INCH + columns * (SIDE_INCH + GAP_INCH)
    rows = [min(len(arms[0][1].row), MOST_IMAGES) for _, arms in shown]
    foot = Foot([], [NOTE, left_out(len(found) - len(shown), further)], width)
    names = [[wrapped(arm.variant, SIDE_INCH, 8) for arm, _ in arms[:MOST_ARMS]] for _, arms in shown]
    tops = [0.25 + (max(name.count("\n") for name in own) + 1) * TEXT_INCH for own in names]
    row_inch = SIDE_INCH + TEXT_INCH + GAP_INCH
    figure = Figure(figsize=(width, EDGE_INCH + sum(tops) + sum(rows) * row_inch + foot.height))
    top = EDGE_INCH
    for (block, arms), own, count, title_inch in zip(shown, names, rows, tops, strict=True):
        write(figure, EDGE_INCH, top, block.title, fontsize=10)
        for column, name in enumerate(["image", "target", *own]):
            write(figure, EDGE_INCH + column * (SIDE_INCH + GAP_INCH), top + 0.22, name, fontsize=8)
        top += title_inch
        _block(figure, top, [pictures for _, pictures in arms[:MOST_ARMS]], count)
        top += count * row_inch
    foot.draw(figure)
    return figure


def _arms(content: Content, block: Block) -> list[tuple[Arm, Pictures]]:
    """Return those arms of a block that left pictures of the same images, with them."""
    found = [(arm, pictures) for arm in block.arms if (pictures := pictures_of(content.folder, arm)) is not None]
    return [(arm, pictures) for arm, pictures in found if _same(pictures, found[0][1])]


def _same(one: Pictures, other: Pictures) -> bool:
    return np.array_equal(one.row, other.row) and np.array_equal(one.example, other.example)


def _block(figure: Figure, top: float, arms: Sequence[Pictures], count: int) -> None:
    first = arms[0]
    most = max(int(pictures.given.max()) for pictures in arms)
    valid = first.target[first.target != _ignored(first, most)]
    classes = 1 + max(most, int(valid.max(initial=0)))
    for row in range(count):
        images = [_grey(first.example[row]), _colours(first.target[row], classes)]
        images += [_colours(pictures.given[row], classes) for pictures in arms]
        for column, image in enumerate(images):
            left = EDGE_INCH + column * (SIDE_INCH + GAP_INCH)
            axes = panel(figure, left, top, SIDE_INCH, SIDE_INCH)
            _show(axes, image)
            if column > 1:
                counted = first.target[row] < classes
                right = (arms[column - 2].given[row] == first.target[row])[counted].mean() if counted.any() else np.nan
                write(figure, left, top + SIDE_INCH + 0.02, f"{right:.1%}".replace("%", " %"), fontsize=7)
        top += SIDE_INCH + TEXT_INCH + GAP_INCH


def _ignored(pictures: Pictures, most: int) -> int:
    """Return the class of places that do not count, where there are any: one beyond all that are given."""
    highest = int(pictures.target.max())
    return highest if highest == np.iinfo(np.uint8).max and highest > most else -1


def _show(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, interpolation="nearest", aspect="equal")
    axes.set_axis_off()


def _grey(example: np.ndarray) -> np.ndarray:
    """Return an image (C, H, W) as one that can be shown, (H, W, 3), from its darkest value to its brightest."""
    values = example.astype(np.float64)
    low, high = values.min(), values.max()
    scaled = (values - low) / (high - low or 1.0)
    colour = scaled if len(scaled) == 3 else scaled.mean(0, keepdims=True).repeat(3, axis=0)
    return (colour.transpose(1, 2, 0) * 255).round().astype(np.uint8)


def _colours(classes: np.ndarray, count: int) -> np.ndarray:
    """Return class maps (H, W) in colour, (H, W, 3): class 0 dark, what does not count white."""
    palette = np.full((256, 3), 255, np.uint8)
    palette[0] = 40
    if count == 2:
        palette[1] = 230
    elif count > 2:
        found = colormaps["turbo"](np.linspace(0.08, 0.95, count - 1))[:, :3]
        palette[1:count] = (found * 255).round().astype(np.uint8)
    return palette[classes]
