"""Generated tones as log-mel spectrograms: which rhythm, and which pitch."""

from collections.abc import Sequence

from poolbench.checks import whole_number
from poolbench.data.images import HeldImages, LoadedImages
from poolbench.data.in_memory import held, loaded
from poolbench.data.sounds.log_mel import LogMel
from poolbench.data.sounds.rhythms import CLASS_NAMES, RATE_HZ, SAMPLES, play
from poolbench.streams import stream

LOG_MEL = LogMel(RATE_HZ, bands=40, fft=256, hop=128)


class Tones:
    """One of three rhythms at one of three pitches, beginning anywhere in the clip: `poolbench.data.sounds.rhythms`.

    A clip of 1.02 s becomes a spectrogram of 40 mel bands and 33 frames. What is drawn comes from a stream that no seed
    changes.

    Args:
        name: what tables call it.
        channels: 1.
        image_size: [40, 33], frequencies and frames.
        num_classes: 9.
        train_clips: how many there are for training and validation.
        test_clips: how many for the test.

    Raises:
        ConfigurationError: an argument is out of range.

    >>> images = Tones(train_clips=18, test_clips=18).load()
    >>> images.train.shape, len(images.train)
    ((1, 40, 33), 18)
    """

    channels = 1
    image_size: Sequence[int] = (LOG_MEL.bands, LOG_MEL.frames(SAMPLES))
    num_classes = len(CLASS_NAMES)
    step_ms = 1000 * LOG_MEL.hop / RATE_HZ

    def __init__(self, *, name: str = "tones", train_clips: int = 1080, test_clips: int = 900) -> None:
        self.name = name
        self.train_clips = whole_number("dataset.train_clips", train_clips, least=2 * self.num_classes)
        self.test_clips = whole_number("dataset.test_clips", test_clips, least=self.num_classes)

    def fingerprint(self) -> str:
        """Return the name of the generator, its version and what it is asked for."""
        return f"tones/1/{self.train_clips}/{self.test_clips}"

    def load(self) -> LoadedImages:
        """Return the spectrograms."""
        return loaded(self._held("train", self.train_clips), self._held("test", self.test_clips), CLASS_NAMES)

    def _held(self, part: str, clips: int) -> HeldImages:
        tones = play(clips, stream(0, "tones", part))
        return held(part, LOG_MEL(tones.waves)[:, None], tones.labels)
