"""Parameters and multiply-adds of networks small enough to count by hand."""

import pytest
import torch
from torch import Tensor, nn

from poolbench.measure.cost import cost


class Drawing(nn.Module):
    """Draws from torch's generator and counts its calls, whatever the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = nn.Buffer(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        self.calls += 1
        return images * torch.rand(())


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, kernel_size=3, padding=1),  # 3·8·9 + 8 parameters, 3·8·9 products at each of 6·6 places
        nn.BatchNorm2d(8),  # 16 parameters
        nn.ReLU(),
        Drawing(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, kernel_size=3, padding=1, groups=4, bias=False),  # 2·2·9·4 parameters, at 3·3 places
        nn.Flatten(),
        nn.Linear(72, 5),  # 72·5 + 5
    )


def test_cost_by_hand() -> None:
    counted = network()
    counted[7].bias.requires_grad_(False)
    assert cost(counted, (3, 6, 6)) == {
        "parameters": 224 + 16 + 144 + 365,
        "parameters_trainable": 224 + 16 + 144 + 360,
        "multiply_adds": 216 * 36 + 144 * 9 + 360,
    }


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveMaxPool2d(1)])
def test_the_counter_is_blind_to_poolings(pool: nn.Module) -> None:
    assert cost(pool, (3, 6, 6)) == {"parameters": 0, "parameters_trainable": 0, "multiply_adds": 0}


def test_nothing_changes() -> None:
    counted = network().train()
    counted[1].eval()  # a part that was frozen stays so
    before = {name: value.clone() for name, value in counted.state_dict().items()}
    modes = [module.training for module in counted.modules()]
    torch.manual_seed(7)
    expected = torch.get_rng_state()
    cost(counted, (3, 6, 6))
    assert torch.equal(torch.get_rng_state(), expected)
    assert [module.training for module in counted.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in counted.state_dict().items())
    assert all(parameter.grad is None for parameter in counted.parameters())


def test_the_input_has_the_networks_dtype() -> None:
    assert cost(nn.Sequential(nn.Flatten(), nn.Linear(4, 2).double()), (1, 2, 2))["multiply_adds"] == 8


def test_one_image_trains_no_batch_norm() -> None:
    # In training mode a batch norm refuses a single value for each channel.
    assert cost(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4).train()), (4, 1, 1))["multiply_adds"] == 0
