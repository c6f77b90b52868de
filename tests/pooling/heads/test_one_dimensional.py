"""Heads for sequences: each is its 2-D form on a map of one row."""

import inspect

import pytest
import torch

import poolbench.pooling
from poolbench.pooling import ClassMaps, ClassMaps1d, GlobalMaxPool1d, GlobalMaxPool2d, HeadPool1d, HeadPool2d

FORMS = {
    name: kind
    for name in poolbench.pooling.__all__
    if inspect.isclass(kind := getattr(poolbench.pooling, name)) and issubclass(kind, HeadPool1d) and kind != HeadPool1d
}


def made(kind: type[HeadPool2d]) -> HeadPool2d:
    """Return a head with what its constructor must be given."""
    known = {"channels": 6, "num_classes": 4}
    parameters = inspect.signature(kind).parameters
    arguments = {name: value for name, value in known.items() if name in parameters}
    if kind in (ClassMaps, ClassMaps1d):
        arguments["pool"] = GlobalMaxPool2d() if kind is ClassMaps else GlobalMaxPool1d()
    if "output_size" in parameters:
        arguments["output_size"] = 3 if issubclass(kind, HeadPool1d) else (1, 3)
    torch.manual_seed(0)
    return kind(**arguments)


def two_dimensional(form: type[HeadPool1d]) -> type[HeadPool2d]:
    name = form.__name__.replace("1d", "2d") if form is not ClassMaps1d else "ClassMaps"
    return getattr(poolbench.pooling, name)


def test_every_head_has_a_form_for_sequences() -> None:
    heads = {
        name
        for name in poolbench.pooling.__all__
        if inspect.isclass(kind := getattr(poolbench.pooling, name))
        and issubclass(kind, HeadPool2d)
        and not issubclass(kind, HeadPool1d)
        and kind is not HeadPool2d
    }
    assert {two_dimensional(form).__name__ for form in FORMS.values()} == heads


@pytest.mark.parametrize("name", FORMS)
def test_it_is_the_two_dimensional_one_on_a_row(name: str) -> None:
    form = FORMS[name]
    one = made(form)
    x_BCL = torch.rand(2, 6, 10, generator=torch.Generator().manual_seed(1)) + 0.1
    assert one.implementation_for(x_BCL)[0] in ("fast", "torch")
    y = one(x_BCL)
    assert torch.equal(one(x_BCL[0]), y[0]) or torch.allclose(one(x_BCL[0]), y[0])
    assert one.work((6, 10)).bytes_written == 4 * y.shape[1]
    with pytest.raises(ValueError, match=r"must be \(B, C, L\) or \(C, L\)"):
        one(x_BCL[:, :, None])
    if name == "SpatialPyramidPool1d":  # which has cells along one side alone
        parts = [torch.nn.functional.adaptive_max_pool1d(x_BCL, n).flatten(1) for n in one.levels]
        expected = torch.cat(parts, dim=1)
    else:
        expected = made(two_dimensional(form))(x_BCL[:, :, None])
        assert one.work((6, 10)).operations == made(two_dimensional(form)).work((6, 1, 10)).operations
    torch.testing.assert_close(y, expected)
