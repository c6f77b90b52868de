"""A network that looks for motifs in sequences."""

import torch
from torch import Tensor, nn

from poolbench.backbones.anatomy import Anatomy
from poolbench.errors import UnsupportedError
from poolbench.pooling import output_size


class MotifCNN(nn.Module):
    """conv-19 with 32 filters, max of two places, flatten, classes, with ReLU behind the convolution.

    Filters are as long as a motif, one layer of them: each is a matrix that a motif is compared with, as in DeepBind
    (Alipanahi et al., Nature Biotechnology 33, 2015, 831-838), whose head is the maximum over all places: the head
    `gmp`, here one among others. Ends are padded, so that a motif there is seen whole.

    Args:
        in_channels: channels of a sequence; 4 for letters of DNA.
        num_classes: number of classes.
        image_size: (length,) of a sequence.
        filters: how many there are.
        motif: places that a filter covers.
        pool: places that the local pooling takes together.

    Raises:
        UnsupportedError: sequences are shorter than a filter, or no window of the pooling fits.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        image_size: tuple[int],
        filters: int = 32,
        motif: int = 19,
        pool: int = 2,
    ) -> None:
        super().__init__()
        (length,) = one_dimension("motif_cnn", image_size)
        if length < max(motif, pool):
            raise UnsupportedError(
                f"motif_cnn cannot take sequences of {length} places: a filter covers {motif} and a pooling {pool}; "
                "give longer sequences or a smaller backbone.motif or backbone.pool"
            )
        self.conv1 = nn.Conv1d(in_channels, filters, kernel_size=motif, padding="same")
        self.pool1 = nn.MaxPool1d(pool)
        self.head: nn.Module = nn.Flatten()
        self.classifier: nn.Module = nn.Linear(filters * output_size(length, pool, pool, 0), num_classes)
        self.anatomy = Anatomy(sites=("pool1",), head="head", classifier="classifier")

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Return the logits (B, num_classes) of sequences (B, C, L)."""
        return self.classifier(self.head(self.pool1(torch.relu(self.conv1(x_BCL)))))


def one_dimension(network: str, image_size: tuple[int, ...]) -> tuple[int]:
    """Return the length of sequences; raise `UnsupportedError` where examples are no sequences."""
    if len(image_size) != 1:
        raise UnsupportedError(
            f"{network} takes sequences (C, L), but examples have {len(image_size)} dimensions of "
            f"{'x'.join(map(str, image_size))}; choose a network for images"
        )
    return (image_size[0],)
