"""Conformance of every head that a YAML of conf/head, or a variant of conf/pooling, names: the folders are the list."""

import copy
import inspect
import io
import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pooling.head_cases import CONTEXT, FILES, SPECS, YAMLS, head_for, images, images_for
from pooling.references.heads import REFERENCES
from torch import Tensor, nn
from torch.export import Dim

from poolbench.errors import ConfigurationError
from poolbench.pooling.heads.adaptive import AdaptiveAvgPool2dFlatten, AdaptiveMaxPool2dFlatten
from poolbench.pooling.heads.attention import AttentionPool2d
from poolbench.pooling.heads.bilinear import BilinearPool2d
from poolbench.pooling.heads.class_maps import ClassMaps
from poolbench.pooling.heads.compact_bilinear import CompactBilinearPool2d
from poolbench.pooling.heads.gamp import GAMPPool1d, GAMPPool2d
from poolbench.pooling.heads.global_auto import GlobalAutoPool2d
from poolbench.pooling.heads.global_gem import GlobalGeMPool2d
from poolbench.pooling.heads.global_log_sum_exp import GlobalLogSumExp2d
from poolbench.pooling.heads.second_order import SecondOrderPool2d
from poolbench.pooling.heads.simpool import SimPool2d
from poolbench.pooling.heads.spatial_pyramid import SpatialPyramidPool2d
from poolbench.pooling.heads.statistics import StatisticsPool2d
from poolbench.pooling.heads.whole_map import AvgMaxConcat2d, GlobalAvgPool2d, GlobalMaxPool2d
from poolbench.spec import bind, build, locate

each_file = pytest.mark.parametrize("spec", FILES.values(), ids=FILES)
each = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def keeps_constants(head: nn.Module) -> bool:
    return getattr(head, "keeps_constants", True)


def test_the_folder_is_seen() -> None:
    assert {"head-gap", "pooling-gap"} <= FILES.keys()


@pytest.mark.parametrize("name", YAMLS)
def test_a_file_names_itself(name: str) -> None:
    assert YAMLS[name]["name"] == name


@each_file
def test_binds_to_its_signature(spec: dict[str, Any]) -> None:
    bind(spec, CONTEXT, where="head")


@pytest.mark.parametrize("name", [name for name, spec in FILES.items() if spec["_target_"].startswith("poolbench.")])
def test_a_file_says_every_argument_that_the_context_does_not(name: str) -> None:
    spec = FILES[name]
    parameters = inspect.signature(locate(spec["_target_"])).parameters.values()
    own = {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    assert own - CONTEXT.keys() - {"map_size"} == spec.keys() - {"_target_"}


@pytest.mark.quick(7)
@each
@pytest.mark.parametrize("size", [(4, 4), (5, 7), (9, 4)], ids=str)
def test_equals_its_formula(spec: dict[str, Any], size: tuple[int, int]) -> None:
    head = head_for(spec).double().requires_grad_(False)
    if type(head) not in REFERENCES:
        pytest.fail(f"add a slow reference for {type(head).__name__}, from its formula, to references/heads.py")
    for x in (images_for(head, 2, 4, *size, dtype=torch.float64), images(2, 4, *size, dtype=torch.float64).relu()):
        features = head(x)
        assert features.ndim == 2
        assert len(features) == 2
        if getattr(head, "gives_logits", False):
            assert features.shape == (2, CONTEXT["num_classes"])
        torch.testing.assert_close(features, REFERENCES[type(head)](head, x), rtol=1e-6, atol=1e-7)


@pytest.mark.quick(4)
@each
@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck], ids=["first", "second"])
def test_gradient(spec: dict[str, Any], check: Callable[..., bool]) -> None:
    head = head_for(spec).double()
    x = images_for(head, 2, 4, 4, 5, dtype=torch.float64).requires_grad_()
    assert check(head, x)


@pytest.mark.quick(4)
@each
@pytest.mark.parametrize("check", [torch.autograd.gradcheck, torch.autograd.gradgradcheck], ids=["first", "second"])
def test_gradient_of_the_parameters(spec: dict[str, Any], check: Callable[..., bool]) -> None:
    head = head_for(spec).double()
    named = dict(head.named_parameters())
    x = images_for(head, 2, 4, 4, 5, dtype=torch.float64)

    def of_parameters(*values: Tensor) -> Tensor:
        features: Tensor = torch.func.functional_call(head, dict(zip(named, values, strict=True)), x)
        return features

    assert not named or check(of_parameters, tuple(named.values()))


@each
def test_channels_last_changes_nothing(spec: dict[str, Any]) -> None:
    head = head_for(spec)
    x = images_for(head, 2, 4, 6, 5)
    torch.testing.assert_close(head(x.contiguous(memory_format=torch.channels_last)), head(x))


@each
def test_an_image_does_not_see_the_others_and_there_may_be_none(spec: dict[str, Any]) -> None:
    head = head_for(spec)
    x = images_for(head, 3, 4, 4, 5)
    features = head(x)
    torch.testing.assert_close(head(x[1:2]), features[1:2])
    assert head(x[:0]).shape == (0, features.shape[1])


@pytest.mark.quick(4)
@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_close_and_stays(spec: dict[str, Any], dtype: torch.dtype) -> None:
    head = head_for(spec).to(dtype)
    x = images_for(head, 2, 4, 16, 16, dtype=dtype)
    exact, features = copy.deepcopy(head).double()(x.double()), head(x)
    assert features.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(features.double(), exact, rtol=2 * eps, atol=2 * eps)


@each
def test_autocast_takes_no_precision(spec: dict[str, Any]) -> None:
    """What a head multiplies stays float32; class maps' convolution is a network's, and cast like any other."""
    head = head_for(spec)
    x, tolerance = images_for(head, 2, 4, 8, 8), 0.05 if getattr(head, "gives_logits", False) else 1e-6
    with torch.autocast("cpu", torch.bfloat16):
        features = head(x)
    torch.testing.assert_close(features.float(), head(x), rtol=tolerance, atol=tolerance)


@pytest.mark.quick(8)
@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
def test_large_values_stay_finite(spec: dict[str, Any], dtype: torch.dtype) -> None:
    """A mean or maximum reaches to the dtype's largest number; in float32 and bfloat16 the sum must fit as well."""
    head = head_for(spec).to(dtype)
    largest = torch.finfo(dtype).max / (1 if dtype == torch.float16 else 64)
    for sign in (1.0, -1.0):
        x = (images(2, 4, 8, 8).sign() * (largest if keeps_constants(head) else 100.0)).to(dtype)
        x[:, :2] = x[:, :2].abs() * sign
        x.requires_grad_()
        features = head(x)
        features.float().mean().backward()
        assert features.isfinite().all()
        assert x.grad is not None
        assert x.grad.isfinite().all()


@pytest.mark.quick(4)
@each
def test_a_dead_map_gives_finite_features_and_gradients(spec: dict[str, Any]) -> None:
    head, x = head_for(spec), torch.zeros(2, 4, 4, 4, requires_grad=True)
    features = head(x)
    features.sum().backward()
    assert features.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@each
def test_nan_is_not_swallowed(spec: dict[str, Any]) -> None:
    head = head_for(spec)
    x = images_for(head, 2, 4, 4, 4)
    x[1, 2, 1, 1] = math.nan
    features = head(x)
    assert features[1].isnan().any()
    assert features[0].isfinite().all()


@pytest.mark.quick(3)
@each
def test_state_copies_and_determinism(spec: dict[str, Any]) -> None:
    head, other = head_for(spec), head_for(spec)
    x = images_for(head, 2, 4, 4, 4)
    for value in other.state_dict().values():
        value.zero_()
    buffer = io.BytesIO()
    torch.save(head.state_dict(), buffer)
    other.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    for same in (head, other, copy.deepcopy(head), head.train()):
        assert torch.equal(same(x), head(x))


# ---- what the heads declare ----


@pytest.mark.quick(4)
@each
def test_constants_are_kept_where_declared(spec: dict[str, Any]) -> None:
    head = head_for(spec)
    values = torch.tensor([0.25, 1.0, 3.0]).view(3, 1, 1, 1)
    features = head(values.expand(3, 4, 4, 4))
    kept = torch.allclose(features, values.view(3, 1).expand_as(features), rtol=1e-5)
    assert kept == keeps_constants(head)


@each
def test_places_may_be_permuted_where_declared(spec: dict[str, Any]) -> None:
    head = head_for(spec)
    x = images_for(head, 2, 4, 4, 5)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    same = torch.allclose(head(x.flatten(2)[..., order].view_as(x)), head(x), rtol=1e-4, atol=1e-5)
    assert same == getattr(head, "permutes", False)


@pytest.mark.quick(3)
@each
def test_ties_keep_the_whole_gradient(spec: dict[str, Any]) -> None:
    """Where constants are kept, a step of the whole map by 1 is a step of every feature by 1."""
    head = head_for(spec)
    x = torch.ones(2, 4, 4, 4, requires_grad=True)
    features = head(x)
    features.sum().backward()
    assert x.grad is not None
    if keeps_constants(head):
        torch.testing.assert_close(x.grad.sum(), torch.tensor(float(features.numel())), rtol=1e-4, atol=1e-4)
    else:
        assert x.grad.isfinite().all()


# ---- compiled and exported ----


@pytest.mark.quick(1)
@each
@pytest.mark.parametrize(
    "backend",
    ["eager", pytest.param("aot_eager", marks=pytest.mark.slow), pytest.param("inductor", marks=pytest.mark.slow)],
)
def test_compiled_equals_eager(spec: dict[str, Any], backend: str) -> None:
    if backend == "inductor":
        from torch._inductor.cpp_builder import get_cpp_compiler

        assert get_cpp_compiler(), "torch.compile needs a C++ compiler on the path for its inductor backend"
    torch._dynamo.reset()
    head = head_for(spec)
    compiled = torch.compile(head, backend=backend, fullgraph=True)
    for size in ((5, 6), (8, 4)):  # the second size makes the compiler treat sizes as variables
        found = []
        for module in (head, compiled):
            x = images_for(head, 2, 4, *size).requires_grad_()
            features = module(x)
            features.square().sum().backward()
            found.append((features, x.grad))
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.quick(2)
@each
def test_exported_equals_eager(spec: dict[str, Any]) -> None:
    head = head_for(spec)
    x = images_for(head, 2, 4, 8, 6)
    torch.testing.assert_close(torch.export.export(head, (x,)).module()(x), head(x))


def through_onnx(head: nn.Module, x: Tensor) -> Tensor:
    """Export to ONNX and run that; the exporter's own warnings are not the head's."""
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(head, (x,), dynamo=True, verbose=False)
    assert program is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        program.model_proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (features,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    return torch.from_numpy(features)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(spec, id=name, marks=() if name == "global_gem[channel]" else pytest.mark.slow)
        for name, spec in SPECS.items()
    ],
)
def test_onnx_equals_eager(spec: dict[str, Any]) -> None:
    head = head_for(spec)
    x = images_for(head, 2, 4, 8, 8)
    reason = getattr(head, "onnx", None)
    if reason is None:
        torch.testing.assert_close(through_onnx(head, x), head(x).detach(), rtol=1e-4, atol=1e-5)
    else:
        with pytest.raises(torch.onnx.errors.OnnxExporterError):
            through_onnx(head, x)


# ---- the same heads of other libraries ----


def assert_same(ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    """Compare features, and gradients of the image and of parameters of the same name."""
    found = []
    for module in (ours, theirs):
        module.zero_grad()
        leaf = x.clone().requires_grad_()
        features = module(leaf).flatten(1)
        (features * torch.arange(1, features.numel() + 1, dtype=x.dtype).view_as(features)).sum().backward()
        found.append((features, leaf.grad))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("size", [(8, 8), (7, 5)], ids=str)
def test_equals_torch(size: tuple[int, int]) -> None:
    x = images(2, 4, *size, dtype=torch.float64)
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (GlobalAvgPool2d(), nn.AdaptiveAvgPool2d(1)),
        (GlobalMaxPool2d(), nn.AdaptiveMaxPool2d(1)),
        (GAMPPool2d(k=1), nn.AdaptiveMaxPool2d(1)),
        (GAMPPool2d(k=1.0), nn.AdaptiveAvgPool2d(1)),
        (AdaptiveAvgPool2dFlatten((3, 2)), nn.AdaptiveAvgPool2d((3, 2))),
        (AdaptiveMaxPool2dFlatten((3, 2)), nn.AdaptiveMaxPool2d((3, 2))),
        (SpatialPyramidPool2d([3]), nn.AdaptiveMaxPool2d(3)),
        (SpatialPyramidPool2d([3], mode="avg"), nn.AdaptiveAvgPool2d(3)),
        (AttentionPool2d(4).double(), nn.AdaptiveAvgPool2d(1)),
    ]
    for ours, theirs in pairs:
        assert_same(ours, theirs, x)


def test_gem_is_torchs_power_pooling_but_for_the_count() -> None:
    x, head = images(2, 4, 6, 5, dtype=torch.float64).abs() + 0.01, GlobalGeMPool2d(p=2.5).double()
    theirs = F.lp_pool2d(x, 2.5, (6, 5)).flatten(1) / 30 ** (1 / 2.5)
    torch.testing.assert_close(head(x), theirs)


def test_second_order_is_torchs_covariance() -> None:
    x = images(2, 4, 6, 5, dtype=torch.float64)
    upper = torch.ones(4, 4).triu().bool()
    theirs = torch.stack([torch.cov(image.flatten(1), correction=0)[upper] for image in x])
    torch.testing.assert_close(SecondOrderPool2d(iterations=0)(x), theirs)


def test_equals_timm() -> None:
    from timm.layers import SelectAdaptivePool2d
    from timm.layers.attention_pool import AttentionPoolLatent
    from timm.layers.other_pool import LsePlus2d
    from timm.layers.other_pool import SimPool2d as TimmSimPool2d

    x = images(2, 4, 7, 5, dtype=torch.float64)
    assert_same(GlobalAvgPool2d(), SelectAdaptivePool2d(pool_type="avg", flatten=True), x)
    assert_same(GlobalMaxPool2d(), SelectAdaptivePool2d(pool_type="max", flatten=True), x)
    assert_same(AvgMaxConcat2d(), SelectAdaptivePool2d(pool_type="catavgmax", flatten=True), x)

    smooth, theirs = GlobalLogSumExp2d(10.0, learned=True).double(), LsePlus2d(r=10.0).double()
    assert_same(smooth, theirs, x)
    assert smooth.log_beta is not None
    assert smooth.log_beta.grad is not None
    assert theirs.r.grad is not None
    torch.testing.assert_close(smooth.log_beta.grad[0], theirs.r.grad * theirs.r)  # the chain rule of exp

    simpool = SimPool2d(4, heads=2, gamma=None).double()
    other = TimmSimPool2d(4, num_heads=2, norm_layer=partial(nn.LayerNorm, eps=1e-6)).double()
    other.q.load_state_dict(simpool.query.state_dict())
    other.k.load_state_dict(simpool.key.state_dict())
    assert_same(simpool, other, x)

    # One learned query, the keys and values unprojected: then the latent attention is ours, for one head.
    attention, latent = AttentionPool2d(4).double(), AttentionPoolLatent(4, out_features=0, num_heads=1, q_proj=False)
    with torch.no_grad():
        attention.query.copy_(images(1, 4))
        latent.latent.copy_(attention.query.view(1, 1, 4))
        latent.kv.weight.copy_(torch.eye(4).repeat(2, 1))
        latent.kv.bias.zero_()
    latent = latent.double()
    latent_of_maps = nn.Sequential(nn.Flatten(2), Transposed(), latent)
    assert_same(attention, latent_of_maps, x)


class Transposed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


# ---- what is learned ----


# Heads that are no better than means and largest values, by what they are.
NO_BETTER = {ClassMaps: "of class maps, means are an affine function of the map's means"}


@pytest.mark.quick(2)
@each
def test_every_parameter_learns_what_means_and_largest_values_cannot(spec: dict[str, Any]) -> None:
    torch.manual_seed(0)
    head: nn.Module = build(spec, CONTEXT, where="head")  # from its start
    start = {name: value.clone() for name, value in head.named_parameters()}
    x = images_for(head, 64, 4, 5, 5)
    if not start:
        assert not head(x).requires_grad
        return
    with torch.no_grad():
        target = head_for(spec)(x)
    losses = minimise(lambda: F.mse_loss(head(x), target), list(head.parameters()), steps=100, rate=0.02)
    assert losses[-1] < losses[0] / 10
    assert (losses[-1] < left_by_gap_and_gmp(x, target) / 10) == (type(head) not in NO_BETTER)
    assert all((value != start[name]).any() for name, value in head.named_parameters())


def minimise(loss_of: Callable[[], Tensor], parameters: list[nn.Parameter], *, steps: int, rate: float) -> list[float]:
    optimizer, losses = torch.optim.Adam(parameters, lr=rate), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def left_by_gap_and_gmp(x: Tensor, target: Tensor) -> float:
    """Return the mean square that the best affine function of all means and largest values leaves."""
    features = torch.cat([AvgMaxConcat2d()(x), torch.ones(len(x), 1)], dim=1)
    best = torch.linalg.lstsq(features, target).solution
    return F.mse_loss(features @ best, target).item()


@pytest.mark.parametrize("per", ["layer", "channel"])
def test_gem_finds_the_exponent(per: str) -> None:
    x, wanted = images(64, 4, 5, 5).abs() + 0.1, torch.tensor([2.0, 2.0, 2.0, 2.0])
    if per == "channel":
        wanted = torch.tensor([1.0, 2.0, 5.0, 8.0])
    target = x.pow(wanted.view(1, 4, 1, 1)).mean((2, 3)).pow(1 / wanted)
    head = GlobalGeMPool2d(per=per, channels=4)
    losses = minimise(lambda: F.mse_loss(head(x), target), list(head.parameters()), steps=200, rate=0.1)
    torch.testing.assert_close(head.p.detach(), wanted[: head.p.numel()], rtol=0.02, atol=0.02)
    assert losses[-1] < left_by_gap_and_gmp(x, target) / 10


def test_log_sum_exp_finds_beta() -> None:
    x = images(64, 4, 5, 5)
    target = GlobalLogSumExp2d(beta=3.0)(x)
    head = GlobalLogSumExp2d(learned=True)
    losses = minimise(lambda: F.mse_loss(head(x), target), list(head.parameters()), steps=200, rate=0.05)
    assert head.log_beta is not None
    torch.testing.assert_close(head.log_beta.detach().exp(), torch.tensor([3.0]), rtol=0.02, atol=0.0)
    assert losses[-1] < left_by_gap_and_gmp(x, target) / 10


@pytest.mark.parametrize("heads", [1, 2])
def test_attention_looks_where_it_must(heads: int) -> None:
    """One place is marked in channel 0: the value of channel 1 there is wanted."""
    x = images(64, 2, 4, 4)
    marked = torch.randint(16, (64,), generator=torch.Generator().manual_seed(5))
    x[:, 0] = 0
    x.flatten(2)[torch.arange(64), 0, marked] = 1
    target = x.flatten(2)[torch.arange(64), 1, marked].view(64, 1)
    head = AttentionPool2d(2, heads=heads)
    assert torch.allclose(head(x), x.mean((2, 3)), atol=1e-6)
    losses = minimise(lambda: F.mse_loss(head(x)[:, 1:], target), list(head.parameters()), steps=300, rate=0.2)
    assert losses[-1] < left_by_gap_and_gmp(x, target) / 50
    assert torch.equal(head.attend(x)[1][:, -1].argmax(-1), marked)


@pytest.mark.quick(1)
@pytest.mark.parametrize("gamma", [None, 2.0])
def test_simpool_looks_where_it_must(gamma: float | None) -> None:
    """The marked place is found through the keys; the layer after the head undoes the normalisation."""
    x = images(64, 3, 4, 4)
    marked = torch.randint(16, (64,), generator=torch.Generator().manual_seed(5))
    x[:, 0] = 0
    x.flatten(2)[torch.arange(64), 0, marked] = 8
    x[:, 2] = -x[:, 1]
    target = x.flatten(2)[torch.arange(64), 1, marked].view(64, 1)
    torch.manual_seed(0)
    head, out = SimPool2d(3, gamma=gamma), nn.Linear(3, 1)
    learned = [*head.parameters(), *out.parameters()]
    losses = minimise(lambda: F.mse_loss(out(head(x)), target), learned, steps=600, rate=0.02)
    assert losses[-1] < left_by_gap_and_gmp(x, target) / 10


# ---- single heads ----


def test_means_come_before_largest_values() -> None:
    x = torch.tensor([[[[0.0, 4.0]], [[1.0, 7.0]]]])
    assert AvgMaxConcat2d()(x).tolist() == [[2.0, 4.0, 4.0, 7.0]]


@pytest.mark.parametrize("kind", [AdaptiveAvgPool2dFlatten, AdaptiveMaxPool2dFlatten])
def test_cells_overlap_where_the_size_does_not_divide(kind: type[AdaptiveAvgPool2dFlatten]) -> None:
    x = torch.tensor([[[[1.0, 2.0, 9.0]]]])
    expected = [[1.5, 5.5]] if kind is AdaptiveAvgPool2dFlatten else [[2.0, 9.0]]
    assert kind(output_size=(1, 2))(x).tolist() == expected
    assert kind(output_size=(1, 2)).extra_repr() == "output_size=(1, 2)"


@pytest.mark.parametrize("kind", [AdaptiveAvgPool2dFlatten, AdaptiveMaxPool2dFlatten])
def test_a_grid_finer_than_the_map_repeats_values(kind: type[AdaptiveAvgPool2dFlatten]) -> None:
    assert kind()(torch.tensor([[[[3.0]], [[5.0]]]])).tolist() == [[3.0] * 4 + [5.0] * 4]
    # Of three columns the middle one has both values.
    both = 1.5 if kind is AdaptiveAvgPool2dFlatten else 2.0
    assert kind(output_size=(1, 3))(torch.tensor([[[[1.0, 2.0]]]])).tolist() == [[1.0, both, 2.0]]


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 3), (3, 2)], ids=str)
@pytest.mark.parametrize("grid", [(2, 2), (3, 5), (7, 4)], ids=str)
@pytest.mark.parametrize("kind", [AdaptiveAvgPool2dFlatten, AdaptiveMaxPool2dFlatten])
def test_a_finer_grid_is_torchs(
    kind: type[AdaptiveAvgPool2dFlatten], grid: tuple[int, int], size: tuple[int, int]
) -> None:
    theirs = nn.AdaptiveAvgPool2d if kind is AdaptiveAvgPool2dFlatten else nn.AdaptiveMaxPool2d
    head, x = kind(output_size=grid), images(2, 3, *size, dtype=torch.float64)
    assert_same(head, theirs(grid), x)
    torch.testing.assert_close(head(x), REFERENCES[kind](head, x))
    assert head(x).shape[1] == head.features_of(3)


@pytest.mark.parametrize(
    ("grid", "size", "said"),
    [
        (2, (1, 1), "a 2x2 grid of a 1x1 map: values are repeated"),
        ((1, 3), (4, 2), "a 1x3 grid of a 4x2 map: values are repeated"),
        ((3, 1), (2, 4), "a 3x1 grid of a 2x4 map: values are repeated"),
        (2, (2, 2), ""),
        (2, (3, 5), ""),
    ],
    ids=str,
)
def test_a_finer_grid_is_remarked_on(grid: Any, size: tuple[int, int], said: str) -> None:
    for kind in (AdaptiveAvgPool2dFlatten, AdaptiveMaxPool2dFlatten):
        assert kind(output_size=grid).remark(size) == said
        assert ClassMaps(4, 3, kind(output_size=grid)).remark(size) == said
    assert ClassMaps(4, 3, nn.Flatten()).remark(size) == ""


@each
def test_a_head_has_nothing_to_remark_on_a_large_map(spec: dict[str, Any]) -> None:
    remark = getattr(head_for(spec), "remark", None)
    assert (remark is None) == (not spec["_target_"].startswith("poolbench."))
    assert remark is None or remark((8, 8)) == ""


@pytest.mark.parametrize("kind", [AdaptiveAvgPool2dFlatten, AdaptiveMaxPool2dFlatten])
def test_a_grid_of_no_cells_is_an_error(kind: type[AdaptiveAvgPool2dFlatten]) -> None:
    with pytest.raises(ValueError, match="`output_size` must be one or two whole numbers of at least 1, got 0"):
        kind(output_size=0)


def test_a_level_finer_than_the_map_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"`levels` must be at most the map's size 5x3, got \(1, 2, 4\)"):
        SpatialPyramidPool2d()(torch.zeros(1, 1, 5, 3))


def test_gamp_counts_and_takes_the_first_of_equals() -> None:
    x = torch.tensor([[[[1.0, 5.0, 0.0], [1.0, 1.0, 0.0]]]], requires_grad=True)
    GAMPPool2d(k=3)(x).backward(torch.tensor([[3.0]]))
    assert x.grad is not None
    assert x.grad.tolist() == [[[[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]]]
    assert GAMPPool2d(k=0.5)(x).item() == pytest.approx(7 / 3)
    assert GAMPPool2d(k=0.01)(x).item() == 5  # never fewer than one
    with pytest.raises(ValueError, match="`k` must be at most the number of values of the map, 2x3, got 7"):
        GAMPPool2d(k=7)(x)


def test_gem_ends_at_the_mean_and_the_maximum() -> None:
    x = images(2, 4, 5, 5).abs() + 0.1
    torch.testing.assert_close(GlobalGeMPool2d(p=1.0)(x), x.mean((2, 3)))
    torch.testing.assert_close(GlobalGeMPool2d(p=500.0)(x), x.amax((2, 3)), rtol=0.01, atol=0)
    torch.testing.assert_close(GlobalGeMPool2d()(-x), torch.full((2, 4), 1e-6))


def test_log_sum_exp_ends_at_the_mean_and_the_maximum() -> None:
    x = images(2, 4, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(GlobalLogSumExp2d(beta=1e-6)(x), x.mean((2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(GlobalLogSumExp2d(beta=1e4)(x), x.amax((2, 3)), rtol=1e-2, atol=1e-3)
    assert GlobalLogSumExp2d()(torch.tensor([[[[math.inf, 0.0]]], [[[-math.inf, -math.inf]]]])).tolist() == [
        [math.inf],
        [-math.inf],
    ]


def test_simpool_keeps_to_each_image() -> None:
    x = images(2, 4, 4, 4)
    with_outlier = x.clone()
    with_outlier[1, 0, 0, 0] = -1000
    torch.manual_seed(0)
    head = SimPool2d(4)
    assert torch.equal(head(x)[0], head(with_outlier)[0])


def test_a_sketch_estimates_the_scalar_product() -> None:
    """Means over many draws of the hashes meet the products of the full features."""
    x = images(2, 6, 3, 3, dtype=torch.float64)
    full = BilinearPool2d(signed_sqrt=False, l2=False)(x)
    torch.manual_seed(0)
    estimates = []
    for _ in range(1000):
        one, two = CompactBilinearPool2d(6, features=64, signed_sqrt=False, l2=False)(x)
        estimates.append(one @ two)
    sample = torch.stack(estimates)
    error = sample.std() / math.sqrt(len(sample))
    assert abs(sample.mean() - full[0] @ full[1]) < 4 * error
    assert error < 0.1 * full.norm(dim=1).prod()


def test_a_sketch_is_drawn_when_built_and_travels_with_the_state() -> None:
    torch.manual_seed(0)
    head, other = CompactBilinearPool2d(6, features=9), CompactBilinearPool2d(6, features=9)
    assert not torch.equal(head.hashes, other.hashes)
    torch.manual_seed(0)
    assert torch.equal(CompactBilinearPool2d(6, features=9).hashes, head.hashes)
    other.load_state_dict(head.state_dict())
    x = images(2, 6, 3, 3)
    assert torch.equal(other(x), head(x))
    assert not list(head.parameters())


def test_more_steps_come_closer_to_the_square_root() -> None:
    x = images(2, 4, 8, 8, dtype=torch.float64)
    upper = torch.ones(4, 4).triu().bool()
    values, vectors = torch.linalg.eigh(torch.stack([torch.cov(image.flatten(1), correction=0) for image in x]))
    root = (vectors * values.sqrt().unsqueeze(1)) @ vectors.transpose(1, 2)
    errors = [(SecondOrderPool2d(n)(x) - root[:, upper]).norm().item() for n in (1, 3, 5, 12)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-9


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (GAMPPool2d, {"k": 0}, r"`k` must be a whole number of at least 1 or a fraction in \(0, 1.0\], got 0"),
        (GAMPPool2d, {"k": 1.5}, r"`k` must be .* got 1.5"),
        (GAMPPool2d, {"k": True}, r"`k` must be .* got True"),
        (GlobalGeMPool2d, {"p": 0}, "`p` must be a number above 0, got 0"),
        (GlobalGeMPool2d, {"p": math.nan}, "`p` must be a number above 0, got nan"),
        (GlobalGeMPool2d, {"eps": -1.0}, "`eps` must be a number above 0, got -1.0"),
        (GlobalGeMPool2d, {"per": "map"}, "`per` must be 'layer', 'channel' or 'group', got 'map'"),
        (GlobalGeMPool2d, {"per": "group", "channels": 4, "groups": 5}, "`groups` must be in 1..4, .* got 5"),
        (GlobalGeMPool2d, {"per": "group", "channels": 4}, "`groups` must be in 1..4, .* got None"),
        (GlobalGeMPool2d, {"per": "group", "groups": 2}, "`channels` must be the number of channels for per='group'"),
        (GlobalGeMPool2d, {"groups": 2}, "`groups` does nothing for per='layer'; leave it out, got 2"),
        (StatisticsPool2d, {"attentive": 1}, "`attentive` must be true or false, got 1"),
        (StatisticsPool2d, {"hidden": 4}, "`hidden` does nothing for `attentive=False`; leave it out, got 4"),
        (StatisticsPool2d, {"attentive": True}, "`channels` must be the number of channels for attentive=True, got No"),
        (
            StatisticsPool2d,
            {"attentive": True, "channels": 4, "hidden": 0},
            "`hidden` must be a whole number of at lea",
        ),
        (GlobalAutoPool2d, {"per": "map"}, "`per` must be 'layer' or 'channel', got 'map'"),
        (GlobalGeMPool2d, {"per": "channel"}, "`channels` must be the number of channels for per='channel', got None"),
        (GlobalLogSumExp2d, {"beta": -2}, "`beta` must be a number above 0, got -2"),
        (GlobalLogSumExp2d, {"learned": 1}, "`learned` must be true or false, got 1"),
        (SpatialPyramidPool2d, {"levels": []}, r"`levels` must be a list of whole numbers of at least 1, got \[\]"),
        (SpatialPyramidPool2d, {"levels": 4}, "`levels` must be a list of whole numbers of at least 1, got 4"),
        (SpatialPyramidPool2d, {"levels": [1, 0]}, r"`levels` must be .* got \[1, 0\]"),
        (SpatialPyramidPool2d, {"mode": "min"}, "`mode` must be 'max' or 'avg', got 'min'"),
        (AttentionPool2d, {"channels": 4, "heads": 3}, "`heads` must divide the number of channels, 4, got 3"),
        (AttentionPool2d, {"channels": 4, "heads": 0}, "`heads` must be a whole number of at least 1, got 0"),
        (AttentionPool2d, {"channels": 0}, "`channels` must be a whole number of at least 1, got 0"),
        (SimPool2d, {"channels": 4, "heads": 3}, "`heads` must divide the number of channels, 4, got 3"),
        (SimPool2d, {"channels": 4, "gamma": 0.0}, "`gamma` must be a number above 0, got 0.0"),
        (BilinearPool2d, {"l2": None}, "`l2` must be true or false, got None"),
        (BilinearPool2d, {"signed_sqrt": 1}, "`signed_sqrt` must be true or false, got 1"),
        (CompactBilinearPool2d, {"channels": 4, "features": 0}, "`features` must be a whole number of at least 1, got"),
        (SecondOrderPool2d, {"iterations": -1}, "`iterations` must be a whole number of at least 0, got -1"),
    ],
    ids=str,
)
def test_arguments_have_rules(kind: type[nn.Module], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


def test_class_maps_arguments() -> None:
    with pytest.raises(ValueError, match="`channels` must be a whole number of at least 1, got 0"):
        ClassMaps(0, 3, GlobalAvgPool2d())
    with pytest.raises(ValueError, match="`num_classes` must be a whole number of at least 1, got None"):
        ClassMaps(4, None, GlobalAvgPool2d())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`pool` must be a module or a specification of one, got 'gap'"):
        ClassMaps(4, 3, "gap")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`pool` must keep the width, 3 class maps to as many logits, got \(6,\)"):
        ClassMaps(4, 3, AvgMaxConcat2d())(torch.zeros(2, 4, 5, 5))


def test_class_maps_declare_what_their_head_does() -> None:
    assert ClassMaps(4, 3, GlobalAvgPool2d()).permutes
    assert not ClassMaps(4, 3, AdaptiveAvgPool2dFlatten(1)).permutes


def test_a_misspelt_argument_of_a_nested_head_is_found() -> None:
    spec = {
        "_target_": "poolbench.pooling.ClassMaps",
        "pool": {"_target_": "poolbench.pooling.AdaptiveAvgPool2dFlatten", "output": 1},
    }
    with pytest.raises(ConfigurationError, match="output"):
        build(spec, CONTEXT, where="head")


def check_exported_for_any_size(spec: dict[str, Any], *, strict: bool) -> None:
    head = head_for(spec)
    sizes = {0: Dim("batch", min=2, max=16), 2: Dim("height", min=8, max=64), 3: Dim("width", min=8, max=64)}
    x = images_for(head, 2, 4, 12, 10)
    program = torch.export.export(head, (x,), dynamic_shapes=(sizes,), strict=strict).module()
    for size in ((2, 12, 10), (3, 9, 11), (2, 15, 8)):
        x = images_for(head, size[0], 4, *size[1:])
        torch.testing.assert_close(program(x), head(x), rtol=1e-4, atol=1e-5)


def test_a_fraction_of_places_is_that_of_any_size() -> None:
    """Exported or traced once, a head takes as many values of another map as that has for it."""
    spec = {"_target_": "poolbench.pooling.GAMPPool2d", "k": 0.25}
    check_exported_for_any_size(spec, strict=False)
    head = head_for(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch calls its tracing deprecated
        traced = torch.jit.trace(head, images(1, 4, 4, 4))
    for x in (images(2, 4, 9, 7), images(1, 4, 1, 1)):
        torch.testing.assert_close(traced(x), head(x))
    line = GAMPPool1d(0.25)
    length = {2: Dim("length", min=8, max=64)}
    exported = torch.export.export(line, (torch.rand(2, 4, 16),), dynamic_shapes=(length,)).module()
    x = torch.rand(2, 4, 21)
    torch.testing.assert_close(exported(x), line(x))


@pytest.mark.slow
@each
@pytest.mark.parametrize("strict", [False, True])
def test_exported_once_for_any_size(spec: dict[str, Any], strict: bool) -> None:
    check_exported_for_any_size(spec, strict=strict)
