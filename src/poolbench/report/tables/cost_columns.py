"""The columns of what it costs: parameters and operations counted, speeds measured."""

from poolbench.report.tables.column import Column
from poolbench.report.tables.key_columns import ARM_ID, KEYS


def _speed(name: str, ratio: str, unit: str, subject: str, better: str) -> tuple[Column, ...]:
    """Return the six columns of one measured speed: the figure of this machine, and the ratio to the reference."""
    return (
        Column(name, "number", unit, f"{subject}: median of the repeats on this machine"),
        Column(f"{name}_ci95_low", "number", unit, "lower end of the 95 % interval of the median"),
        Column(f"{name}_ci95_high", "number", unit, "upper end of the 95 % interval of the median"),
        Column(ratio, "number", "1", f"arm / reference, measured alternately in one process; {better}"),
        Column(
            f"{ratio}_ci95_low", "number", "1", "lower end of the 95 % interval of the ratio; empty for the reference"
        ),
        Column(f"{ratio}_ci95_high", "number", "1", "upper end of the 95 % interval of the ratio"),
    )


PARAMETERS = (
    *KEYS,
    Column("parameters", "count", "parameters", "all parameters of the network"),
    Column("parameters_trainable", "count", "parameters", "those that are trained"),
    Column("parameters_pooling", "count", "parameters", "those of the pooling operators and of the head's pooling"),
    Column("multiply_adds", "count", "operations", "multiply-adds of one example's forward pass"),
    Column(
        "pooling_operations",
        "count",
        "operations",
        "operations of the poolings, for one example; see docs/operators.md",
    ),
    Column("pooling_bytes_read", "count", "bytes", "bytes that the poolings must read for one example, in float32"),
    Column("pooling_bytes_written", "count", "bytes", "bytes that they must write, likewise"),
    Column("kept_bytes", "count", "bytes", "memory that autograd saves for the backward pass of a batch, in float32"),
    Column(
        "peak_bytes",
        "count",
        "bytes",
        "peak memory in the forward and backward pass of a batch: parameters, gradients, activations",
    ),
    Column("memory_batch_size", "count", "examples", "examples of that batch"),
    Column(
        "memory_method",
        "text",
        "",
        "`fake`: counted with fake tensors; `run`: counted in a run; `allocator`: reported by the GPU's allocator",
    ),
    Column(
        "starting_weights",
        "text",
        "",
        "the trained weights that were loaded, and the fraction of these parameters that were kept",
    ),
    Column(
        "matched",
        "text",
        "",
        "`params` or `macs` if the network was widened or narrowed to match the reference in them",
    ),
    Column("width", "number", "times its own", "factor on the width of the network's layers: 1 unless matched"),
    Column(
        "head_operator",
        "text",
        "",
        "the operator that turns the last map into the classifier's input, with its arguments",
    ),
    Column("head_features", "count", "features", "number of features that the head returns"),
    Column("downsample_operators", "text", "", "operators at the sites, with arguments and how often each occurs"),
    Column("sites", "count", "sites", "layers at which the network reduces its resolution"),
    ARM_ID,
)

THROUGHPUT = (
    *KEYS,
    Column("device", "text", "", "kind of device: `cpu`, `cuda`"),
    Column("device_name", "text", "", "the device's own name"),
    Column("threads", "count", "threads", "CPU threads of the measurement"),
    Column("memory_format", "text", "", "memory format of the examples"),
    Column("precision", "text", "", "number format of the computation"),
    Column("batch_size", "count", "examples", "examples in a batch, for training and inference; latency has one"),
    *_speed("training_images_per_s", "training_ratio", "examples/s", "training steps", "above 1: faster"),
    *_speed(
        "forward_backward_images_per_s",
        "forward_backward_ratio",
        "examples/s",
        "training steps without the optimiser",
        "above 1: faster",
    ),
    *_speed("inference_images_per_s", "inference_ratio", "examples/s", "forward passes", "above 1: faster"),
    *_speed("latency_ms", "latency_ratio", "ms", "forward pass of one example", "below 1: faster"),
    Column(
        "compiled", "flag", "", "whether both were compiled by `torch.compile`; empty in older records: they were not"
    ),
    Column("clock", "text", "", "clock of the ratios: `processor` time, `wall` time or the GPU's `events`"),
    Column("allocator", "text", "", "`keep`: freed memory is kept for reuse; `system`: the system's default"),
    Column(
        "machine_id", "text", "", "digest of the machine's properties; rows with the same digest are from one machine"
    ),
    Column("training_settled", "flag", "", "whether the repeats made the interval narrow enough, in training"),
    Column("forward_backward_settled", "flag", "", "the same, in forward and backward passes"),
    Column("inference_settled", "flag", "", "the same, in inference"),
    Column("latency_settled", "flag", "", "the same, in latency"),
    Column("speed_reference", "text", "", "the variant that the ratios are taken to"),
    Column(
        "implementation",
        "text",
        "",
        "what computed the poolings: `fast` (compiled kernels), `triton` (those of a GPU), `torch`, `fast + torch`",
    ),
    Column(
        "reference_implementation", "text", "", "the same of the reference; where they differ, so may the ratio for it"
    ),
    Column("measured", "text", "ISO 8601", "when it was measured"),
    ARM_ID,
)
