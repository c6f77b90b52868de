"""By how much codon_cnn differs from itself when its sequence is shifted: `python benchmarks/frames.py`.

For every kind of symmetry and of padding, networks of several seeds and random sequences: the largest difference of a
logit under a cyclic shift, over the largest logit, by how many letters the shift is. Theory says 0 for both symmetric
networks with circular padding under every shift, and for the plain one under shifts by whole codons.
"""

import torch

from poolbench.backbones import CodonCNN
from poolbench.streams import drawing, stream

LENGTH, SEQUENCES, SEEDS = 150, 64, 5
SHIFTS = {"1": (1,), "2": (2,), "3": (3,), "any": tuple(range(1, LENGTH))}


@torch.no_grad()
def difference(network: CodonCNN, sequences: torch.Tensor, shifts: tuple[int, ...]) -> float:
    """Return the largest difference of a logit under these shifts, over the largest logit."""
    before = network(sequences)
    found = max(float((network(sequences.roll(shift, 2)) - before).abs().max()) for shift in shifts)
    return found / float(before.abs().max())


def main() -> None:
    """Print a table in Markdown, the largest over the seeds."""
    letters = torch.randint(4, (SEQUENCES, LENGTH), generator=stream(0, "frames"))
    sequences = torch.nn.functional.one_hot(letters, 4).transpose(1, 2).float()
    print(f"| frames | padding | {' | '.join(f'shift by {name}' for name in SHIFTS)} |")
    print("| --- " * (2 + len(SHIFTS)) + "|")
    for frames in ("symmetrised", "equivariant", "none"):
        for padding in ("circular", "zeros"):
            networks = []
            for seed in range(SEEDS):
                with drawing(seed, "backbone"):
                    networks.append(CodonCNN(4, 2, (LENGTH,), frames=frames, padding=padding).eval())
            found = [max(difference(one, sequences, shifts) for one in networks) for shifts in SHIFTS.values()]
            print(f"| {frames} | {padding} | {' | '.join(f'{value:.1e}' for value in found)} |")


if __name__ == "__main__":
    main()
