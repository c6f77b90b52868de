"""Log-mel spectrograms of whole batches, on the device they are on."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from poolbench.checks import number_above, whole_number
from poolbench.errors import ConfigurationError


def mel_of(hz: float) -> float:
    """Return a frequency in mel, 2595·log₁₀(1 + f/700) (O'Shaughnessy 1987, as in HTK).

    >>> round(mel_of(1000), 1)
    1000.0
    """
    return 2595 * math.log10(1 + hz / 700)


def hz_of(mel: float) -> float:
    """Return the frequency of a pitch in mel.

    >>> round(hz_of(mel_of(440.0)), 6)
    440.0
    """
    return 700 * (10 ** (mel / 2595) - 1)


def mel_matrix(bands: int, fft: int, rate_hz: float, lowest_hz: float = 0.0) -> Tensor:
    """Return the weights of bands over the frequencies of a Fourier transform, float32 (bands, fft // 2 + 1).

    Band b is a triangle over frequency with its foot at edges b and b + 2 and a peak of 1 at edge b + 1; the bands + 2
    edges are equally spaced in mel from `lowest_hz` to half of `rate_hz`.

    Of three bands to 4,000 Hz the edges are 0, 426.8, 1113.8, 2219.8 and 4000 Hz. A transform of 8 samples has the
    frequencies 0, 1000, 2000, 3000 and 4000 Hz, of which the first band holds 1000 Hz alone, on its falling side, by
    (1113.8 − 1000) / (1113.8 − 426.8):

    >>> [round(weight, 3) for weight in mel_matrix(3, 8, 8000)[0].tolist()]
    [0.0, 0.166, 0.0, 0.0, 0.0]
    """
    top = mel_of(rate_hz / 2)
    bottom = mel_of(lowest_hz)
    edges = torch.tensor(
        [hz_of(bottom + (top - bottom) * edge / (bands + 1)) for edge in range(bands + 2)], dtype=torch.float64
    )
    frequencies = torch.arange(fft // 2 + 1, dtype=torch.float64) * rate_hz / fft
    left, peak, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequencies - left) / (peak - left)
    falling = (right - frequencies) / (right - peak)
    return torch.minimum(rising, falling).clamp_min(0).float()


@dataclass(frozen=True)
class LogMel:
    """How a wave becomes a spectrogram.

    Args:
        rate_hz: samples a second.
        bands: mel bands, the spectrogram's height.
        fft: samples of a frame and of its Fourier transform, under a periodic Hann window.
        hop: samples between two frames.
        range_db: what is so far below the clip's loudest value, or further, is level 0.

    Raises:
        ConfigurationError: an argument is out of range, or a band is narrower than a frequency of the transform.
    """

    rate_hz: int
    bands: int = 40
    fft: int = 256
    hop: int = 128
    range_db: float = 80.0

    def __post_init__(self) -> None:
        for name in ("rate_hz", "bands", "fft", "hop"):
            whole_number(f"dataset.{name}", getattr(self, name))
        number_above("dataset.range_db", self.range_db)
        if self.fft < 2 or self.hop > self.fft:
            raise ConfigurationError(
                f"`dataset.hop` must be at most `dataset.fft`, which is at least 2, got {self.hop} and {self.fft}"
            )
        empty = (mel_matrix(self.bands, self.fft, self.rate_hz).sum(1) == 0).sum()
        if empty:
            raise ConfigurationError(
                f"`dataset.bands`: {int(empty)} of {self.bands} mel bands hold no frequency of a transform of "
                f"{self.fft} samples; lower dataset.bands or raise dataset.fft"
            )

    def frames(self, samples: int) -> int:
        """Return how many frames a wave of so many samples has: one a hop, the first centred on its beginning."""
        # Half a transform is padded on either side; of an odd one, half a sample less.
        return 1 + (samples - self.fft % 2) // self.hop

    def __call__(self, waves: Tensor) -> Tensor:
        """Return the spectrograms of waves (B, samples), uint8 (B, bands, frames), low frequencies first.

        Power |STFT|² of frames that are padded with zeros beyond the ends, summed over each mel band, in decibels below
        the largest value of the clip; 0 to −`range_db` dB become 255 to 0, rounded. A clip without any sound is all 0.
        """
        window = torch.hann_window(self.fft, device=waves.device, dtype=waves.dtype)
        spectrum = torch.stft(
            waves, self.fft, self.hop, window=window, center=True, pad_mode="constant", return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        mel = mel_matrix(self.bands, self.fft, self.rate_hz).to(waves) @ power
        loudest = mel.amax((1, 2), keepdim=True)
        decibels = 10 * torch.log10((mel / loudest.clamp_min(torch.finfo(mel.dtype).tiny)).clamp_min(1e-30))
        return (255 * (1 + decibels / self.range_db)).round().clamp(0, 255).to(torch.uint8)


def fit_samples(length_s: float, rate_hz: int) -> int:
    """Return the samples of a clip of `length_s` seconds; raise `ConfigurationError` where there is none."""
    number_above("dataset.length_s", length_s)
    samples = round(length_s * rate_hz)
    if samples < 1:
        raise ConfigurationError(f"`dataset.length_s` must hold at least one sample of {rate_hz} Hz, got {length_s!r}")
    return samples
