"""The networks for sequences and spectrograms: what they are, what they see, what they refuse."""

import pytest
import torch

from poolbench.backbones import (
    FPN,
    AllCNN,
    AudioCNN,
    EcgCNN,
    Hypercolumn,
    KerasCNN,
    LeNet5,
    LineCNN,
    MotifCNN,
    Slides,
    UNet,
)
from poolbench.errors import ConfigurationError, UnsupportedError
from poolbench.measure.audit import audited

OF_IMAGES = (AllCNN, FPN, Hypercolumn, KerasCNN, LeNet5, LineCNN, Slides, UNet)


def parameters(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_are_those_reckoned_by_hand():
    # 32 filters of 4x19 with a bias, 150 places of each behind the pooling, 5 classes.
    assert parameters(MotifCNN(4, 5, (300,))) == 32 * (4 * 19 + 1) + 32 * 150 * 5 + 5
    # Convolutions without a bias, batch norm's two numbers a channel, the mean of 16 channels.
    assert parameters(EcgCNN(1, 5, (320,), stages=2, width=16)) == (5 * 16 + 32) + (5 * 256 + 32) + 16 * 5 + 5
    # 40x33 pooled to 5x4 places of 4·8 channels.
    convolutions = 9 * (8 + 8 * 16 + 16 * 32) + 2 * (8 + 16 + 32)
    assert parameters(AudioCNN(1, 9, (40, 33), width=8)) == convolutions + 32 * 5 * 4 * 9 + 9


def test_a_filter_sees_a_motif_at_either_end_whole():
    network = MotifCNN(4, 5, (60,), pool=1)
    x = torch.zeros(1, 4, 60)
    assert network.conv1(x).shape == (1, 32, 60)


@pytest.mark.parametrize("stages", [1, 3, 5])
def test_the_last_map_sees_what_the_docstring_says(assemble, conf, stages):
    made = assemble(conf("backbone", "ecg_cnn", stages=stages), "max", shape=(1, 320))
    rows = audited(made, batch_size=2, device=torch.device("cpu"), step_ms=7.8125)[0]["sites"]
    seen = {1: 7, 3: 43, 5: 187}[stages]
    assert rows[-1]["receptive_field"] == [seen]
    assert rows[-1]["receptive_field_ms"] == seen * 7.8125
    assert "receptive_field_ms" not in audited(made, batch_size=2, device=torch.device("cpu"))[0]["sites"][0]


def test_milliseconds_are_those_of_the_last_dimension(assemble, conf):
    made = assemble(conf("backbone", "audio_cnn", strides=[[4, 1], [1, 2]]), "max", shape=(1, 40, 33))
    rows = audited(made, batch_size=2, device=torch.device("cpu"), step_ms=32)[0]["sites"]
    # 3 frames, then 3 of step 1 and a pooling of 2; in frequency 3 and a pooling of 4, then 3 of step 4.
    assert [row["receptive_field"] for row in rows] == [[6, 3], [14, 6]]
    assert [row["receptive_field_ms"] for row in rows] == [96, 192]


def test_windows_are_as_large_as_their_strides_and_none_where_nothing_is_reduced(assemble, conf):
    made = assemble(conf("backbone", "audio_cnn", strides=[[4, 1], [1, 1], [2, 3]]), "avg", shape=(1, 40, 33))
    assert [(row["name"], row["kernel_size"]) for row in made.sites] == [
        ("stages.0.pool", [4, 1]),
        ("stages.2.pool", [2, 3]),
    ]
    assert made.network(torch.zeros(2, 1, 40, 33)).shape == (2, 10)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: MotifCNN(4, 5, (18,)), UnsupportedError, "cannot take sequences of 18 places: a filter covers 19"),
        (lambda: MotifCNN(3, 5, (32, 32)), UnsupportedError, "motif_cnn takes sequences .* 2 dimensions of 32x32"),
        (lambda: EcgCNN(1, 5, (186,)), UnsupportedError, "its last map sees 187; set backbone.stages to 4 or less"),
        (lambda: EcgCNN(1, 5, (6,)), UnsupportedError, "series must have at least 7 places"),
        (lambda: EcgCNN(1, 5, (32, 32)), UnsupportedError, "ecg_cnn takes sequences"),
        (lambda: EcgCNN(1, 5, (320,), stages=0), ConfigurationError, "`backbone.stages` must be a whole number"),
        *((lambda net=net: net(1, 5, (320,)), UnsupportedError, "takes images .* 320 places") for net in OF_IMAGES),
        (lambda: AudioCNN(1, 5, (320,)), UnsupportedError, "audio_cnn takes spectrograms"),
        (lambda: AudioCNN(1, 5, (4, 33)), UnsupportedError, "at stage 3 the map is 1x8, and the pooling 2x2; lower"),
        (lambda: AudioCNN(1, 5, (40, 33), strides=[]), ConfigurationError, "`backbone.strides` must be a list of one"),
        (lambda: AudioCNN(1, 5, (40, 33), strides=[[2, 0]]), ConfigurationError, "whole numbers of at least 1"),
        (lambda: AudioCNN(1, 5, (40, 33), strides=[2, 2]), ConfigurationError, r"pair \[frequency, time\]"),
    ],
)
def test_what_cannot_be_served_is_said(make, error, said):
    with pytest.raises(error, match=said):
        make()
