"""General network (DCASE 2020): modules of detection and of direction, each a system of its own, and their alignment.

A module is a row of `_ROWS`; a new one needs nothing else but the file of its network or feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from dataset.chunks import Chunks
from dataset.framing import Framing
from dataset.plans import Clips
from feature.audio import AudioFeature
from feature.augment import Augmentation
from feature.front import Front
from feature.general import FEATURES, Taken, VoteShares
from feature.histogram import SingleSourceHistogram
from feature.logmel_gcc import GENERAL
from net.general import (
    AZIMUTHS,
    DETECTION,
    DIRECTION,
    ELEVATION,
    ELEVATIONS,
    ENCODERS,
    Alignment,
    ReleasedDetection,
    Width,
    from_pann,
    from_pann_encoded,
    pann_weights,
)
from net.general import Module as ModuleNetwork
from output_format.aligned import Aligned, AlignedTracks
from output_format.contract import OutputFormat
from output_format.general_labels import FRAMES_PER_LABEL
from output_format.general_modules import Detection, Directions, Votes
from system.presets import Preset, check_choices, check_made_for, presets, with_changes
from system.row import FeatureAugment, Init, Module, Plans, Recipe, Settings, Slots, Stage, Statistics, System, last
from system.standardise import standardise_by
from util.errors import InputError
from util.job_arguments import Arguments
from util.microphone_arrays import Array

SOURCE = "Nguyen et al., ICASSP 2021 (arXiv 2011.07859), repository of the general network architecture"
# what the flags of the analysis must say, by their names
ANALYSIS_FLAGS = {
    "sampling_frequency": GENERAL["rate_hz"],
    "fft_size": GENERAL["n_fft"],
    "stft_hop_size": GENERAL["hop_length"],
}
CHOICES = {"feature": tuple(FEATURES), "standardise": ("vector", "scalar"), "pool": ("avg", "max", "avg_max")}
STEP_FRAMES = {"PannCnn14L6": 8, "PannCnn14L6F64": 8}  # of the feature that one step of a network takes, if not 16
FEATURE_HZ = GENERAL["rate_hz"] // GENERAL["hop_length"]
LABEL_HZ = FEATURE_HZ // FRAMES_PER_LABEL
LEVEL = 0.1  # standard deviation of whole recordings, with std_norm
Network = Callable[[Settings, AudioFeature, int], nn.Module]


# settings -------------------------------------------------------------------------------------------------------------


def _made(args: Arguments, preset: Preset) -> Settings:
    """The preset's settings, the task's, those of --set, checked."""
    made = with_changes({**preset.settings, **args.task_settings}, args.set)
    check_choices(made, CHOICES)
    check_made_for(args, preset.name, ANALYSIS_FLAGS)
    least = {"chunk_frames": 16, "chunk_hop": 1, "align_frames": 1, "align_hop": 1, "align_units": 1, "repeat": 1}
    for name, low in least.items():
        if made[name] < low:
            raise InputError(f"--set {name}={made[name]}: must be {low} or more")
    if not 0 < made["width"] <= 4 or not 0 <= made["dropout"] < 1 or not 0 <= made["tracks"] <= 3:
        raise InputError("--set width: above 0, up to 4; dropout: 0 up to 1; tracks: 0 (each class its own) to 3")
    if made["fine_tune"] and made["align_frames"] % 2:
        rule = f"align_frames must be even, a step of a module is 200 ms, found {made['align_frames']}"
        raise InputError(f"--set fine_tune=true: {rule}")
    return {**made, "random_seed": args.random_seed}


def _level(settings: Settings) -> float | None:
    return LEVEL if settings.get("std_norm") else None  # of checkpoints from before there was one: no


def _hearing(preset: Preset, encoder: str = "") -> Callable[[Arguments, Array], Settings]:
    """Settings of a stage that hears a feature of the sound."""

    def settings(args: Arguments, array: Array) -> Settings:
        made = _made(args, preset)
        step = STEP_FRAMES.get(encoder, 16)
        if step % made["repeat"] or made["chunk_frames"] % step:
            rule = f"a step is {step} frames: repeat divides it, chunk_frames is a multiple of it"
            raise InputError(f"--set repeat={made['repeat']}, chunk_frames={made['chunk_frames']}: {rule}")
        feature = FEATURES[made["feature"]]
        if feature.ambisonics and array.kind != "ambisonics":
            rule = "intensity vectors need Ambisonics"
            raise InputError(f"{preset.name}, feature {made['feature']}: {rule}, the recordings are {array.name}")
        if array.channels < feature.least_channels:
            rule = f"needs {feature.least_channels} channels or more"
            raise InputError(f"{preset.name}, feature {made['feature']}: {rule}, the recordings are {array.name}")
        return {**made, "step_frames": step}

    return settings


def _hearing_histogram(preset: Preset) -> Callable[[Arguments, Array], Settings]:
    def settings(args: Arguments, array: Array) -> Settings:
        if array.kind != "ambisonics":
            raise InputError(f"{preset.name}: the histogram needs Ambisonics, the recordings are {array.name}")
        return _made(args, preset)

    return settings


def _taking(preset: Preset, **fixed: object) -> Callable[[Arguments, Array], Settings]:
    """Settings of a stage that hears what others say."""
    return lambda args, array: {**_made(args, preset), "step_frames": 16, **fixed}


# plans ----------------------------------------------------------------------------------------------------------------


def _chunks(framing: Framing, settings: Settings, frames: str, hop: str, label_lead: int = 0) -> Callable[..., Chunks]:
    return lambda lengths, batch_size, seed, members: Chunks(
        framing,
        lengths,
        frames=settings[frames],
        hop=settings[hop],
        batch_size=batch_size,
        seed=seed,
        members=members,
        label_lead=label_lead,
    )


def _sound_framing(frame: int, ratio: int) -> Framing:
    return Framing(
        GENERAL["rate_hz"],
        GENERAL["hop_length"],
        frame,
        left=frame // 2,
        mirror="both",
        count="centred",
        frames_per_output=ratio,
    )


def _module_plans(framing: Framing, settings: Settings, flags: Mapping[str, float]) -> Plans:
    """Chunks of 4 s every 0.5 s; whole recordings, filled up to a step of the network."""
    return Plans(
        framing,
        training=_chunks(framing, settings, "chunk_frames", "chunk_hop", FRAMES_PER_LABEL // 2),
        evaluation=lambda lengths: Clips(
            framing, lengths, frames=None, multiple=settings["step_frames"], padded=True, surplus=1
        ),
        flags=flags,
    )


def _sound_plans(settings: Settings) -> Plans:
    ratio = settings["step_frames"] // settings["repeat"]
    return _module_plans(_sound_framing(FEATURES[settings["feature"]].frame_samples, ratio), settings, ANALYSIS_FLAGS)


def _image_plans(settings: Settings) -> Plans:
    """Of a stage that hears histograms, 80 a second."""
    ratio = settings["step_frames"] // settings["repeat"]
    return _module_plans(Framing(FEATURE_HZ, 1, 1, frames_per_output=ratio), settings, {})


def _whole_plans(ratio: int) -> Callable[[Settings], Plans]:
    """Of a stage that nobody trains: recordings as a whole."""
    framing = _sound_framing(GENERAL["n_fft"], ratio)

    def plans(settings: Settings) -> Plans:
        return Plans(
            framing,
            training=_chunks(framing, settings, "chunk_frames", "chunk_hop"),
            evaluation=lambda lengths: Clips(framing, lengths, frames=None, limit=10**9, surplus=ratio > 1),
            flags=ANALYSIS_FLAGS,
        )

    return plans


def _alignment_plans(settings: Settings) -> Plans:
    """Of what modules say 10 times a second: chunks of 6 s, whole recordings."""
    framing = Framing(LABEL_HZ, 1, 1)
    return Plans(
        framing,
        training=_chunks(framing, settings, "align_frames", "align_hop"),
        evaluation=lambda lengths: Clips(framing, lengths, frames=None),
    )


def _tuning_plans(settings: Settings, framing: Framing) -> Plans | None:
    """Of the sound, where the modules learn together with the alignment: its chunks; None where they do not."""
    if not settings.get("fine_tune"):
        return None
    framing = replace(framing, frames_per_output=FRAMES_PER_LABEL)
    sizes = {name: FRAMES_PER_LABEL * settings[f"align_{name}"] for name in ("frames", "hop")}
    return Plans(
        framing,
        training=_chunks(framing, sizes, "frames", "hop", FRAMES_PER_LABEL // 2),
        evaluation=lambda lengths: Clips(framing, lengths, frames=None),
    )


# stages ---------------------------------------------------------------------------------------------------------------


def _augment(settings: Settings) -> FeatureAugment | None:
    made = Augmentation(
        settings["random_seed"], mix=settings["mixup"], cut=settings["cutout"], shift=settings["frequency_shift"]
    )
    return made if made.mix or made.cut or made.shift else None


def _front(audio: AudioFeature, settings: Settings, statistics: Statistics | None) -> Front:
    each_bin = settings["standardise"] == "vector"
    return Front(audio, standardise_by(statistics, settings["feature"], audio.maps, audio.bins, each_bin=each_bin))


def _sound_front(settings: Settings, array: Array, visual: bool, statistics: Statistics | None) -> Front:
    return _front(FEATURES[settings["feature"]].make(array.channels), settings, statistics)


def _frame_s(settings: Settings) -> float:
    return settings["step_frames"] // settings["repeat"] / FEATURE_HZ


def _detection(preset: Preset, network: Network, encoder: str = "", init: Init | None = None) -> tuple[Stage, ...]:
    """The stage of a module of detection."""
    return (
        Stage(
            "sed",
            settings=_hearing(preset, encoder),
            plans=_sound_plans,
            level=_level,
            front=_sound_front,
            network=lambda settings, audio, classes, visual: network(settings, audio, classes),
            output_format=lambda settings, classes: Detection(classes, frame_s=_frame_s(settings)),
            recipe=Recipe(choice="SED_error"),
            statistics=True,
            augment=_augment,
            init=init,
        ),
    )


def _paper_detection(preset: Preset, init: Init | None = None) -> tuple[Stage, ...]:
    """SED-M, SED-T."""
    return _detection(
        preset,
        lambda settings, audio, classes: ModuleNetwork(
            audio.maps,
            audio.bins,
            (classes,),
            width=DETECTION.scaled(settings["width"]),
            dropout=settings["dropout"],
            repeat=settings["repeat"],
        ),
        init=init,
    )


def _released_detection(encoder: str, init: Init | None = None) -> Callable[[Preset], tuple[Stage, ...]]:
    """The released network with an encoder of `net.general.ENCODERS`."""
    assert encoder in ENCODERS
    return lambda preset: _detection(
        preset,
        lambda settings, audio, classes: ReleasedDetection(
            audio.maps,
            audio.bins,
            classes,
            encoder=encoder,
            pool=settings["pool"],
            width=settings["width"],
            dropout=settings["dropout"],
            repeat=settings["repeat"],
        ),
        encoder,
        init,
    )


def _direction(preset: Preset) -> tuple[Stage, ...]:
    """DOA-iv, DOA-gcc."""
    return (
        Stage(
            "doa",
            settings=_hearing(preset),
            plans=_sound_plans,
            level=_level,
            front=_sound_front,
            network=lambda settings, audio, classes, visual: ModuleNetwork(
                audio.maps,
                audio.bins,
                (AZIMUTHS, ELEVATIONS),
                width=DIRECTION.scaled(settings["width"]),
                dropout=settings["dropout"],
                repeat=settings["repeat"],
            ),
            output_format=lambda settings, classes: Directions(classes, frame_s=_frame_s(settings)),
            recipe=Recipe(choice="mAP"),
            statistics=True,
            augment=_augment,
        ),
    )


def _of_histograms(preset: Preset) -> tuple[Stage, ...]:
    """AZI-hist and ELE-hist on the histogram of whole recordings."""
    histogram = Stage(
        "hist",
        settings=_hearing_histogram(preset),
        plans=_whole_plans(1),
        level=_level,
        front=lambda settings, array, visual, statistics: Front(SingleSourceHistogram(array.channels)),
        network=None,
        output_format=lambda settings, classes: Votes(classes, frame_s=1 / FEATURE_HZ),
    )
    kinds = {
        "azi": (DIRECTION, slice(0, AZIMUTHS), "azimuth"),
        "ele": (ELEVATION, slice(AZIMUTHS, AZIMUTHS + ELEVATIONS), "elevation"),
    }
    return histogram, *(_of_histogram(name, preset, *kind) for name, kind in kinds.items())


def _of_histogram(name: str, preset: Preset, width: Width, rows: slice, feature: str) -> Stage:
    return Stage(
        name,
        settings=_taking(preset, feature=feature),
        plans=_image_plans,
        front=lambda settings, array, visual, statistics: _front(Taken(rows, image=True), settings, statistics),
        network=lambda settings, audio, classes, visual: ModuleNetwork(
            audio.maps,
            audio.bins,
            (audio.bins,),
            width=width.scaled(settings["width"]),
            dropout=settings["dropout"],
            repeat=settings["repeat"],
        ),
        output_format=lambda settings, classes: Directions(classes, frame_s=_frame_s(settings)),
        recipe=Recipe(choice="mAP"),
        statistics=True,
        takes=("hist",),
        augment=_augment,
    )


def _both(raw: Mapping[str, np.ndarray]) -> np.ndarray:
    """Azimuths of one stage, elevations of the other."""
    frames = min(raw["azi"].shape[-1], raw["ele"].shape[-1])
    return np.concatenate([raw["azi"][..., :frames], raw["ele"][..., :frames]], axis=-2)


def _untrained(preset: Preset) -> tuple[Stage, ...]:
    """The histogram as a module of direction, without training."""
    return (
        Stage(
            "histogram",
            settings=_hearing_histogram(preset),
            plans=_whole_plans(FRAMES_PER_LABEL),
            level=_level,
            front=lambda settings, array, visual, statistics: Front(VoteShares(array.channels)),
            network=None,
            output_format=lambda settings, classes: Directions(classes),
            recipe=Recipe(choice="mAP"),
        ),
    )


def _alignment(preset: Preset, takes: Sequence[str]) -> Stage:
    def output_format(settings: Settings, classes: int) -> OutputFormat:
        return AlignedTracks(classes, tracks=settings["tracks"]) if settings["tracks"] else Aligned(classes)

    return Stage(
        "align",
        settings=_taking(preset),
        plans=_alignment_plans,
        front=lambda settings, array, visual, statistics: Front(Taken()),
        network=lambda settings, audio, classes, visual: Alignment(
            classes,
            inputs=classes + AZIMUTHS + ELEVATIONS,
            rnn_units=settings["align_units"],
            tracks=settings["tracks"],
            dropout=settings["dropout"],
        ),
        output_format=output_format,
        recipe=Recipe(epochs=100),
        takes=tuple(takes),
        tuned=_tuning_plans,
    )


# rows -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """A module: its slot, how the paper calls it, its stages, and which of them are what it says."""

    name: str
    slot: str
    title: str
    stages: Callable[[Preset], tuple[Stage, ...]]
    outputs: tuple[str, ...]
    join: Callable[[Mapping[str, np.ndarray]], np.ndarray] = last

    @property
    def system(self) -> str:
        """Name of its system."""
        return f"general_{self.name}"


_ROWS = (
    _Row("sed_m", "sed", "SED-M", _paper_detection, ("sed",)),
    _Row(
        "sed_t",
        "sed",
        "SED-T",
        lambda preset: _paper_detection(preset, Init(None, from_pann, pann_weights())),
        ("sed",),
    ),
    _Row(
        "sed_l8",
        "sed",
        "PannCnn14L8",
        _released_detection("PannCnn14L8", Init(None, from_pann_encoded, pann_weights())),
        ("sed",),
    ),
    _Row("sed_l6", "sed", "PannCnn14L6", _released_detection("PannCnn14L6"), ("sed",)),
    _Row("sed_l6f64", "sed", "PannCnn14L6F64", _released_detection("PannCnn14L6F64"), ("sed",)),
    _Row("doa_iv", "doa", "DOA-iv", _direction, ("doa",)),
    _Row("doa_gcc", "doa", "DOA-gcc", _direction, ("doa",)),
    _Row("doa_hist", "doa", "AZI-hist + ELE-hist", _of_histograms, ("azi", "ele"), _both),
    _Row("histogram", "doa", "histogram, untrained", _untrained, ("histogram",)),
)
_BY_NAME = {row.name: row for row in _ROWS}


def _any_array(settings: Settings) -> bool:
    """Whether a module hears the same of every array."""
    feature = FEATURES.get(settings["feature"])
    return feature is not None and feature.first_channel


def _default(slot: str, array: Array) -> str:
    """The module of a slot where none is named."""
    return {"sed": "sed_m", "doa": "doa_iv" if array.kind == "ambisonics" else "doa_gcc"}[slot]


def _assembled(names: Sequence[str]) -> System:
    """Modules of those names, one of each slot, and what aligns them."""
    known = presets()
    rows = [_BY_NAME[name] for name in names]
    stages = [stage for row in rows for stage in row.stages(known[row.system])]
    takes = [name for row in rows for name in row.outputs]
    return System(
        ":".join(("general", *names)),
        f"general network: {' and '.join(row.title for row in rows)}, aligned",
        SOURCE,
        (*stages, _alignment(known["general"], takes)),
        streams=False,
        slots=_SLOTS,
    )


_SLOTS = Slots(
    modules={
        slot: {
            row.name: Module(row.name, row.title, row.system, row.outputs, _any_array)
            for row in _ROWS
            if row.slot == slot
        }
        for slot in ("sed", "doa")
    },
    default=_default,
    assemble=_assembled,
)


def _systems() -> tuple[System, ...]:
    known = presets()
    modules = [
        System(row.system, known[row.system].title, SOURCE, row.stages(known[row.system]), row.join, streams=False)
        for row in _ROWS
    ]
    whole = _assembled(("sed_m", "doa_iv"))
    return System("general", known["general"].title, SOURCE, whole.stages, streams=False, slots=_SLOTS), *modules


SYSTEMS = _systems()
