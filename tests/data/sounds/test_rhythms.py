import torch

from poolbench.data.sounds.rhythms import CLASS_NAMES, PITCHES_HZ, RATE_HZ, RHYTHMS, SAMPLES, play


def test_the_pitch_is_the_loudest_frequency_within_half_a_semitone():
    tones = play(180, torch.Generator().manual_seed(0))
    spectrum = torch.fft.rfft(tones.waves).abs()
    loudest = spectrum[:, : round(700 * SAMPLES / RATE_HZ)].argmax(1) * RATE_HZ / SAMPLES
    pitches = torch.tensor(list(PITCHES_HZ.values()))[tones.labels % 3]
    # A stroke is short: its tone is some hertz wide.
    assert ((loudest - pitches).abs() < pitches * (2 ** (0.5 / 12) - 1) + 12).float().mean() > 0.98


def test_the_rhythm_is_when_strokes_fall():
    """Power in the band of the pitches is most like a pattern of its own rhythm, turned to where the clip begins."""
    tones = play(270, torch.Generator().manual_seed(0))
    spectrum = torch.stft(tones.waves, 256, 32, window=torch.hann_window(256), return_complex=True)[:, 26:38, :128]
    power = spectrum.abs().square().sum(1).sqrt()
    since = torch.arange(128) / 128
    patterns = []
    for tempo in (0.85, 0.925, 1.0):
        for beats in RHYTHMS.values():
            pattern = sum(torch.exp(-16 * ((since - beat / 4 * tempo) % 1)) for beat in beats)
            patterns.append((pattern - pattern.mean()) / pattern.std())
    turned = torch.fft.rfft(power)[:, None] * torch.fft.rfft(torch.stack(patterns)).conj()
    likeness = torch.fft.irfft(turned).amax(2).view(-1, 3, 3).amax(1)
    assert (likeness.argmax(1) == tones.labels // 3).float().mean() > 0.9


def test_classes_are_pairs_of_rhythm_and_pitch_and_take_turns():
    assert len(CLASS_NAMES) == len(RHYTHMS) * len(PITCHES_HZ) == 9
    tones = play(18, torch.Generator().manual_seed(0))
    assert tones.labels.tolist() == list(range(9)) * 2
    assert not torch.equal(tones.waves, play(18, torch.Generator().manual_seed(1)).waves)
    assert torch.equal(tones.waves, play(18, torch.Generator().manual_seed(0)).waves)
