"""Regularized pooling once more: displacements window by window, then the nearest place of those inside the map."""

from typing import Any

import torch
from pooling.references.windows import Reference, windows
from torch import Tensor, nn

from poolbench.pooling import RegularizedPool2d


def displacements(operator: Any, x: Tensor) -> Tensor:
    """Return 2Δ, in rows and in columns: (2, B, C, H', W')."""
    high, wide = operator.kernel_size
    found = []
    for values, places in windows(operator, x):
        place = torch.tensor(places)[values.max(-1).indices]
        twice = torch.stack([2 * (place // wide) - (high - 1), 2 * (place % wide) - (wide - 1)])
        found.append(torch.where(values.max(-1).values > values.min(-1).values, twice, 0))
    return torch.stack(found, -1).unflatten(-1, operator.output_shape(*x.shape[-2:]))


def regularized(operator: Any, x: Tensor) -> Tensor:
    twice = displacements(operator, x.detach())
    rows, columns = twice.shape[-2:]
    reach = operator.neighbours // 2
    up = 0 if operator.spatial == 1 else reach
    among = (2 * up + 1) * (2 * reach + 1)
    high, wide = operator.kernel_size
    pooled = []
    for at, (values, places) in enumerate(windows(operator, x)):
        row, column = divmod(at, columns)
        near = twice[..., max(row - up, 0) : row + up + 1, max(column - reach, 0) : column + reach + 1].sum((-2, -1))
        # In units of 1 / (2 · among), so that nothing is rounded.
        aim = [(high - 1) * among + near[0], (wide - 1) * among + near[1]]
        steps = torch.tensor([divmod(place, wide) for place in places])
        apart = [(2 * among * steps[:, axis] - aim[axis].unsqueeze(-1)).abs() for axis in (0, 1)]
        # Rows and columns are each as near as can be: the sum is, too.
        pooled.append(values.gather(-1, (apart[0] + apart[1]).min(-1, keepdim=True).indices).squeeze(-1))
    return torch.stack(pooled, -1).unflatten(-1, (rows, columns))


REFERENCES: dict[type[nn.Module], Reference] = {RegularizedPool2d: regularized}
