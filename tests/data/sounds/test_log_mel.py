import numpy as np
import pytest
import torch

from poolbench.data.sounds.log_mel import LogMel, hz_of, mel_matrix, mel_of
from poolbench.errors import ConfigurationError


def test_a_row_of_the_mel_matrix_by_hand():
    """Two bands to 4,000 Hz: half is 2146.06 mel, edges at thirds, 715.35 and 1430.71 mel: 620.6 and 1791.3 Hz.

    At 16 samples a transform has every 500 Hz: the first band rises to 620.6 and falls to 1791.3, the second rises from
    620.6 to 1791.3 and falls to 4,000.
    """
    edges = [0, 620.6, 1791.3, 4000]
    assert [hz_of(mel_of(4000) * third / 3) for third in range(4)] == pytest.approx(edges, abs=0.05)
    first = [0, 500 / 620.6, 791.3 / 1170.7, 291.3 / 1170.7, 0, 0, 0, 0, 0]
    second = [0, 0, 379.4 / 1170.7, 879.4 / 1170.7, 2000 / 2208.7, 1500 / 2208.7, 1000 / 2208.7, 500 / 2208.7, 0]
    assert mel_matrix(2, 16, 8000).tolist() == [pytest.approx(first, abs=1e-3), pytest.approx(second, abs=1e-3)]


def test_mel_matches_its_published_anchor():
    assert mel_of(1000) == pytest.approx(1000, abs=0.05)
    assert mel_of(0) == 0


def test_bands_overlap_so_that_weights_sum_to_one_between_the_outer_peaks():
    matrix = mel_matrix(20, 1024, 8000)
    inner = (torch.arange(513) * 8000 / 1024 > hz_of(mel_of(4000) / 21)) & (
        torch.arange(513) * 8000 / 1024 < hz_of(mel_of(4000) * 20 / 21)
    )
    assert torch.allclose(matrix.sum(0)[inner], torch.ones(int(inner.sum())), atol=1e-5)


def test_a_tone_is_loudest_in_its_band_and_frame():
    log_mel = LogMel(8000, bands=32, fft=256, hop=128)
    wave = torch.zeros(1, 8000)
    wave[0, 4000:4800] = torch.sin(2 * torch.pi * 1000 * torch.arange(800) / 8000)
    levels = log_mel(wave)[0]
    assert levels.shape == (32, log_mel.frames(8000)) == (32, 63)
    edges = np.array([hz_of(mel_of(4000) * edge / 33) for edge in range(34)])
    band = np.abs(edges[1:-1] - 1000).argmin()
    assert levels.max() == 255
    assert (levels == 255).nonzero()[0].tolist()[0] == band
    # Frame k is centred on sample 128·k: the tone is in frames 32 to 37.
    assert levels[band, 32:38].min() > 200
    assert levels[band, :30].max() == levels[band, 40:].max() == 0


@pytest.mark.parametrize("fft", [200, 201])
@pytest.mark.parametrize("samples", [999, 1000, 1001, 1050])
def test_frames_are_as_many_as_announced(fft, samples):
    log_mel = LogMel(8000, bands=8, fft=fft, hop=100)
    assert log_mel(torch.randn(1, samples)).shape == (1, 8, log_mel.frames(samples))


def test_ten_decibels_are_a_tenth_of_the_power():
    """Two tones, one with a tenth of the other's power: 10 of 80 dB, so 255·7/8 = 223."""
    time = torch.arange(8000, dtype=torch.float64) / 8000
    loud, soft = torch.sin(2 * torch.pi * 500 * time), 0.1**0.5 * torch.sin(2 * torch.pi * 500 * time)
    wave = torch.cat([loud[:4000], soft[:4000]])[None]
    levels = LogMel(8000)(wave)[0].amax(0)
    assert levels[15] == 255
    assert int(levels[45]) == pytest.approx(255 * 7 / 8, abs=1)


def test_loudness_of_the_whole_clip_does_not_matter_and_silence_is_zero():
    wave = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(LogMel(8000)(wave), LogMel(8000)(wave * 4))
    assert LogMel(8000)(torch.zeros(1, 4000)).max() == 0


def test_a_batch_is_its_clips_one_by_one():
    waves = torch.randn(5, 4000, generator=torch.Generator().manual_seed(0))
    log_mel = LogMel(8000)
    one_by_one = torch.cat([log_mel(wave[None]) for wave in waves]).int()
    assert (log_mel(waves).int() - one_by_one).abs().max() <= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"bands": 100, "fft": 64, "hop": 32}, "mel bands hold no frequency of a transform of 64 samples"),
        ({"hop": 512}, "`dataset.hop` must be at most `dataset.fft`"),
        ({"bands": 0}, "`dataset.bands` must be a whole number"),
        ({"range_db": 0}, "`dataset.range_db` must be a number above 0"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, said):
    with pytest.raises(ConfigurationError, match=said):
        LogMel(8000, **arguments)
