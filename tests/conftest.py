"""What all tests share: where their draws begin, how the collected tests are kept, which of many cases are quick."""

import gc
import os
import random
import sys
from collections import defaultdict
from zlib import crc32

import hypothesis
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Begin every test at the same place of the global streams, whatever ran before it and in which process."""
    random.seed(0)
    np.random.seed(0)
    if (torch := sys.modules.get("torch")) is not None:  # importing it for a test that does without takes seconds
        torch.manual_seed(0)


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, and keep onnxruntime off the network: several tests import it by themselves.

    Garbage is not collected until the tests are: of what collection makes nearly all stays, and looking at it again and
    again took a third of the time.
    """
    gc.disable()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # A busy machine may take a second over any example.
    hypothesis.settings.register_profile("busy", deadline=None)
    hypothesis.settings.load_profile("busy")
    config.addinivalue_line(
        "markers", "quick(n): of the test's cases n are quick, spread over all; the others are slow"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all but n cases of a test marked `quick(n)` as slow, chosen by their names: the same ones everywhere.

    Cases that are slow by themselves are not chosen.
    """
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if item.get_closest_marker("quick") is not None and item.get_closest_marker("slow") is None:
            cases[item.nodeid.partition("[")[0]].append(item)
    for own in cases.values():
        quick = own[0].get_closest_marker("quick")
        assert quick is not None
        for item in sorted(own, key=lambda item: crc32(item.nodeid.encode()))[quick.args[0] :]:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Take what collection made, some million objects that stay, out of every later collection of garbage."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give it back, so that what ends with the process is taken apart in order."""
    gc.unfreeze()
