"""The audit of an arm with what each of its sites costs, and the arm's cost."""

from collections.abc import Mapping
from typing import Any

import torch

from poolbench.backbones import Assembled
from poolbench.measure.cost import Part, costs
from poolbench.measure.memory import peak_on_gpu
from poolbench.measure.memory_limit import is_out_of_memory


def audited(
    assembled: Assembled, *, batch_size: int, device: torch.device, step_ms: float | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the audit and the cost of an arm.

    The audit is that of `Assembled.audit`; each site's row has further: `parameters` and `multiply_adds` of what
    stands there, the convolution included where a strided one was parted; `pooling_operations`, `pooling_bytes_read`
    and `pooling_bytes_written`, its operator's own work; and `receptive_field`, the side in pixels (rows, columns) of
    the patch of the image that a value behind the site sees; with `step_ms`, also `receptive_field_ms`, the last of
    these sides in milliseconds. The cost is that of `poolbench.measure.cost.cost` with `parameters_pooling`.

    Args:
        assembled: the network with the variant in it.
        batch_size: images of the training step whose memory is counted.
        step_ms: milliseconds between neighbouring values along the example's last dimension; None: it is no time.
        device: of the training; on a GPU the peak is what its allocator says of a step that is run.
    """
    audit = assembled.audit()
    names = [row["name"] for row in audit["sites"]]
    found = costs(
        assembled.network, assembled.input_shape, operators=assembled.operators, parts=names, batch_size=batch_size
    )
    audit["sites"] = [row | _cost_of(found.parts[row["name"]], step_ms) for row in audit["sites"]]
    figures = found.figures | {"parameters_pooling": assembled.parameters_pooling}
    if device.type == "cuda":
        figures |= _on_gpu(assembled, batch_size, device)
    return audit, figures


def _on_gpu(assembled: Assembled, batch_size: int, device: torch.device) -> Mapping[str, Any]:
    """Return what the allocator says of a step in float32; nothing where only a smaller number format fits."""
    try:
        peak = peak_on_gpu(assembled.network, assembled.input_shape, batch_size, device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        torch.cuda.empty_cache()
        return {}
    return {"peak_bytes": peak, "memory_method": "allocator"}


def _cost_of(part: Part, step_ms: float | None) -> Mapping[str, Any]:
    field = part.receptive_field
    in_time = {} if step_ms is None or field is None else {"receptive_field_ms": field.size[-1] * step_ms}
    return {
        "parameters": part.parameters,
        "multiply_adds": part.multiply_adds,
        **part.pooling,
        "receptive_field": None if field is None else [round(side) for side in field.size],
        **in_time,
    }
