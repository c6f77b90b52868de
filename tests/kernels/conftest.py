"""What tests of kernels share: plans that no other test has made."""

from collections.abc import Iterator

import pytest

from poolbench.kernels.cpu import launch


@pytest.fixture
def fresh_plans() -> Iterator[None]:
    """No plans that other tests made, under other limits, and none that this one leaves behind."""
    launch._ready.cache_clear()
    yield
    launch._ready.cache_clear()
