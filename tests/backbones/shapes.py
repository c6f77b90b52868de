"""Examples that the networks of the project serve: images, unless they are for sequences."""

OF_SEQUENCES = {"motif_cnn": [(4, 64), (1, 40)], "ecg_cnn": [(1, 190), (3, 200)]}


def shapes_for(backbone: str, images: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return shapes (C, L) for a network of sequences, else those of `images`."""
    return OF_SEQUENCES.get(backbone, images)[: len(images)]
