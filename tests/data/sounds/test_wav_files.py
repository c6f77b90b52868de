import struct
import wave

import numpy as np
import pytest
from scipy.io import wavfile

from poolbench.data.images import UnreadableImage
from poolbench.data.sounds.wav_files import at_rate, fitted, read_wav


def write(path, samples, *, rate=8000, width=2):
    """Write samples in −1..1, (N,) or (N, channels), as PCM of `width` bytes."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    scaled = np.clip(np.round(samples * 2 ** (8 * width - 1)), -(2 ** (8 * width - 1)), 2 ** (8 * width - 1) - 1)
    whole = scaled.astype(np.int64).reshape(-1)
    raw = (
        (whole + 128).astype(np.uint8).tobytes()
        if width == 1
        else b"".join(int(value).to_bytes(width, "little", signed=True) for value in whole)
    )
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw)
    return path


SAMPLES = np.array([0, 0.5, -0.5, 0.25, -1.0])


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_bits_are_read_as_fractions(tmp_path, width):
    samples, rate, channels = read_wav(write(tmp_path / "a.wav", SAMPLES, rate=16000, width=width))
    assert (samples.tolist(), rate, channels) == (SAMPLES.tolist(), 16000, 1)
    assert samples.dtype == np.float32


def test_16_bits_are_read_as_scipy_reads_them(tmp_path):
    noise = np.random.default_rng(0).uniform(-1, 1, 1000)
    path = write(tmp_path / "a.wav", noise)
    assert np.array_equal(read_wav(path)[0], wavfile.read(path)[1].astype(np.float32) / 2**15)


def test_stereo_is_averaged(tmp_path):
    path = write(tmp_path / "a.wav", np.stack([SAMPLES, np.zeros(5)], 1))
    samples, _, channels = read_wav(path)
    assert channels == 2
    assert samples.tolist() == (SAMPLES / 2).tolist()


def test_a_truncated_file_is_named_with_what_it_has(tmp_path):
    path = write(tmp_path / "a.wav", np.zeros(100))
    path.write_bytes(path.read_bytes()[:-51])
    with pytest.raises(UnreadableImage, match=r"a.wav.*truncated: it announces 244 bytes and has 193"):
        read_wav(path)


@pytest.mark.parametrize(
    ("at", "size", "says"),
    [
        (40, 400, "truncated: its chunk 'data' announces 400 bytes and has 200"),
        (16, 4000, "truncated: its chunk 'fmt ' announces 4,000 bytes and has 224"),
        (4, 0, "announces 0 bytes, as that of a stream"),
        (4, 0xFFFFFFFF, "announces 4,294,967,295 bytes, as that of a stream"),
    ],
)
def test_sizes_that_cannot_be_are_named(tmp_path, at, size, says):
    path = write(tmp_path / "a.wav", np.zeros(100))
    content = path.read_bytes()
    path.write_bytes(content[:at] + size.to_bytes(4, "little") + content[at + 4 :])
    with pytest.raises(UnreadableImage, match=rf"a\.wav.*{says}"):
        read_wav(path)


def test_what_stands_behind_the_end_is_no_part_of_it(tmp_path):
    path = write(tmp_path / "a.wav", SAMPLES)
    path.write_bytes(path.read_bytes() + b"TAGanything at all, such as a title")
    assert len(read_wav(path)[0]) == len(SAMPLES)


@pytest.mark.parametrize("kept", [0, 10, 30, 44])
def test_what_is_no_wav_or_empty_is_named(tmp_path, kept):
    path = write(tmp_path / "a.wav", np.zeros(0))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UnreadableImage, match=r"a\.wav"):
        read_wav(path)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floating_point_samples_are_taken_as_they_are(tmp_path, kind):
    wavfile.write(tmp_path / "a.wav", 8000, SAMPLES.astype(kind))
    assert read_wav(tmp_path / "a.wav")[0].tolist() == SAMPLES.tolist()
    wavfile.write(tmp_path / "b.wav", 8000, np.array([0, np.nan], kind))
    with pytest.raises(UnreadableImage, match=r"b.wav.*not finite"):
        read_wav(tmp_path / "b.wav")


@pytest.mark.parametrize(("width", "code", "rule"), [(2, 1, None), (3, 1, None), (1, 7, r"a.wav.*MULAW")])
def test_the_extensible_header_is_read_and_other_codings_are_refused_by_name(tmp_path, width, code, rule):
    """As ffmpeg writes 24 bits: code 0xFFFE, and the coding behind it."""
    plain = write(tmp_path / "plain.wav", SAMPLES, width=width).read_bytes()
    coding = struct.pack("<HHIH", 22, 8 * width, 0, code) + bytes.fromhex("000000001000800000aa00389b71")
    head = struct.pack("<I", 40) + struct.pack("<H", 0xFFFE) + plain[22:36] + coding
    body = b"WAVEfmt " + head + plain[36:]
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    if rule is None:
        assert read_wav(tmp_path / "a.wav")[0].tolist() == SAMPLES.tolist()
    else:
        with pytest.raises(UnreadableImage, match=rule):
            read_wav(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [16000, 44100, 6000])
def test_another_rate_keeps_tone_and_duration(rate):
    time = np.arange(rate) / rate
    found = at_rate(np.sin(2 * np.pi * 440 * time).astype(np.float32), rate, 8000)
    assert len(found) == 8000
    wanted = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    assert np.abs(found - wanted)[200:-200].max() < 0.02


def test_clips_are_cut_or_padded_at_both_ends():
    assert fitted(np.arange(6), 3).tolist() == [1, 2, 3]
    assert fitted(np.array([1, 2]), 2).tolist() == [1, 2]
    assert fitted(np.array([1]), 4).tolist() == [0, 1, 0, 0]
