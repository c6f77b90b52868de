"""Pooling operators: plain torch modules, importable without the rest of the project.

A *window* operator takes `(kernel_size, stride=None, padding=0, ceil_mode=False, *, its own arguments)` and gives the
output shape of `torch.nn.MaxPool2d` for every input size. A *head* takes the last map `(B, C, H, W)` to features
`(B, F)`. Class attributes say the rest: `kind` (`"window"` or `"head"`), `is_convolution` (a network's own strided
convolution already is this operator), `gives_logits` (no classifier follows).
"""

from poolbench.pooling.adaptive import AdaptiveAvgPool2dFlatten, AdaptiveMaxPool2dFlatten
from poolbench.pooling.avg import AvgPool2d
from poolbench.pooling.avg_topk import AvgTopKPool2d
from poolbench.pooling.class_maps import ClassMaps
from poolbench.pooling.head import HeadPool2d
from poolbench.pooling.max import MaxPool2d
from poolbench.pooling.min import MinPool2d
from poolbench.pooling.mixed import MixedPool2d
from poolbench.pooling.strided_conv import StridedConv2d
from poolbench.pooling.whole_map import AvgMaxConcat2d, GlobalAvgPool2d, GlobalMaxPool2d
from poolbench.pooling.window import WindowPool2d, output_size, pair

__all__ = [
    "AdaptiveAvgPool2dFlatten",
    "AdaptiveMaxPool2dFlatten",
    "AvgMaxConcat2d",
    "AvgPool2d",
    "AvgTopKPool2d",
    "ClassMaps",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "HeadPool2d",
    "MaxPool2d",
    "MinPool2d",
    "MixedPool2d",
    "StridedConv2d",
    "WindowPool2d",
    "output_size",
    "pair",
]
