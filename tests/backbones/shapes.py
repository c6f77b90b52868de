"""Examples that the networks of the project serve, and what they give for them."""

OF_SEQUENCES = {"motif_cnn": [(4, 64), (1, 40)], "ecg_cnn": [(1, 190), (3, 200)], "codon_cnn": [(4, 60), (4, 150)]}
OF_MASKS = ("fpn", "hypercolumn", "unet")


def shapes_for(backbone: str, images: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return shapes (C, L) for a network of sequences, else those of `images`."""
    return OF_SEQUENCES.get(backbone, images)[: len(images)]


def output_for(backbone: str, num_classes: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of what a network gives for an example: logits of it, or of each of its places."""
    return (num_classes, *shape[1:]) if backbone in OF_MASKS else (num_classes,)
