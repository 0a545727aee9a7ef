"""SELDnet of the DCASE baselines of 2020 (detection and vectors) and 2021 (ACCDOA)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from dataset.framing import Framing
from dataset.plans import Clips, Stream
from feature.audio import AudioFeature
from feature.front import PADDING, Front
from feature.interleaved import Interleaved
from feature.logmel_gcc import DCASE2022, LogmelGCC
from feature.logmel_intensity import NORMS, LogmelIntensity
from net.recurrent import GATES
from net.seldnet import SELDnet
from output_format.accdoa import Accdoa
from output_format.sed_vector import MASKS, OBJECTIVES, SedVector
from system.presets import Preset, check_choices, check_made_for, preset_of, with_changes
from system.row import Plans, Settings, Statistics
from system.seldnet import check_layers, keras_system
from system.standardise import standardise_by
from util.errors import InputError
from util.job_arguments import Arguments
from util.microphone_arrays import Array

RATIO = 5  # feature frames of 20 ms in a label frame
OFFSET = 1e-8  # that is added to every sample of a recording; what fills recordings up lies below it
FEATURES = {"ambisonics": "logmel_intensity", "capsules": "logmel_gcc"}  # by the kind of the array
AXES = {"xyz": (3, 1, 2), "file": (1, 2, 3)}  # channels of the intensities, by iv_order
CHOICES = {
    "layout": ("reference", "paper"),
    "iv_norm": tuple(NORMS),
    "iv_order": tuple(AXES),
    "edges": ("reflect", "zeros"),
    "gate": GATES,
    "objective": OBJECTIVES,
    "mask": MASKS,
    "validation": ("all", "stream"),
}


def _settings_of(preset: Preset) -> Callable[[Arguments, Array], Settings]:
    """(arguments, array) -> settings of the stage: the preset's, the task's, those of --set."""

    def settings(args: Arguments, array: Array) -> Settings:
        made = with_changes({**preset.settings, **args.task_settings}, args.set)
        check_choices(made, CHOICES)
        check_layers(made)
        if made["sequence_frames"] % RATIO:
            rule = f"must be a multiple of {RATIO}, the frames of 20 ms in a label frame"
            raise InputError(f"--set sequence_frames={made['sequence_frames']}: {rule}")
        check_made_for(args, preset.name, _flags())
        if array.kind not in FEATURES:
            raise InputError(f"{preset.name} hears Ambisonics or microphones, the recordings are {array.name}")
        return {**made, "feature": FEATURES[array.kind]}

    return settings


def _flags() -> dict[str, Any]:
    """What the flags of the analysis must say, by their names."""
    names = {"sampling_frequency": "rate_hz", "fft_size": "n_fft", "stft_hop_size": "hop_length"}
    return {flag: DCASE2022[name] for flag, name in names.items()}


def _plans(settings: Settings) -> Plans:
    n_fft = DCASE2022["n_fft"]
    framing = Framing(
        DCASE2022["rate_hz"],
        DCASE2022["hop_length"],
        n_fft,
        left=n_fft // 2,
        mirror="both" if settings["edges"] == "reflect" else "",
        count="begun",
        fill=OFFSET,
        frames_per_output=RATIO,
    )
    frames = settings["sequence_frames"]
    return Plans(
        framing,
        training=lambda lengths, batch_size, seed, members: Stream(
            framing, lengths, frames=frames, batch_size=batch_size, seed=seed, members=members
        ),
        evaluation=lambda lengths: Clips(framing, lengths, frames=frames),
        flags=_flags(),
        validated=None
        if settings["validation"] == "all"
        else lambda lengths, batch_size: _in_batches(framing.clip_frames(lengths), frames * batch_size),
    )


def _in_batches(frames: np.ndarray, batch_frames: int) -> int:
    """How many recordings lie as a whole in whole batches, one at least: the rest of 2020 was never validated."""
    ends = np.cumsum(frames)
    return max(int(np.searchsorted(ends, ends[-1] // batch_frames * batch_frames, side="right")), 1)


def audio_feature(settings: Settings, channels: int) -> AudioFeature:
    """The feature of the settings."""
    analysis = {**DCASE2022, "offset": OFFSET, "pad_mode": "reflect" if settings["edges"] == "reflect" else "constant"}
    planes: AudioFeature
    if settings["feature"] == "logmel_intensity":
        planes = LogmelIntensity(
            channels,
            **analysis,
            axes=AXES[settings["iv_order"]],
            norm=settings["iv_norm"],
            eps=1e-8,
            layout="paper",
            precision=torch.float32,
        )
    else:
        # double: the phase of what is quiet beside something loud is beyond single precision
        planes = LogmelGCC(channels, **analysis, own_transform=False, precision=torch.float64)
    return Interleaved(planes, channels) if settings["layout"] == "reference" else planes


def _front(settings: Settings, array: Array, visual: bool, statistics: Statistics | None) -> Front:
    audio = audio_feature(settings, array.channels)
    return Front(audio, standardise_by(statistics, settings["feature"], audio.maps, audio.bins), padding=PADDING)


def _network(settings: Settings, audio: AudioFeature, classes: int, visual: bool) -> nn.Module:
    if math.prod(settings["pools"]) > audio.bins:
        raise InputError(f"--set pools={settings['pools']}: nothing is left of {audio.bins} frequency bins")
    return SELDnet(
        audio.maps,
        classes,
        bins=audio.bins,
        filters=tuple(settings["filters"]),
        pools=tuple(settings["pools"]),
        time_pool=RATIO,
        rnn_units=tuple(settings["rnn_units"]),
        dense=tuple(settings["dense"]),
        accdoa=settings["accdoa"],
        dropout=settings["dropout"],
        gate=settings["gate"],
    )


def _output_format(settings: Settings, classes: int) -> Accdoa | SedVector:
    frame_s = _plans(settings).framing.output_frame_s
    if settings["accdoa"]:
        return Accdoa(classes, frame_s=frame_s)
    return SedVector(
        classes,
        frame_s=frame_s,
        weights=tuple(settings["loss_weights"]),
        objective=settings["objective"],
        mask=settings["mask"],
    )


SYSTEMS = tuple(
    keras_system(
        preset_of(f"seldnet{year}"),
        f"DCASE {year} task 3, repository sharathadavanne/seld-dcase{year}",
        settings=_settings_of(preset_of(f"seldnet{year}")),
        plans=_plans,
        front=_front,
        network=_network,
        output_format=_output_format,
    )
    for year in (2020, 2021)
)
