"""Crop with padding and flip: poolbench's whole batches against torchvision's per-image transforms on PIL images.

Both get the same 32×32×3 images as uint8 in memory and give normalised float32 batches; they alternate in one process.
PIL's side is what a DataLoader without workers does: take an image, RandomCrop, RandomHorizontalFlip, ToTensor,
Normalize, then stack the batch.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from poolbench.data import Batches, HeldImages

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def per_image(images: Tensor, size: int, batch_size: int) -> Callable[[], Tensor]:
    transform = transforms.Compose(
        [
            transforms.RandomCrop(size, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    arrays = images.numpy()

    def batch() -> Tensor:
        chosen = torch.randint(len(arrays), (batch_size,)).tolist()
        return torch.stack([transform(Image.fromarray(arrays[index])) for index in chosen])

    return batch


def whole_batches(images: Tensor, batch_size: int, augment: dict[str, object], device: str) -> Callable[[], Tensor]:
    source = HeldImages(images, torch.zeros(len(images), dtype=torch.int64))
    batches = Batches(
        source,
        torch.arange(len(images)),
        batch_size,
        seed=0,
        augment=augment,
        shuffle=True,
        device=device,
        mean=MEAN,
        std=STD,
    )

    def forever():
        epoch = 0
        while True:
            batches.set_epoch(epoch)
            yield from batches
            epoch += 1

    endless = forever()
    return lambda: next(endless)[0]


def microseconds(batch: Callable[[], Tensor], repeats: int, batch_size: int, device: str) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        batch()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / (repeats * batch_size) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=20_000, help="images in memory (default: %(default)s)")
    parser.add_argument("--size", type=int, default=32, help="height and width (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="alternations (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="where batches are wanted (default: %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    size, batch_size, device = arguments.size, arguments.batch_size, arguments.device
    images = torch.randint(256, (arguments.images, size, size, 3), dtype=torch.uint8)
    crop_flip = {"crop_padding": 4, "flip": True}
    rivals = {
        "PIL, image by image: crop, flip": (per_image(images, size, batch_size), 1),
        "poolbench: crop, flip": (whole_batches(images, batch_size, crop_flip, device), 20),
        "poolbench: crop by reflection, flip": (
            whole_batches(images, batch_size, crop_flip | {"crop_mode": "reflect"}, device),
            20,
        ),
        "poolbench: crop, flip, translation, cutout": (
            whole_batches(images, batch_size, crop_flip | {"translate": 2, "cutout": 8}, device),
            20,
        ),
        "poolbench: no augmentation": (whole_batches(images, batch_size, {}, device), 20),
    }
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for round_ in range(arguments.rounds + 2):
        for name, (batch, repeats) in rivals.items():
            taken = microseconds(batch, repeats, batch_size, device)
            if round_ >= 2:  # the first two warm up
                times[name].append(taken)
    medians = {name: statistics.median(taken) for name, taken in times.items()}
    slowest = medians["PIL, image by image: crop, flip"]
    print(
        f"{size}×{size}×3, batch {batch_size}, {arguments.threads} threads, {device}; gathered, augmented, normalised\n"
    )
    print(f"{'':44}{'µs/image':>10}{'times faster':>15}")
    for name, median in medians.items():
        print(f"{name:44}{median:10.2f}{slowest / median:15.1f}")


if __name__ == "__main__":
    main()
