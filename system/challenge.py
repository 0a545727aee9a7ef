"""Baselines of DCASE task 3 of 2022 to 2025: sequences of 5 s, ACCDOA or Multi-ACCDOA, with distances since 2024."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dataset.framing import Framing
from dataset.plans import Clips, Sequences
from feature.audio import AudioFeature
from feature.front import PADDING, Front
from feature.logmel_gcc import DCASE2022, DCASE2022_INTENSITY, DCASE2025, Logmel, LogmelGCC
from feature.logmel_intensity import LogmelIntensity
from feature.salsa_lite import SalsaLite
from net.crnn_parts import TIME_POOL
from net.seldnet2022 import SELDnet2022
from net.seldnet2023 import SELDnet2023
from net.seldnet2024 import AudioVisualSELDnet2024, SELDnet2024
from net.seldnet2025 import AudioVisualSELDnet2025, SELDnet2025
from output_format.accdoa import Accdoa
from output_format.contract import OutputFormat
from output_format.multi_accdoa import TRACKS, VECTOR, MultiAccdoa
from system.presets import Preset, check_choices, check_made_for, presets, with_changes
from system.row import Foreign, Plans, Recipe, Settings, Stage, Statistics, System
from system.standardise import standardise_by
from util.errors import InputError
from util.job_arguments import Arguments
from util.microphone_arrays import Array

RATE_HZ, HOP, N_FFT = DCASE2022["rate_hz"], DCASE2022["hop_length"], DCASE2022["n_fft"]
SEQUENCE_FRAMES = 250  # of the feature: 5 s
ANALYSIS_FLAGS = {"sampling_frequency": RATE_HZ, "fft_size": N_FFT, "stft_hop_size": HOP}  # what flags must say
AUDIO_VISUAL = "_audio_visual"  # behind the name of a baseline that looks at pictures too
OUTPUTS = {"accdoa": 1, "multiaccdoa": TRACKS}  # tracks by what the baselines call the output
_PUBLISHED_CLASSES = 13


@dataclass(frozen=True)
class Edition:
    """What the baseline of a year has of its own.

    Attributes
    ----------
    source : repository
    features : by the names that the baselines give them
    network : (maps, classes, keywords: bins, tracks, those of `settings`) -> network; the second one looks at pictures
    elements : of a track of the output, without and with pictures
    standardised : features are standardised; else they are taken as they are, and silence follows a recording
    centred : a recording has one frame more than whole hops, sequences overlap by it
    settings : of the network, by their names in presets.toml
    """

    source: str
    features: tuple[str, ...]
    network: Callable[..., nn.Module]
    audio_visual: Callable[..., nn.Module] | None
    elements: tuple[str, ...] = VECTOR
    seen: tuple[str, ...] = ()
    standardised: bool = True
    centred: bool = False
    settings: tuple[str, ...] = ()


FOUR_CHANNELS = ("foa", "mic_gcc", "mic_salsa")
_PLANE = ("x", "y", "distance")
YEARS = {
    "seldnet2022": Edition(
        "repository sharathadavanne/seld-dcase2022", FOUR_CHANNELS, SELDnet2022, None, settings=("attention_heads",)
    ),
    "seldnet2023": Edition("repository sharathadavanne/seld-dcase2023", FOUR_CHANNELS, SELDnet2023, None),
    "seldnet2024": Edition(
        "repository DCASE2024_seld_baseline",
        FOUR_CHANNELS,
        SELDnet2024,
        AudioVisualSELDnet2024,
        (*VECTOR, "distance"),
        (*VECTOR, "distance"),
    ),
    "seldnet2025": Edition(
        "repository DCASE2025_seld_baseline",
        ("stereo",),
        SELDnet2025,
        AudioVisualSELDnet2025,
        _PLANE,
        (*_PLANE, "onscreen"),
        standardised=False,
        centred=True,
    ),
}


def _audio(settings: Settings, channels: int) -> AudioFeature:
    """The feature of that name."""
    name = settings["feature"]
    if name == "foa":
        return LogmelIntensity(channels, **DCASE2022, **DCASE2022_INTENSITY, precision=torch.float32)
    if name == "mic_gcc":
        return LogmelGCC(channels, **DCASE2022, own_transform=False)
    return SalsaLite(channels) if name == "mic_salsa" else Logmel(channels, **DCASE2025)


def _feature_for(array: Array, year: Edition) -> str:
    """What is taken of an array where nobody says it: of Ambisonics intensities, of capsules correlations."""
    if len(year.features) == 1:
        return year.features[0]
    return "foa" if array.kind == "ambisonics" else "mic_gcc"


def _check_array(name: str, array: Array) -> None:
    """Refuse a feature that the recordings have not the channels for.

    Raises
    ------
    InputError : which feature, and what it needs
    """
    if name == "foa" and array.kind != "ambisonics":
        rule = f"intensity vectors need Ambisonics, the recordings are {array.name}: feature=mic_gcc or mic_salsa"
    elif name in ("mic_gcc", "mic_salsa") and (array.kind == "ambisonics" or array.channels < 2):
        rule = f"needs microphones that stand apart, the recordings are {array.name}"
        rule += ": feature=foa" if array.kind == "ambisonics" else ""
    elif name == "stereo" and array.channels != 2:
        rule = f"needs 2 channels, the recordings are {array.name} ({array.channels} channels); "
        rule += "python -m dataset convert stereo makes stereo of Ambisonics"
    else:
        return
    raise InputError(f"--set feature={name}: {rule}")


def _settings_of(preset: Preset, year: Edition) -> Callable[[Arguments, Array], Settings]:
    """(arguments, array) -> settings of the stage: the preset's, the task's, those of --set."""

    def settings(args: Arguments, array: Array) -> Settings:
        made = with_changes({**preset.settings, **args.task_settings}, args.set)
        if made["feature"] == "auto":
            made["feature"] = _feature_for(array, year)
        check_choices(made, {"feature": year.features, "output": tuple(OUTPUTS)})
        heads = made.get("attention_heads", 0)
        if heads < 0 or (heads and 128 % heads):
            raise InputError(f"--set attention_heads={heads}: 0 (none), or a divisor of 128")
        _check_array(made["feature"], array)
        check_made_for(args, preset.name, ANALYSIS_FLAGS)
        return {**made, "visual": not args.no_video}

    return settings


def _plans_of(year: Edition) -> Callable[[Settings], Plans]:
    framing = Framing(
        RATE_HZ,
        HOP,
        N_FFT,
        left=N_FFT // 2,
        count="centred" if year.centred else "whole",
        frames_per_output=TIME_POOL,
    )
    cut: dict[str, Any] = {
        "frames": SEQUENCE_FRAMES + year.centred,
        "hop": SEQUENCE_FRAMES,
        "silence": not year.standardised,
        "visual_hop": TIME_POOL,
    }
    plans = Plans(
        framing,
        training=lambda lengths, batch_size, seed, members: Sequences(
            framing, lengths, batch_size=batch_size, seed=seed, members=members, **cut
        ),
        evaluation=lambda lengths: Clips(framing, lengths, surplus=int(year.centred), **cut),
        flags=ANALYSIS_FLAGS,
    )
    return lambda settings: plans


def _as_seen(seen: Tensor) -> Tensor:
    """Features of pictures go to the network as their producer gives them."""
    return seen


def _front_of(year: Edition) -> Callable[[Settings, Array, bool, Statistics | None], Front]:
    def front(settings: Settings, array: Array, visual: bool, statistics: Statistics | None) -> Front:
        audio = _audio(settings, array.channels)
        if not year.standardised:
            return Front(audio, visual=_as_seen if visual else None)
        scaled = standardise_by(statistics, settings["feature"], audio.maps, audio.bins)
        return Front(audio, scaled, padding=PADDING, visual=_as_seen if visual else None)

    return front


def _network_of(year: Edition) -> Callable[[Settings, AudioFeature, int, bool], nn.Module]:
    def network(settings: Settings, audio: AudioFeature, classes: int, visual: bool) -> nn.Module:
        make = year.audio_visual if visual and year.audio_visual is not None else year.network
        elements = len(_elements(settings, year))
        how = {"elements": elements} if elements != len(VECTOR) or year.audio_visual is not None else {}
        how |= {name: settings[name] for name in year.settings}
        return make(audio.maps, classes, bins=audio.bins, tracks=OUTPUTS[settings["output"]], **how)

    return network


def _elements(settings: Settings, year: Edition) -> tuple[str, ...]:
    return year.seen if settings["visual"] and year.seen else year.elements


def _output_format_of(year: Edition) -> Callable[[Settings, int], OutputFormat]:
    def output_format(settings: Settings, classes: int) -> OutputFormat:
        elements = _elements(settings, year)
        if settings["output"] == "accdoa" and elements == VECTOR:
            return Accdoa(classes, frame_s=0.1)
        return MultiAccdoa(classes, frame_s=0.1, tracks=OUTPUTS[settings["output"]], elements=elements)

    return output_format


def recognised(weights: Mapping[str, Tensor], name: str, looks: bool = False) -> Foreign | None:
    """What a published state dict was trained for, if it is of this baseline; of 13 classes, as all of them are.

    Parameters
    ----------
    looks : whether the form that looks at pictures is asked for
    """
    blocks = {"seldnet2025": "conv_blocks"}.get(name, "conv_block_list")
    attention = {"seldnet2022": "attn.fc_q.weight", "seldnet2025": "mhsa_layers.0.in_proj_weight"}
    first, last = weights.get(f"{blocks}.0.conv.weight"), weights.get("fnn_list.1.weight")
    heard, attends = weights.get("gru.weight_ih_l0"), attention.get(name, "mhsa_block_list.0.in_proj_weight") in weights
    if first is None or last is None or heard is None or last.shape[0] % _PUBLISHED_CLASSES:
        return None
    if name == "seldnet2022":
        if any(key.startswith("mhsa_block_list") for key in weights):
            return None
    elif not attends:
        return None
    year, maps = YEARS[name], int(first.shape[1])
    visual = "visual_embed_to_d_model.weight" in weights
    if visual != looks:
        return None
    elements = len(year.seen if visual else year.elements)
    tracks, left = divmod(int(last.shape[0]) // _PUBLISHED_CLASSES, elements)
    output = {count: key for key, count in OUTPUTS.items()}.get(tracks)
    known = {(2, 128): "stereo", (7, 128): "foa", (10, 128): "mic_gcc", (7, 704): "mic_salsa"}
    feature = known.get((maps, int(heard.shape[1])))
    if left or output is None or feature not in year.features:
        return None
    settings: dict[str, Any] = {"feature": feature, "output": output, "visual": visual}
    if name == "seldnet2022":
        settings["attention_heads"] = 4 if attends else 0  # the number that is published; the weights do not tell
    array = {"foa": "foa", "stereo": "stereo"}.get(feature, "mic")
    return Foreign(settings, array, _PUBLISHED_CLASSES, visual)


def _system(name: str, year: Edition) -> System:
    preset, looks = presets()[name], name.endswith(AUDIO_VISUAL)
    stage = Stage(
        "main",
        settings=_settings_of(preset, year),
        plans=_plans_of(year),
        front=_front_of(year),
        network=_network_of(year),
        output_format=_output_format_of(year),
        recipe=Recipe(),
        statistics=year.standardised,
        recognise=lambda weights: recognised(weights, name.removesuffix(AUDIO_VISUAL), looks),
    )
    return System(name, preset.title, year.source, (stage,), visual="resnet50" if looks else None, streams=False)


SYSTEMS = (
    *(_system(name, year) for name, year in YEARS.items()),
    *(_system(name + AUDIO_VISUAL, year) for name, year in YEARS.items() if year.audio_visual is not None),
)
