"""Pooling operators: plain torch modules, importable without the rest of the project.

A *window* operator takes `(kernel_size, stride=None, padding=0, ceil_mode=False, *, its own arguments)` and gives the
output shape of `torch.nn.MaxPool2d` for every input size. A *head* takes the last map `(B, C, H, W)` to features
`(B, F)`. Class attributes say the rest: `kind` (`"window"` or `"head"`), `is_convolution` (a network's own strided
convolution already is this operator), `behind_convolution` (what stands behind one in its place), `gives_logits` (no
classifier follows). `work` says what each costs.
"""

from poolbench.pooling.bases.arguments import pair
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d, WindowPool2d, output_size
from poolbench.pooling.bases.work import Work
from poolbench.pooling.heads.adaptive import (
    AdaptiveAvgPool1dFlatten,
    AdaptiveAvgPool2dFlatten,
    AdaptiveMaxPool1dFlatten,
    AdaptiveMaxPool2dFlatten,
)
from poolbench.pooling.heads.attention import AttentionPool1d, AttentionPool2d
from poolbench.pooling.heads.bilinear import BilinearPool1d, BilinearPool2d
from poolbench.pooling.heads.class_maps import ClassMaps, ClassMaps1d
from poolbench.pooling.heads.compact_bilinear import CompactBilinearPool1d, CompactBilinearPool2d
from poolbench.pooling.heads.gamp import GAMPPool1d, GAMPPool2d
from poolbench.pooling.heads.global_auto import GlobalAutoPool1d, GlobalAutoPool2d
from poolbench.pooling.heads.global_gem import GlobalGeMPool1d, GlobalGeMPool2d
from poolbench.pooling.heads.global_log_sum_exp import GlobalLogSumExp1d, GlobalLogSumExp2d
from poolbench.pooling.heads.second_order import SecondOrderPool1d, SecondOrderPool2d
from poolbench.pooling.heads.simpool import SimPool1d, SimPool2d
from poolbench.pooling.heads.spatial_pyramid import SpatialPyramidPool1d, SpatialPyramidPool2d
from poolbench.pooling.heads.statistics import StatisticsPool1d, StatisticsPool2d
from poolbench.pooling.heads.whole_map import (
    AvgMaxConcat1d,
    AvgMaxConcat2d,
    GlobalAvgPool1d,
    GlobalAvgPool2d,
    GlobalMaxPool1d,
    GlobalMaxPool2d,
)
from poolbench.pooling.windows.ada import AdaPool1d, AdaPool2d
from poolbench.pooling.windows.adaptive_polyphase import AdaptivePolyphasePool1d, AdaptivePolyphasePool2d
from poolbench.pooling.windows.asap import ASAPPool1d, ASAPPool2d
from poolbench.pooling.windows.auto import AutoPool1d, AutoPool2d
from poolbench.pooling.windows.avg import AvgPool1d, AvgPool2d
from poolbench.pooling.windows.avg_topk import AvgTopKPool1d, AvgTopKPool2d
from poolbench.pooling.windows.blur import (
    BinomialBlur2d,
    BlurPool1d,
    BlurPool2d,
    BlurredStridedConv1d,
    BlurredStridedConv2d,
    BlurringPool2d,
    MaxBlurPool1d,
    MaxBlurPool2d,
)
from poolbench.pooling.windows.comb import CombPool1d, CombPool2d
from poolbench.pooling.windows.conv_max import ConvMaxPool1d, ConvMaxPool2d
from poolbench.pooling.windows.dense_max import DenseMax2d
from poolbench.pooling.windows.detail_preserving import DetailPreservingPool1d, DetailPreservingPool2d
from poolbench.pooling.windows.fractional_max import FractionalMaxPool1d, FractionalMaxPool2d
from poolbench.pooling.windows.fuzzy import FuzzyPool1d, FuzzyPool2d
from poolbench.pooling.windows.gated import GatedPool1d, GatedPool2d
from poolbench.pooling.windows.gaussian import GaussianPool1d, GaussianPool2d
from poolbench.pooling.windows.haar_wavelet import HaarWaveletPool1d, HaarWaveletPool2d
from poolbench.pooling.windows.learned_polyphase import LearnedPolyphasePool1d, LearnedPolyphasePool2d
from poolbench.pooling.windows.lip import ConvNorm2d, LIPPool1d, LIPPool2d
from poolbench.pooling.windows.log_sum_exp import LogSumExpPool1d, LogSumExpPool2d
from poolbench.pooling.windows.lp import LpPool1d, LpPool2d
from poolbench.pooling.windows.mam import MAMPool1d, MAMPool2d
from poolbench.pooling.windows.max import MaxPool1d, MaxPool2d
from poolbench.pooling.windows.min import MinPool1d, MinPool2d
from poolbench.pooling.windows.mixed import MixedPool1d, MixedPool2d, RandomMixedPool1d, RandomMixedPool2d
from poolbench.pooling.windows.pasa import PASAPool1d, PASAPool2d
from poolbench.pooling.windows.polyphase import PolyphasePool2d
from poolbench.pooling.windows.power_means import LehmerPool1d, LehmerPool2d, PowerMeanPool1d, PowerMeanPool2d
from poolbench.pooling.windows.ranked import (
    MedianPool1d,
    MedianPool2d,
    OrdinalPool1d,
    OrdinalPool2d,
    RankStochasticPool1d,
    RankStochasticPool2d,
    RankWeightedPool1d,
    RankWeightedPool2d,
)
from poolbench.pooling.windows.regularized import RegularizedPool1d, RegularizedPool2d
from poolbench.pooling.windows.s3pool import S3Pool1d, S3Pool2d
from poolbench.pooling.windows.soft import SoftPool1d, SoftPool2d
from poolbench.pooling.windows.space_to_depth import SpaceToDepthConv1d, SpaceToDepthConv2d
from poolbench.pooling.windows.spectral import SpectralPool1d, SpectralPool2d
from poolbench.pooling.windows.stochastic import StochasticPool1d, StochasticPool2d
from poolbench.pooling.windows.strided_conv import StridedConv1d, StridedConv2d
from poolbench.pooling.windows.t_max_avg import TMaxAvgPool1d, TMaxAvgPool2d
from poolbench.pooling.windows.tips import TIPSPool1d, TIPSPool2d
from poolbench.pooling.windows.tree import TreePool1d, TreePool2d
from poolbench.pooling.windows.wavelet import WaveletPool1d, WaveletPool2d

__all__ = [name for name in dir() if name[0].isupper()] + ["output_size", "pair"]
