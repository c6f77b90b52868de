"""torchvision's ResNet-18, with a stem for small images beside its own."""

import torchvision
from torch import nn

from poolbench.backbones.anatomy import Anatomy


def resnet18(in_channels: int, num_classes: int, stem: str = "small") -> nn.Module:
    """Return torchvision's ResNet-18 without trained weights.

    Args:
        in_channels: channels of an image.
        num_classes: number of classes.
        stem: `"small"`: a 3x3 convolution at stride 1 and no pooling, as is customary for images of about 32x32;
            `"imagenet"`: torchvision's own, a strided 7x7 convolution and a max pooling.

    11,173,962 parameters with the small stem, 3 channels and 10 classes; 11,689,512 with torchvision's own and 1000
    classes. Serves any size.

    Source: He et al., Deep Residual Learning for Image Recognition (2016), table 1; the code is torchvision's.
    """
    if stem not in ("small", "imagenet"):
        raise ValueError(f"`stem` must be 'small' or 'imagenet', got {stem!r}")
    network = torchvision.models.resnet18(weights=None, num_classes=num_classes)
    if stem == "small" or in_channels != network.conv1.in_channels:
        kernel, stride, padding = (3, 1, 1) if stem == "small" else (7, 2, 3)
        network.conv1 = nn.Conv2d(in_channels, 64, kernel, stride, padding, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    if stem == "small":
        network.maxpool = nn.Identity()
    sites = [f"layer{i}.0.{part}" for i in (2, 3, 4) for part in ("conv1", "downsample.0")]
    own = ["conv1", "maxpool"] if stem == "imagenet" else []
    network.anatomy = Anatomy(sites=tuple(own + sites), head="avgpool", classifier="fc")
    return network
