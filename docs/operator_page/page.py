"""The page itself, from everything that is known of each operator."""

import inspect
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from operator_page.catalogue import Entry, own_parameters
from operator_page.claims import claims, findings, year_of
from operator_page.docstring import Docstring, described, parse, short_source
from operator_page.example import as_text, shown
from operator_page.facts import CHANNELS, HEAD_MAP, NO_KERNEL, WINDOW_MAP, Facts, one_dimensional, shown_count
from operator_page.markup import cell, marked
from operator_page.photograph import CREDIT, Panel, gain, how
from poolbench.errors import ConfigurationError
from poolbench.pooling import HeadPool2d, WindowPool2d
from poolbench.spec import build

IMAGES = "images/operators"
SHARED_WINDOW, SHARED_HEAD = "What all window operators share", "What all heads share"
# What a network gives its operators; a section does not repeat it.
GEOMETRY = ("kernel_size", "stride", "padding", "ceil_mode", "dilation", "implementation")
FROM_NETWORK = {"channels": "the map's", "map_size": "the map's", "num_classes": "the dataset's"}
NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Described:
    """One operator and what was found of it."""

    entry: Entry
    facts: Facts
    numbers: Sequence[tuple[str, Tensor]]
    panels: Sequence[Panel]

    @property
    def docstring(self) -> Docstring:
        """The docstring of its class; empty for what is not poolbench's own."""
        return described(self.entry.target) if self.entry.is_own else Docstring()

    @cached_property
    def gain(self) -> float:
        """By what its pictures are divided."""
        return gain(self.entry) if self.entry.kind == "window" else 1.0

    @property
    def learns(self) -> str:
        """Whether it learns or draws, in a word."""
        words = ["learned"] * (self.facts.parameters > 0) + ["random"] * self.facts.is_random
        return ", ".join(words) or "fixed"


def page(operators: Sequence[Described], docs: Path) -> str:
    """Return the page as Markdown."""
    return _linked(_page(operators, docs), operators)


def _linked(text: str, operators: Sequence[Described]) -> str:
    """Let the name of a class lead to its section, wherever it stands in prose."""
    anchors = {"WindowPool2d": SHARED_WINDOW, "HeadPool2d": SHARED_HEAD}
    anchors = {name: title.lower().replace(" ", "-") for name, title in anchors.items()}
    for operator in reversed(operators):
        anchors[operator.entry.target.__name__] = operator.entry.name
    section = ""
    lines = []
    for line in text.split("\n"):
        section = line.lstrip("# ") if line.startswith("#") else section
        for name in re.findall(r"(?<!\[)`(\w+)`", line):
            anchor = anchors.get(name)
            if anchor and anchor != section and not line.startswith("!["):
                line = re.sub(rf"(?<!\[)`{name}`", f"[`{name}`](#{anchor})", line)
        lines.append(line)
    return "\n".join(lines)


def _page(operators: Sequence[Described], docs: Path) -> str:
    windows = [o for o in operators if o.entry.kind == "window"]
    heads = [o for o in operators if o.entry.kind == "head"]
    parts = [
        _introduction(operators, docs),
        "## Window operators\n\n" + _windows_table(windows),
        "## Heads\n\n" + _heads_table(heads),
        "## What articles claim, and what was found here\n\n" + _claims_table(operators),
        _contact_sheet(),
        _shared(WindowPool2d, SHARED_WINDOW),
    ]
    seen: dict[Any, str] = {}
    for group, title in ((windows, "Each window operator"), (heads, "Each head")):
        if title == "Each head":
            parts.append(_shared(HeadPool2d, SHARED_HEAD))
        parts.append(f"## {title}")
        for operator in group:
            parts.append(_section(operator, seen))
            seen.setdefault(operator.entry.target, operator.entry.name)
    return "\n\n".join(parts) + "\n"


def _introduction(operators: Sequence[Described], docs: Path) -> str:
    windows = sum(o.entry.kind == "window" for o in operators)
    lines = [
        "# The operators",
        "<!-- Made by docs/make_operators.py from the YAMLs, the docstrings and the operators: edit those. -->",
        f"{windows} window operators replace a network's poolings and strided reductions; "
        f"{len(operators) - windows} heads pool its last map to features. Each is chosen by its name, `pooling=NAME` "
        "or `head=NAME`, and each is a plain `torch.nn.Module`. This page is made by `make docs` from the code and "
        "its results: no number on it is typed by hand, but for those of articles in the table of claims.",
        "How to read it:",
        f"- **Parameters** are learned numbers, for {CHANNELS} channels and a window of 2×2 with stride 2 (a last map "
        "of 8×8 and 10 classes for a head).\n"
        "- **Operations** are those of the operator itself in evaluation (torch's own counter reports none for a "
        "pooling): additions, products, divisions, comparisons, roots, exponentials, logarithms and "
        "powers, 1 each, so that a multiply-add counts 2; for one result of a window operator, and for one image of a "
        "head. Selections, checks for NaN, copies and computations on parameters alone are not counted. The numbers "
        "are those of the operator's `work((C, H, W))`, which also gives the bytes.\n"
        "- **Maps** are floating point. Integers and booleans are accepted, and stay exact, if every result is "
        "one of the map's values: in `max`, `min`, `median` of an odd number of values, `fractional_max`, `aps`, "
        "`regularized`, `avg_topk` with `k=1`, `gmp`, `adaptive_max` and `spatial_pyramid` of maxima. All other "
        "operators refuse them and say what to do, "
        "and all refuse complex numbers.\n"
        "- **ONNX**: `poolbench export` writes a trained network with any of these as ONNX and as a program of "
        "`torch.export`, and compares both with it. `torch.onnx.export` alone supports `adaptive_max` and "
        "`spatial_pyramid` only if their cells have equal sizes; the command supports the other sizes, too.\n"
        "- **Numbers**: a 4×4 map with its windows outlined (two channels for heads) and the operator's result, to "
        "three decimals.\n"
        "- **Pictures**: the same photograph, strongly pooled and enlarged again without smoothing. Learned operators "
        "are shown with their initial weights, random ones in training and in evaluation.",
    ]
    if (docs / "left_out.md").is_file():
        lines.append("Poolings from articles that are not included, and why: [left_out.md](left_out.md).")
    return "\n\n".join(lines)


def _windows_table(operators: Sequence[Described]) -> str:
    """Two tables: what each is, and what holds of it."""
    what = _table(
        ["name", "what", "source", "", "parameters", "operations, 2×2", "3×3, stride 2"],
        [
            [
                _link(o),
                marked(o.entry.line),
                marked(short_source(o.docstring.labelled("Source"))) or "–",
                o.learns,
                shown_count(o.facts.parameters),
                shown_count(o.facts.of_a_result),
                shown_count(o.facts.wider),
            ]
            for o in operators
        ],
    )
    holds = _table(
        [
            "name",
            "a constant stays",
            "stays in range",
            "follows shifts",
            "values",
            "windows",
            "ONNX",
            "compiled kernel",
        ],
        [
            [
                _link(o),
                _yes(o.facts.says("keeps_constants", False)),
                _yes(o.facts.says("keeps_range", False)),
                _yes(o.facts.says("is_equivariant", False)),
                _domain(o),
                "all" if o.facts.says("geometries") is None else "some",
                _yes(o.facts.exports),
                _yes(o.facts.kernel),
            ]
            for o in operators
        ],
    )
    legend = (
        "Properties, as each class declares them and the tests check them: *a constant stays*: a constant map gives "
        "its constant; *stays in range*: no result leaves the range of its window's values; *follows shifts*: a map "
        "shifted by the stride gives the result shifted by one; *values*: those that the formula is for."
    )
    return "\n\n".join([what, legend, holds])


def _heads_table(operators: Sequence[Described]) -> str:
    return _table(
        [
            "name",
            "what",
            "source",
            "parameters",
            "features of 64 channels",
            "operations",
            "a constant stays",
            "independent of positions",
            "values",
            "ONNX",
        ],
        [
            [
                _link(o),
                marked(o.entry.line),
                marked(short_source(o.docstring.labelled("Source"))) or "–",
                shown_count(o.facts.parameters),
                shown_count(o.facts.outputs),
                shown_count(o.facts.work.operations) if o.facts.work else "–",
                _yes(o.facts.says("keeps_constants")),
                _yes(o.facts.says("permutes")),
                _domain(o),
                _yes(o.facts.exports),
            ]
            for o in operators
        ],
    )


def _claims_table(operators: Sequence[Described]) -> str:
    """One line of each operator: year, task and figure of its article, and what the committed experiments found."""
    claimed, found = claims(), findings()
    lead = (
        "The year is that of the first source in the docstring. Claims were copied by hand from the sources as far as "
        "they were read (docs/operator_page/claims.yaml); where no figure could be read, the row says what was looked "
        "at. What was found here is taken from the tables of results/reference: the difference in test accuracy with "
        "the interval that decides the report's verdict. Most claimed differences are about as large as the standard "
        "error of 10,000 test images (0.3 points at an error of 10 %), and are based on one run or a few."
    )
    rows = []
    for o in operators:
        claim = claimed[o.entry.name]
        here = "<br>".join(found.get(o.entry.name, [])) or "–"
        year = year_of(o.docstring.labelled("Source"))
        rows.append([_link(o), year, *(marked(claim[key]) for key in ("task", "claim", "read")), here])
    return lead + "\n\n" + _table(["name", "year", "on", "claim", "read", "found here"], rows)


def _contact_sheet() -> str:
    return "\n\n".join(
        [
            "## All window operators on one photograph",
            f"![The photograph pooled by every window operator]({IMAGES}/all_window_operators.png)",
            CREDIT,
        ]
    )


def _shared(base: type, title: str) -> str:
    """Return the section of a base class."""
    docstring = parse(base.__doc__ or "")
    parts = [f"## {title}", f"`poolbench.pooling.{base.__name__}`: {marked(docstring.summary)}"]
    if docstring.arguments:
        parameters = {p.name: p for p in own_parameters(base)}
        rows = [
            [f"`{name}`", _default(parameters.get(name)), marked(said)] for name, said in docstring.arguments.items()
        ]
        parts.append(_table(["argument", "default", "meaning"], rows))
    return "\n\n".join([*parts, *(p for labelled in (False, True) for p in _paragraphs(docstring, labelled=labelled))])


def _section(operator: Described, seen: Mapping[Any, str]) -> str:
    entry, docstring = operator.entry, operator.docstring
    parts, details = [f"### {entry.name}"], []
    if entry.target in seen:
        parts += [
            marked(entry.line),
            f"The same class as [{seen[entry.target]}](#{seen[entry.target]}), described there, with other arguments.",
        ]
    elif entry.is_own:
        parts += [marked(docstring.summary), *_paragraphs(docstring, labelled=False)]
        details = [*_paragraphs(docstring, labelled=True), _doctest(docstring)]
    else:
        parts += [
            marked(entry.line),
            f"torch's own `{entry.spec['_target_']}`, described in torch's documentation.",
        ]
    parts += [_pictures(operator), *details]
    parts += [_constructor(operator), _use(operator), _properties(operator), _cost(operator)]
    return "\n\n".join(part for part in parts if part)


def _paragraphs(docstring: Docstring, *, labelled: bool) -> list[str]:
    parts = []
    for label, text in docstring.paragraphs:
        if bool(label) != labelled:
            continue
        lead = f"**{label}.** " if label else ""
        if text.startswith("    "):
            parts.append("```\n" + inspect.cleandoc(text) + "\n```")
        elif text.startswith("- "):
            parts.append("\n".join("- " + marked(item[2:]) for item in text.splitlines()))
        else:
            parts.append(lead + marked(text))
    return parts


def _doctest(docstring: Docstring) -> str:
    return f"```python\n{docstring.doctest}\n```" if docstring.doctest else ""


def _constructor(operator: Described) -> str:
    entry = operator.entry
    try:
        parameters = own_parameters(entry.target)
    except ValueError:  # some built-in classes show no signature
        return ""
    written: list[str] = []
    star = False
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and not star:
            written, star = [*written, "*"], True
        # What the class requires it requires of who calls it, whatever the YAML says.
        if p.name in entry.arguments and p.name not in GEOMETRY and p.default is not p.empty:
            value = entry.arguments[p.name]
            written.append(f"{p.name}={_value(value)}")
        else:
            written.append(p.name if p.default is p.empty else f"{p.name}={_value(p.default)}")
    name = entry.target.__name__
    # Joined by what cannot be broken, so that no argument is.
    line = f"{name}({', '.join(argument.replace(' ', NO_BREAK) for argument in written)})"
    line = "\n".join(textwrap.wrap(line, 96, subsequent_indent=" " * (len(name) + 1))).replace(NO_BREAK, " ")
    own = [p for p in parameters if p.name not in GEOMETRY]
    text = f"```python\n{line}\n```"
    docstring = operator.docstring
    rows = [
        [
            f"`{p.name}`",
            _default_of_yaml(p, entry.arguments),
            marked(docstring.arguments.get(p.name, "–")),
        ]
        for p in own
    ]
    if rows and entry.is_own:
        text += "\n\n" + _table(["argument", "default", "meaning"], rows)
    said = docstring.arguments.get("kernel_size", "")
    rest = said.partition("see `WindowPool2d`")[2].lstrip(".;,: ")
    if rest:
        text += f"\n\nThe geometry: {marked(rest[:1].lower() + rest[1:])}"
    return "**Constructor**, with the defaults of its YAML:\n\n" + text


def _use(operator: Described) -> str:
    entry = operator.entry
    slot = "downsample" if entry.kind == "window" else "head"
    commands = []
    if entry.pooling:
        commands.append(f"poolbench train pooling={entry.name}")
    if entry.head:
        commands.append(f"poolbench train head={entry.name}")
    if entry.pooling:
        changed = _another(operator)
        commands += [f"poolbench train pooling={entry.name} pooling.{slot}.{changed}"] if changed else []
    size = "(8, 64, 32, 32)" if entry.kind == "window" else "(8, 64, 8, 8)"
    given = ["2"] if entry.kind == "window" else []
    given += [f"{name}={_value(v)}" for name, v in _context(entry).items()]
    given += [f"{k}={_value(v)}" for k, v in entry.arguments.items() if k not in GEOMETRY]
    module, _, name = entry.spec["_target_"].rpartition(".")
    inner = [v["_target_"].rpartition(".")[2] for v in entry.arguments.values() if isinstance(v, Mapping)]
    lines = ["import torch", f"from {module} import {', '.join(sorted({name, *inner}))}", ""]
    lines.append(f"{entry.kind} = {name}({', '.join(given)})")
    lines.append(f"{entry.kind}(torch.rand{size}).shape  # {operator.facts.output_shape}")
    text = "**Use**\n\n```sh\n" + "\n".join(commands) + "\n```\n\n```python\n" + "\n".join(lines) + "\n```"
    one = one_dimensional(entry)
    if one:
        text += f"\n\nFor sequences (B, C, L): `poolbench.pooling.{one}`."
    return text


def _context(entry: Entry) -> dict[str, Any]:
    """Return what the operator must be told of the network: required arguments, all where these do not do."""
    known = {"channels": 64, "map_size": (8, 8), "num_classes": 10}
    parameters = [p for p in own_parameters(entry.target) if p.name in known]
    required = {p.name: known[p.name] for p in parameters if p.default is p.empty}
    try:
        build(entry.spec, {"kernel_size": 2, **required}, where=entry.name)
    except ConfigurationError:
        return {p.name: known[p.name] for p in parameters}
    return required


def _another(operator: Described) -> str:
    """Return `argument=value` with a value that is not the default and that the operator takes; "" if none is found."""
    entry, docstring = operator.entry, operator.docstring
    for name, value in entry.arguments.items():
        if name in GEOMETRY or isinstance(value, Mapping):
            continue
        tries: list[Any] = []
        if isinstance(value, bool):
            tries = [not value]
        elif isinstance(value, int):
            tries = [value + 1, value * 2, value - 1]
        elif isinstance(value, float):
            tries = [value * 2, value / 2]
        elif isinstance(value, str):
            tries = [other for other in re.findall(r'`"(\w+)"`', docstring.arguments.get(name, "")) if other != value]
        for other in tries:
            try:
                replace(entry, spec={**entry.spec, name: other}).as_users_build_it()
            except ConfigurationError:
                continue
            return f"{name}={_yaml(other)}"
    return ""


def _properties(operator: Described) -> str:
    facts, entry = operator.facts, operator.entry
    lines = []
    if entry.kind == "window":
        lines += [
            _holds(facts.says("keeps_constants"), "a constant map gives its constant", "a constant map may change"),
            _holds(
                facts.says("keeps_range"), "no result leaves the range of its window", "results may leave the range"
            ),
            _holds(
                facts.says("is_equivariant"), "follows shifts by the stride", "does not follow shifts by the stride"
            ),
        ]
        served = facts.says("geometries")
        lines.append("supports every window" if served is None else "supports " + " or ".join(map(_geometry, served)))
    else:
        known = [key for key in ("keeps_constants", "permutes") if facts.says(key) is not None]
        texts = {
            "keeps_constants": ("a constant map gives its constant", "a constant map may give other values"),
            "permutes": ("permuting positions changes nothing", "features depend on positions"),
        }
        lines += [_holds(facts.says(key), *texts[key]) for key in known]
        if facts.says("gives_logits"):
            lines.append("gives the logits: no classifier follows")
    lines.append("random in training, fixed in evaluation" if facts.is_random else "no randomness")
    domain = facts.says("domain")
    if domain:
        lines.append(f"for {_domain(operator)} values" if domain != "real" else "for all real values")
    if facts.exports is not None:
        onnx = facts.says("onnx")
        lines.append(f"not exported to ONNX: {marked(onnx)}" if onnx else "can be exported to ONNX")
    if entry.kind == "window":
        lines.append("compiled kernel for the CPU" if facts.kernel else "no compiled kernel")
        if not facts.kernel and facts.kernel_reason != NO_KERNEL:
            lines[-1] += f" ({marked(facts.kernel_reason)})"
    if facts.says("is_convolution"):
        lines.append("a network's own strided convolution already is this operator and is left as it is")
    return "**Properties**: " + "; ".join(lines) + "."


def _cost(operator: Described) -> str:
    facts, entry = operator.facts, operator.entry
    parts = []
    if facts.parameters:
        shapes = ", ".join(f"`{name}` {_shape(shape)}" for name, shape in facts.shapes.items())
        random = ", ".join(f"`{name}`" for name in entry.starts_at_random)
        drawn = f", drawn at the start: {random}" if random else ""
        noun = "parameter" if facts.parameters == 1 else "parameters"
        parts.append(f"{shown_count(facts.parameters)} {noun} ({shapes}{drawn})")
    else:
        parts.append("no parameters")
    if facts.work is not None:
        parts += [
            _operations(operator),
            f"at least {shown_count(facts.work.bytes_read)} bytes read and {shown_count(facts.work.bytes_written)} "
            "written for one image in float32",
        ]
    map_size = "×".join(map(str, WINDOW_MAP if entry.kind == "window" else HEAD_MAP))
    at = (
        f"a map of {map_size}, a window of 2×2 with stride 2" if entry.kind == "window" else f"a last map of {map_size}"
    )
    return f"**Cost** at {CHANNELS} channels and {at}: " + "; ".join(parts) + "."


def _operations(operator: Described) -> str:
    facts = operator.facts
    if operator.entry.kind == "head":
        count = facts.work.operations if facts.work else None
        return f"{shown_count(count)} operations for one image"
    said = f"{shown_count(facts.of_a_result)} operations for one result"
    if facts.operations:
        named = (f"{count} {name if count > 1 else _singular(name)}" for name, count in facts.operations.items())
        said += f" ({', '.join(named)})"
    if facts.wider is not None:
        said += f", {shown_count(facts.wider)} with a window of 3×3, stride 2 and padding 1"
    return said + (", in evaluation" if facts.is_random else "")


def _pictures(operator: Described) -> str:
    entry = operator.entry
    alt = f"Of the 4×4 map: {as_text(operator.numbers)}"
    if entry.kind == "window":
        said = f"The photograph, pooled {how(entry)}"
        if operator.facts.is_random:
            said += "; two draws of training and the evaluation"
        if operator.gain != 1:
            said += f", divided by {shown(operator.gain)}, its factor on a constant map"
        if len(operator.panels) == 2:
            said += "; next to it, where the result is above (bright) or below (dark) the mean of the same windows "
            said += "(square root of the difference)"
    else:
        said = (
            "Left: the input map, three channels. Right: how much the features change with the channels at each "
            "position (square root; white: not at all, dark: most)"
        )
    if entry.starts_at_random:
        said += "; with random initial weights"
    elif operator.facts.parameters:
        said += "; with its initial weights"
    left = f"![The photograph]({IMAGES}/photograph.png) " if entry.kind == "window" else ""
    return "\n\n".join(
        [
            f"![{alt}]({IMAGES}/{entry.name}.svg)",
            f"{left}![{', '.join(p.title for p in operator.panels)}]({IMAGES}/{entry.name}.png)",
            said + ".",
        ]
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return "\n".join(lines)


def _link(operator: Described) -> str:
    return f"[{operator.entry.name}](#{operator.entry.name})"


def _yes(value: Any) -> str:
    return "–" if value is None else "yes" if value else "no"


def _holds(value: Any, yes: str, no: str) -> str:
    return yes if value else no


def _domain(operator: Described) -> str:
    words = {"real": "all", "nonnegative": "≥ 0", "positive": "> 0"}
    domain = operator.facts.says("domain")
    return words.get(domain, domain) or "–"


def _geometry(geometry: Mapping[str, Any]) -> str:
    return "(" + ", ".join(f"`{key}={_value(value)}`" for key, value in geometry.items()) + ")"


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "1"


def _default_of_yaml(parameter: inspect.Parameter, arguments: Mapping[str, Any]) -> str:
    """Return what an argument is where nothing is said: the YAML's value, or the constructor's."""
    if parameter.name not in arguments:
        return _default(parameter)
    value = f"`{_value(arguments[parameter.name])}`"
    return f"required; {value} in its YAML" if parameter.default is parameter.empty else value


def _default(parameter: inspect.Parameter | None) -> str:
    if parameter is None or parameter.default is parameter.empty:
        return FROM_NETWORK.get(parameter.name, "–") if parameter else "–"
    if parameter.default is None and parameter.name in FROM_NETWORK:
        return FROM_NETWORK[parameter.name]
    return f"`{_value(parameter.default)}`"


def _value(value: Any) -> str:
    """Return a value as Python writes it; an operator inside an operator as its call."""
    if isinstance(value, Mapping) and "_target_" in value:
        inner = ", ".join(f"{k}={_value(v)}" for k, v in value.items() if k != "_target_")
        return f"{value['_target_'].rpartition('.')[2]}({inner})"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _singular(word: str) -> str:
    return word.removesuffix("s")


def _yaml(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"'{value}'".replace(" ", "") if isinstance(value, list) else str(value)
