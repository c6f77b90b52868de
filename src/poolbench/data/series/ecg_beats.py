"""Heartbeats of generated patients, those of the test not seen in training."""

from collections.abc import Sequence

import torch

from poolbench.checks import whole_number
from poolbench.data.images import LoadedImages
from poolbench.data.in_memory import held, loaded
from poolbench.data.series.heartbeats import CLASS_NAMES, LENGTH, RATE_HZ, Heartbeats, simulate
from poolbench.streams import stream


class EcgBeats:
    """What kind of beat stands in the middle of 2.5 seconds: five kinds, by a dynamical model of the electrocardiogram.

    `poolbench.data.series.heartbeats` says what they are. Values are millivolts, 128 a second. Recordings of the test
    are of other patients than those of the training; each is a group. What is drawn comes from a stream that no seed
    changes.

    Args:
        name: what tables call it.
        channels: 1.
        image_size: [320].
        num_classes: 5.
        train_recordings: how many patients there are for training and validation.
        test_recordings: how many for the test.
        beats: examples of each.

    Raises:
        ConfigurationError: an argument is out of range.

    >>> images = EcgBeats(train_recordings=2, test_recordings=2, beats=10).load()
    >>> images.train.shape, len(images.train)
    ((1, 320), 20)
    """

    channels = 1
    image_size: Sequence[int] = (LENGTH,)
    num_classes = len(CLASS_NAMES)
    step_ms = 1000 / RATE_HZ

    def __init__(
        self, *, name: str = "ecg_beats", train_recordings: int = 30, test_recordings: int = 20, beats: int = 50
    ) -> None:
        self.name = name
        self.train_recordings = whole_number("dataset.train_recordings", train_recordings)
        self.test_recordings = whole_number("dataset.test_recordings", test_recordings, least=2)
        self.beats = whole_number("dataset.beats", beats, least=2 * self.num_classes)

    def fingerprint(self) -> str:
        """Return the name of the generator, its version and what it is asked for."""
        return f"ecg_beats/1/{self.train_recordings}/{self.test_recordings}/{self.beats}"

    def load(self) -> LoadedImages:
        """Return the beats."""
        train = self._simulated("train", self.train_recordings)
        test = self._simulated("test", self.test_recordings)
        return loaded(
            held("train", train.millivolts[:, None], train.labels),
            held("test", test.millivolts[:, None], test.labels),
            CLASS_NAMES,
            test_groups=torch.from_numpy(test.recordings),
        )

    def _simulated(self, part: str, recordings: int) -> Heartbeats:
        return simulate(recordings, self.beats, stream(0, "ecg_beats", part))
