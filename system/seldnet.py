"""SELDnet 2018 and 2019 and the tuned variants of 2019: sequences of frames, detection and direction branches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from dataset.framing import Framing
from dataset.plans import Clips, Stream
from feature.audio import AudioFeature
from feature.front import PADDING, Front
from feature.logmel_intensity import LogmelIntensity
from feature.magnitude_phase import SELDNET2018, SELDNET2019, MagnitudePhase
from net.seldnet import SELDnet
from output_format.sed_doa import SedDoa
from system.presets import Preset, check_choices, check_made_for, presets, with_changes
from system.recipes import keras_adam
from system.row import Plans, Recipe, Settings, Stage, Statistics, System
from system.standardise import standardise_by
from util.errors import InputError
from util.job_arguments import Arguments
from util.microphone_arrays import Array

# Per family: the analysis of the published feature, and how its labels are encoded.
ANALYSIS = {"seldnet2018": (SELDNET2018, "2018"), "seldnet2019": (SELDNET2019, "2019")}
CHOICES = {
    "feature": ("magnitude_phase", "logmel_intensity"),
    "layout": ("reference", "paper"),
    "rnn": ("gru", "lstm"),
    "conventions": ("keras2", "tf2"),
    "coordinates": ("xyz", "xy", "polar"),
    "doa_activation": ("tanh", "linear"),
}
AXES = {"xyz": 3, "xy": 2, "polar": 2}


def _settings_of(preset: Preset) -> Callable[[Arguments, Array], Settings]:
    """(arguments, array) -> settings of the stage: the preset's, the task's, those of --set."""
    family = preset.family
    analysis, style = ANALYSIS[family]

    def settings(args: Arguments, array: Array) -> Settings:
        made = with_changes({**preset.settings, **args.task_settings}, args.set)
        check_choices(made, CHOICES)
        check_layers(made)
        check_made_for(args, preset.name, {"fft_size": analysis["n_fft"], "stft_hop_size": analysis["hop_length"]})
        if made["feature"] == "logmel_intensity" and family != "seldnet2019":
            raise InputError(f"--set feature=logmel_intensity: has the frames of 2019, {preset.name} has others")
        if made["feature"] == "logmel_intensity" and array.kind != "ambisonics":
            raise InputError(f"intensity vectors need Ambisonics, the recordings are {array.name}")
        return {
            **made,
            "family": family,
            "style": style,
            "rate_hz": args.sampling_frequency,
        }

    return settings


def check_layers(settings: Mapping[str, Any]) -> None:
    """Refuse layers that cannot be."""
    if len(settings["pools"]) != len(settings["filters"]):
        rule = f"as many pools as filters, found {settings['pools']} and {settings['filters']}"
        raise InputError(f"--set pools and filters: {rule}")
    for name in ("filters", "pools", "rnn_units", "dense"):
        if any(number < 1 for number in settings[name]):
            raise InputError(f"--set {name}: must be 1 or more, found {settings[name]}")
    if settings["sequence_frames"] < 1 or not 0 <= settings["dropout"] < 1:
        raise InputError("--set: sequence_frames must be 1 or more, dropout 0 to below 1")
    if len(settings["loss_weights"]) != 2 or min(settings["loss_weights"]) < 0:
        raise InputError("--set loss_weights: two numbers from 0, of detection and direction")


def _plans(settings: Settings) -> Plans:
    analysis, _ = ANALYSIS[settings["family"]]
    framing = Framing(
        settings["rate_hz"],
        analysis["hop_length"],
        analysis["n_fft"],
        left=analysis["n_fft"] // 2 if analysis["center"] else 0,
        mirror="start" if analysis["center"] else "",
        count="whole" if analysis["center"] else "covering",
    )
    frames = settings["sequence_frames"]
    return Plans(
        framing,
        training=lambda lengths, batch_size, seed, members: Stream(
            framing, lengths, frames=frames, batch_size=batch_size, seed=seed, members=members
        ),
        evaluation=lambda lengths: Clips(framing, lengths, frames=frames),
        flags={"sampling_frequency": framing.rate_hz, "fft_size": framing.n_fft, "stft_hop_size": framing.hop},
    )


def _front(settings: Settings, array: Array, visual: bool, statistics: Statistics | None) -> Front:
    analysis, _ = ANALYSIS[settings["family"]]
    if settings["feature"] == "magnitude_phase":
        audio: AudioFeature = MagnitudePhase(array.channels, layout=settings["layout"], **analysis)
    else:
        audio = LogmelIntensity(array.channels, rate_hz=settings["rate_hz"], layout=settings["layout"])
    return Front(audio, standardise_by(statistics, settings["feature"], audio.maps, audio.bins), padding=PADDING)


def _network(settings: Settings, audio: AudioFeature, classes: int, visual: bool) -> nn.Module:
    bins = audio.bins
    if math.prod(settings["pools"]) > bins:
        raise InputError(f"--set pools={settings['pools']}: nothing is left of {bins} frequency bins")
    return SELDnet(
        audio.maps,
        classes,
        bins=bins,
        filters=tuple(settings["filters"]),
        pools=tuple(settings["pools"]),
        rnn=settings["rnn"],
        rnn_units=tuple(settings["rnn_units"]),
        dense=tuple(settings["dense"]),
        doa_axes=AXES[settings["coordinates"]],
        doa_activation=settings["doa_activation"],
        attention=settings["attention"],
        sequence_frames=settings["sequence_frames"],
        dropout=settings["dropout"],
        conventions=settings["conventions"],
    )


def _output_format(settings: Settings, classes: int) -> SedDoa:
    frame_s = _plans(settings).framing.output_frame_s
    return SedDoa(
        classes,
        coordinates=settings["coordinates"],
        frame_s=frame_s,
        weights=tuple(settings["loss_weights"]),
        style=settings["style"],
        default_zero=settings["default_zero"],
    )


def keras_system(preset: Preset, source: str, **parts: Any) -> System:
    """A baseline whose reference is written in Keras: one stage on standardised features, of whole recordings.

    Parameters
    ----------
    parts : settings, plans, front, network, output_format of the stage, see `Stage`
    """
    stage = Stage("main", **parts, recipe=Recipe(keras_adam), statistics=True)
    return System(preset.name, preset.title, source, (stage,), streams=False)


_SOURCES = {
    "seldnet2018": "Adavanne et al., IEEE JSTSP 2018, repository sharathadavanne/seld-net",
    "seldnet2019": "Adavanne et al., DCASE 2019, repository sharathadavanne/seld-dcase2019",
}
_TUNED = "tuning of the DCASE 2019 baseline, repository aru-2044922/aml_project_seld"
SYSTEMS = tuple(
    keras_system(
        preset,
        _SOURCES.get(name, _TUNED),
        settings=_settings_of(preset),
        plans=_plans,
        front=_front,
        network=_network,
        output_format=_output_format,
    )
    for name, preset in presets().items()
    if preset.family in ANALYSIS
)
