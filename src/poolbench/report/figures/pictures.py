"""Test images, their targets and each variant's predictions: the same images for every arm, from its first seed."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from poolbench.report.content import Content
from poolbench.report.figures.panels import EDGE_INCH, TEXT_INCH, Foot, left_out, panel, text_width, wrapped, write
from poolbench.report.reading.arms import Arm, Block, first
from poolbench.report.reading.pictures import Pictures, pictures_of

SIDE_INCH, GAP_INCH = 1.15, 0.06
SWATCH_INCH, LEGEND_INCH = 0.11, 0.2
# More columns cannot be looked at beside each other.
MOST_ARMS, MOST_IMAGES, MOST_BLOCKS = 8, 5, 3
# More classes are not named: their colours cannot be distinguished.
MOST_NAMED = 21
NOTE = (
    "The same test images for every arm, of the first seed that finished. Colours are classes; white does not count. "
    "Under each: the share of its pixels that are right."
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
    legends = [_legend(_classes(arms[0][0]), width - 2 * EDGE_INCH) for _, arms in shown]
    height = EDGE_INCH + sum(tops) + sum(rows) * row_inch + sum(map(len, legends)) * LEGEND_INCH
    figure = Figure(figsize=(width, height + foot.height))
    top = EDGE_INCH
    for (block, arms), own, count, title_inch, legend in zip(shown, names, rows, tops, legends, strict=True):
        write(figure, EDGE_INCH, top, block.title, fontsize=10)
        for column, name in enumerate(["image", "target", *own]):
            write(figure, EDGE_INCH + column * (SIDE_INCH + GAP_INCH), top + 0.22, name, fontsize=8)
        top += title_inch
        _block(figure, top, [pictures for _, pictures in arms[:MOST_ARMS]], count, len(_classes(arms[0][0])))
        top += count * row_inch
        for line in legend:
            _name(figure, top, line, len(_classes(arms[0][0])))
            top += LEGEND_INCH
    foot.draw(figure)
    return figure


def _arms(content: Content, block: Block) -> list[tuple[Arm, Pictures]]:
    """Return those arms of a block that left pictures of the same images, with them."""
    found = [(arm, pictures) for arm in block.arms if (pictures := pictures_of(content.folder, arm)) is not None]
    return [(arm, pictures) for arm, pictures in found if _same(pictures, found[0][1])]


def _same(one: Pictures, other: Pictures) -> bool:
    return np.array_equal(one.row, other.row) and np.array_equal(one.example, other.example)


def _classes(arm: Arm) -> list[str]:
    """Return the names of the classes, in order; none where the record has none."""
    return [str(name) for name in first(arm, "data").get("classes") or ()]


def _legend(names: Sequence[str], inches: float) -> list[list[tuple[float, int, str]]]:
    """Return lines of classes, each at so many inches from the left, with its number and name."""
    lines: list[list[tuple[float, int, str]]] = []
    left = inches
    for number, name in enumerate(names if len(names) <= MOST_NAMED else ()):
        wide = 1.5 * SWATCH_INCH + text_width(name, 8) + 0.14
        if left + wide > inches:
            lines.append([])
            left = 0.0
        lines[-1].append((left, number, name))
        left += wide
    return lines


def _name(figure: Figure, top: float, line: Sequence[tuple[float, int, str]], classes: int) -> None:
    for left, number, name in line:
        place = panel(figure, EDGE_INCH + left, top + 0.02, SWATCH_INCH, SWATCH_INCH)
        _show(place, _colours(np.full((1, 1), number, np.uint8), classes))
        write(figure, EDGE_INCH + left + 1.5 * SWATCH_INCH, top, name, fontsize=8)


def _block(figure: Figure, top: float, arms: Sequence[Pictures], count: int, named: int) -> None:
    one = arms[0]
    most = max(int(pictures.given.max()) for pictures in arms)
    valid = one.target[one.target != _ignored(one, most)]
    classes = max(named, 1 + max(most, int(valid.max(initial=0))))
    for row in range(count):
        images = [_grey(one.example[row]), _colours(one.target[row], classes)]
        images += [_colours(pictures.given[row], classes) for pictures in arms]
        for column, image in enumerate(images):
            left = EDGE_INCH + column * (SIDE_INCH + GAP_INCH)
            axes = panel(figure, left, top, SIDE_INCH, SIDE_INCH)
            _show(axes, image)
            if column > 1:
                counted = one.target[row] < classes
                right = (arms[column - 2].given[row] == one.target[row])[counted].mean() if counted.any() else np.nan
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
