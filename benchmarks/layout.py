"""Memory layout, precision, threads and allocator: which make training and inference fast on this machine.

Each combination of threads and allocator has a process of its own; layouts and precisions share it. All take turns,
and each ratio is to float32, contiguous, the system's allocator and as many threads, turn by turn. What changes
figures (precision, layout) is a protocol's choice and never the machine's; this is what the choice is worth.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from turns import Rival, in_turns, markdown, ratio, serve, shown

from poolbench.kernels.precision import FORMATS
from poolbench.measure.allocator import ALLOCATOR
from poolbench.measure.machine import machine
from poolbench.measure.speed import DTYPES, inference_step, training_step
from poolbench.measure.timing import median_interval

SIZE, CLASSES = 32, 10
# system: as the C library comes. keep: freed memory stays with the process. hugepages: 2 MiB pages where there are.
ALLOCATORS: dict[str, dict[str, str]] = {
    "system": {},
    "keep": {},
    "hugepages": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
}


def network_of(backbone: str) -> torch.nn.Module:
    import yaml

    from poolbench.backbones import assemble
    from poolbench.paths import conf_dir

    spec = yaml.safe_load((conf_dir() / "backbone" / f"{backbone}.yaml").read_text())
    return assemble(spec, {}, in_channels=3, image_size=(SIZE, SIZE), num_classes=CLASSES, seed=0).network


def serve_rival(text: str) -> None:
    given = json.loads(text)
    ALLOCATOR.set("keep" if given["allocator"] == "keep" else "system")
    torch.set_num_threads(given["threads"])
    actions: dict[str, tuple[Callable[[], object], int]] = {}

    def answer(backbone: str, batch_size: int, precision: str, layout: str, what: str, least_s: float) -> float:
        key = f"{backbone}/{precision}/{layout}/{what}"
        if key not in actions:
            action = _action(backbone, batch_size, precision, layout, what)
            for _ in range(3):
                began = time.perf_counter()
                action()
                taken = time.perf_counter() - began
            actions[key] = action, max(1, round(least_s / taken))
        action, calls = actions[key]
        action()  # what another combination left in the caches is gone
        began = time.perf_counter()
        for _ in range(calls):
            action()
        return (time.perf_counter() - began) / calls

    serve(answer)


def _action(backbone: str, batch_size: int, precision: str, layout: str, what: str) -> Callable[[], object]:
    memory_format, dtype = FORMATS[layout], DTYPES[precision]
    draw = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, SIZE, SIZE, generator=draw).contiguous(memory_format=memory_format)
    network = network_of(backbone).to(memory_format=memory_format)
    if what == "inference":
        return inference_step(network.eval(), images, dtype)
    target = torch.randint(CLASSES, (batch_size,), generator=draw)

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, fused=True)

    return training_step(network.train(), images, target, optimizer, 0.0, dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", action="append", help="(slides, resnet18)")
    parser.add_argument("--what", action="append", choices=["training", "inference"], help="(training)")
    parser.add_argument("--threads", action="append", type=int, help="(1 and as many as torch takes)")
    parser.add_argument("--allocator", action="append", choices=list(ALLOCATORS), help="(system, keep)")
    parser.add_argument("--precision", action="append", choices=list(DTYPES), help="(float32, bfloat16)")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=8, help="turns, after one to warm up (%(default)s)")
    parser.add_argument("--least-s", type=float, default=0.2, help="seconds of a turn, at least (%(default)s)")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve_rival(arguments.serve)
        return
    threads = arguments.threads or sorted({1, torch.get_num_threads()})
    allocators = list(dict.fromkeys(["system", *(arguments.allocator or ["keep"])]))
    precisions = list(dict.fromkeys(["float32", *(arguments.precision or ["bfloat16"])]))
    rivals = {
        (count, allocator): Rival(
            __file__, json.dumps({"threads": count, "allocator": allocator}), ALLOCATORS[allocator]
        )
        for count, allocator in itertools.product(threads, allocators)
    }
    print(f"{machine()['machine']}, {machine()['cores']} cores; medians with 95 % intervals\n")
    for backbone, what in itertools.product(
        arguments.backbone or ["slides", "resnet18"], arguments.what or ["training"]
    ):
        print(f"{backbone}, {what}, batch {arguments.batch_size} of {SIZE}×{SIZE}×3\n")
        shared = {"backbone": backbone, "what": what, "batch_size": arguments.batch_size, "least_s": arguments.least_s}
        places = {
            f"{count} threads, {allocator}, {precision}, {layout}": (count, allocator, precision, layout)
            for count, allocator, precision, layout in itertools.product(threads, allocators, precisions, FORMATS)
        }

        def measure(
            name: str, places: dict[str, tuple[int, str, str, str]] = places, shared: dict[str, Any] = shared
        ) -> float:
            count, allocator, precision, layout = places[name]
            return rivals[count, allocator].ask(precision=precision, layout=layout, **shared)

        times = in_turns(list(places), measure, arguments.rounds)
        rows = []
        for name, taken in times.items():
            base = times[f"{places[name][0]} threads, system, float32, contiguous"]
            rate = arguments.batch_size / median_interval(taken).median
            rows.append([name, f"{rate:,.0f}", "1" if taken is base else shown(ratio(base, taken))])
        print(markdown(["", "images/s", "ratio"], rows), end="\n\n")
    for rival in rivals.values():
        rival.end()


if __name__ == "__main__":
    main()
