"""What is counted in every step of segmentation, beside a count place by place."""

import pytest
import torch

from poolbench.tasks.confusion import confusion, most_likely


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
@pytest.mark.parametrize("classes", [1, 2, 3, 15, 16, 40])  # tables on either side of what a byte names
@pytest.mark.parametrize("shape", [(4, 5), (9,)])
def test_counts_are_those_place_by_place(shape: tuple[int, ...], classes: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(classes)
    output = torch.randint(4, (3, classes, *shape), generator=draw).float()  # with equal logits
    target = torch.randint(classes, (3, *shape), generator=draw)
    target[:, 0] = 255
    expected = torch.zeros(3, classes, classes, dtype=torch.int64)
    given = torch.tensor([one.flatten(1).T.tolist() for one in output]).argmax(-1)
    for example in range(3):
        for true, its in zip(target[example].flatten().tolist(), given[example].tolist(), strict=True):
            if true != 255:
                expected[example, true, its] += 1
    assert torch.equal(most_likely(output).long().flatten(1), given)
    found = confusion(most_likely(output), target.to(dtype), classes, 255)
    assert torch.equal(found, expected)
