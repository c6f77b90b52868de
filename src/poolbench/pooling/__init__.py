"""Pooling operators: plain torch modules, importable without the rest of the project.

A *window* operator takes `(kernel_size, stride=None, padding=0, ceil_mode=False, *, its own arguments)` and gives the
output shape of `torch.nn.MaxPool2d` for every input size. A *head* takes the last map `(B, C, H, W)` to features
`(B, F)`. Class attributes say the rest: `kind` (`"window"` or `"head"`), `is_convolution` (a network's own strided
convolution already is this operator), `behind_convolution` (what stands behind one in its place), `gives_logits` (no
classifier follows). `work` says what each costs.
"""

from poolbench.pooling.ada import AdaPool1d, AdaPool2d
from poolbench.pooling.adaptive import AdaptiveAvgPool2dFlatten, AdaptiveMaxPool2dFlatten
from poolbench.pooling.attention import AttentionPool2d
from poolbench.pooling.avg import AvgPool1d, AvgPool2d
from poolbench.pooling.avg_topk import AvgTopKPool1d, AvgTopKPool2d
from poolbench.pooling.bilinear import BilinearPool2d
from poolbench.pooling.blur import (
    BinomialBlur2d,
    BlurPool1d,
    BlurPool2d,
    BlurredStridedConv1d,
    BlurredStridedConv2d,
    BlurringPool2d,
    MaxBlurPool1d,
    MaxBlurPool2d,
)
from poolbench.pooling.class_maps import ClassMaps
from poolbench.pooling.compact_bilinear import CompactBilinearPool2d
from poolbench.pooling.conv_max import ConvMaxPool1d, ConvMaxPool2d
from poolbench.pooling.dense_max import DenseMax2d
from poolbench.pooling.fractional_max import FractionalMaxPool1d, FractionalMaxPool2d
from poolbench.pooling.gamp import GAMPPool2d
from poolbench.pooling.gated import GatedPool1d, GatedPool2d
from poolbench.pooling.global_gem import GlobalGeMPool2d
from poolbench.pooling.global_log_sum_exp import GlobalLogSumExp2d
from poolbench.pooling.head import HeadPool2d
from poolbench.pooling.lip import ConvNorm2d, LIPPool1d, LIPPool2d
from poolbench.pooling.log_sum_exp import LogSumExpPool1d, LogSumExpPool2d
from poolbench.pooling.lp import LpPool1d, LpPool2d
from poolbench.pooling.mam import MAMPool1d, MAMPool2d
from poolbench.pooling.max import MaxPool1d, MaxPool2d
from poolbench.pooling.min import MinPool1d, MinPool2d
from poolbench.pooling.mixed import MixedPool1d, MixedPool2d, RandomMixedPool1d, RandomMixedPool2d
from poolbench.pooling.polyphase import (
    AdaptivePolyphasePool1d,
    AdaptivePolyphasePool2d,
    LearnedPolyphasePool1d,
    LearnedPolyphasePool2d,
    PolyphasePool2d,
)
from poolbench.pooling.power_means import LehmerPool1d, LehmerPool2d, PowerMeanPool1d, PowerMeanPool2d
from poolbench.pooling.ranked import (
    MedianPool1d,
    MedianPool2d,
    OrdinalPool1d,
    OrdinalPool2d,
    RankStochasticPool1d,
    RankStochasticPool2d,
    RankWeightedPool1d,
    RankWeightedPool2d,
)
from poolbench.pooling.s3pool import S3Pool1d, S3Pool2d
from poolbench.pooling.second_order import SecondOrderPool2d
from poolbench.pooling.simpool import SimPool2d
from poolbench.pooling.soft import SoftPool1d, SoftPool2d
from poolbench.pooling.spatial_pyramid import SpatialPyramidPool2d
from poolbench.pooling.spectral import SpectralPool1d, SpectralPool2d
from poolbench.pooling.stochastic import StochasticPool1d, StochasticPool2d
from poolbench.pooling.strided_conv import StridedConv1d, StridedConv2d
from poolbench.pooling.t_max_avg import TMaxAvgPool1d, TMaxAvgPool2d
from poolbench.pooling.tap import TapPool2d
from poolbench.pooling.tree import TreePool1d, TreePool2d
from poolbench.pooling.wavelet import WaveletPool1d, WaveletPool2d
from poolbench.pooling.whole_map import AvgMaxConcat2d, GlobalAvgPool2d, GlobalMaxPool2d
from poolbench.pooling.window import WindowPool1d, WindowPool2d, output_size, pair
from poolbench.pooling.work import Work

__all__ = [
    "AdaPool1d",
    "AdaPool2d",
    "AdaptiveAvgPool2dFlatten",
    "AdaptiveMaxPool2dFlatten",
    "AdaptivePolyphasePool1d",
    "AdaptivePolyphasePool2d",
    "AttentionPool2d",
    "AvgMaxConcat2d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgTopKPool1d",
    "AvgTopKPool2d",
    "BilinearPool2d",
    "BinomialBlur2d",
    "BlurPool1d",
    "BlurPool2d",
    "BlurredStridedConv1d",
    "BlurredStridedConv2d",
    "BlurringPool2d",
    "ClassMaps",
    "CompactBilinearPool2d",
    "ConvMaxPool1d",
    "ConvMaxPool2d",
    "ConvNorm2d",
    "DenseMax2d",
    "FractionalMaxPool1d",
    "FractionalMaxPool2d",
    "GAMPPool2d",
    "GatedPool1d",
    "GatedPool2d",
    "GlobalAvgPool2d",
    "GlobalGeMPool2d",
    "GlobalLogSumExp2d",
    "GlobalMaxPool2d",
    "HeadPool2d",
    "LIPPool1d",
    "LIPPool2d",
    "LearnedPolyphasePool1d",
    "LearnedPolyphasePool2d",
    "LehmerPool1d",
    "LehmerPool2d",
    "LogSumExpPool1d",
    "LogSumExpPool2d",
    "LpPool1d",
    "LpPool2d",
    "MAMPool1d",
    "MAMPool2d",
    "MaxBlurPool1d",
    "MaxBlurPool2d",
    "MaxPool1d",
    "MaxPool2d",
    "MedianPool1d",
    "MedianPool2d",
    "MinPool1d",
    "MinPool2d",
    "MixedPool1d",
    "MixedPool2d",
    "OrdinalPool1d",
    "OrdinalPool2d",
    "PolyphasePool2d",
    "PowerMeanPool1d",
    "PowerMeanPool2d",
    "RandomMixedPool1d",
    "RandomMixedPool2d",
    "RankStochasticPool1d",
    "RankStochasticPool2d",
    "RankWeightedPool1d",
    "RankWeightedPool2d",
    "S3Pool1d",
    "S3Pool2d",
    "SecondOrderPool2d",
    "SimPool2d",
    "SoftPool1d",
    "SoftPool2d",
    "SpatialPyramidPool2d",
    "SpectralPool1d",
    "SpectralPool2d",
    "StochasticPool1d",
    "StochasticPool2d",
    "StridedConv1d",
    "StridedConv2d",
    "TMaxAvgPool1d",
    "TMaxAvgPool2d",
    "TapPool2d",
    "TreePool1d",
    "TreePool2d",
    "WaveletPool1d",
    "WaveletPool2d",
    "WindowPool1d",
    "WindowPool2d",
    "Work",
    "output_size",
    "pair",
]
