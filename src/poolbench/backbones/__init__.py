"""Networks in their published form, and the surgery that puts a pooling into their sites and their head."""

from poolbench.backbones.allcnn import AllCNN
from poolbench.backbones.anatomy import Anatomy
from poolbench.backbones.assemble import Assembled, assemble
from poolbench.backbones.audio_cnn import AudioCNN
from poolbench.backbones.cifar_resnet import CifarResNet
from poolbench.backbones.codon_cnn import CodonCNN
from poolbench.backbones.digest import network_digest
from poolbench.backbones.discover import discover
from poolbench.backbones.ecg_cnn import EcgCNN
from poolbench.backbones.fpn import FPN
from poolbench.backbones.hypercolumn import Hypercolumn
from poolbench.backbones.keras_cnn import KerasCNN
from poolbench.backbones.lenet5 import LeNet5
from poolbench.backbones.line_cnn import LineCNN
from poolbench.backbones.motif_cnn import MotifCNN
from poolbench.backbones.slides import Slides
from poolbench.backbones.subsample import Subsample1d, Subsample2d
from poolbench.backbones.unet import UNet
from poolbench.backbones.weight_files import file_digests
from poolbench.backbones.widen import OWN_WIDTH, Width

# resnet18 stands in a module of its own, `poolbench.backbones.resnet18`: importing torchvision takes seconds, which
# a cell without it should not pay.
__all__ = [
    "FPN",
    "OWN_WIDTH",
    "AllCNN",
    "Anatomy",
    "Assembled",
    "AudioCNN",
    "CifarResNet",
    "CodonCNN",
    "EcgCNN",
    "Hypercolumn",
    "KerasCNN",
    "LeNet5",
    "LineCNN",
    "MotifCNN",
    "Slides",
    "Subsample1d",
    "Subsample2d",
    "UNet",
    "Width",
    "assemble",
    "discover",
    "file_digests",
    "network_digest",
]
