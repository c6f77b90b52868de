"""The columns of what it costs: parameters and operations counted, speeds measured."""

from poolbench.report.tables.column import Column
from poolbench.report.tables.key_columns import ARM_ID, KEYS


def _speed(name: str, ratio: str, unit: str, subject: str, better: str) -> tuple[Column, ...]:
    """Return the six columns of one measured speed: the figure of this machine, and the ratio to the reference."""
    return (
        Column(name, "number", unit, f"{subject}: median of the repeats on this machine"),
        Column(f"{name}_ci95_low", "number", unit, "lower end of the 95 % interval of the median"),
        Column(f"{name}_ci95_high", "number", unit, "upper end of the 95 % interval of the median"),
        Column(ratio, "number", "1", f"arm / reference, measured in turns in one process; {better}"),
        Column(f"{ratio}_ci95_low", "number", "1", "lower end of the 95 % interval of the ratio; empty: the reference"),
        Column(f"{ratio}_ci95_high", "number", "1", "upper end of the 95 % interval of the ratio"),
    )


PARAMETERS = (
    *KEYS,
    Column("parameters", "count", "parameters", "all parameters of the network"),
    Column("parameters_trainable", "count", "parameters", "those that training changes"),
    Column("parameters_pooling", "count", "parameters", "those of the pooling operators and of the head's pooling"),
    Column("multiply_adds", "count", "operations", "multiply-adds of one example's forward pass"),
    Column("pooling_operations", "count", "operations", "the poolings' own, for one example; see docs/operators.md"),
    Column("pooling_bytes_read", "count", "bytes", "what they must read for one example, in float32"),
    Column("pooling_bytes_written", "count", "bytes", "what they must write, likewise"),
    Column("kept_bytes", "count", "bytes", "what autograd keeps of a batch for the backward pass, in float32"),
    Column(
        "peak_bytes",
        "count",
        "bytes",
        "the most that is alive in a batch's forward and backward pass: parameters, gradients, activations",
    ),
    Column("memory_batch_size", "count", "examples", "examples of that batch"),
    Column(
        "memory_method",
        "text",
        "",
        "`fake`: counted without computing; `run`: counted in a run; `allocator`: as the GPU's allocator says",
    ),
    Column(
        "starting_weights",
        "text",
        "",
        "the trained weights that were loaded, and the share of these parameters that the surgery kept",
    ),
    Column("matched", "text", "", "`params` or `macs` where the arm was made as large as the reference"),
    Column("width", "number", "times its own", "width of the network's layers: 1 unless matched"),
    Column("head_operator", "text", "", "what turns the last map into the classifier's input, with its arguments"),
    Column("head_features", "count", "features", "width that the head's pooling gives"),
    Column("downsample_operators", "text", "", "operators at the sites, with arguments and how many times each"),
    Column("sites", "count", "sites", "places where the network reduces its resolution"),
    ARM_ID,
)

THROUGHPUT = (
    *KEYS,
    Column("device", "text", "", "kind of device: `cpu`, `cuda`"),
    Column("device_name", "text", "", "the device's own name"),
    Column("threads", "count", "threads", "CPU threads of the measurement"),
    Column("memory_format", "text", "", "layout of the examples in memory"),
    Column("precision", "text", "", "number format of the computation"),
    Column("batch_size", "count", "examples", "examples in a batch, for training and inference; latency has one"),
    *_speed("training_images_per_s", "training_ratio", "examples/s", "training steps", "above 1: faster than it"),
    *_speed(
        "forward_backward_images_per_s",
        "forward_backward_ratio",
        "examples/s",
        "training steps without the optimiser's part",
        "above 1: faster than it",
    ),
    *_speed("inference_images_per_s", "inference_ratio", "examples/s", "forward passes", "above 1: faster than it"),
    *_speed("latency_ms", "latency_ratio", "ms", "forward pass of one example", "below 1: faster than it"),
    Column("compiled", "flag", "", "whether both ran through `torch.compile`; empty: not, in older records"),
    Column(
        "clock", "text", "", "time that the ratios are of: `processor`, `wall` (all that passed) or the GPU's `events`"
    ),
    Column("allocator", "text", "", "`keep`: freed memory is kept for reuse; `system`: as the system has it"),
    Column("machine_id", "text", "", "digest of what the machine is; rows with the same one are of one machine"),
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
