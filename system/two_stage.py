"""Two-stage SELD (DCASE 2019): detection first, then direction on its convolution blocks; and its joint baseline."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dataset.chunks import Chunks
from dataset.framing import Framing
from dataset.plans import Clips
from feature.front import Front
from feature.logmel_gcc import TWO_STAGE, TWO_STAGE_INTENSITY, Logmel, LogmelGCC, correlation_samples
from feature.logmel_intensity import LogmelIntensity
from feature.stft import SpectralFeature
from net.two_stage import FILTERS, NETWORKS, transferred
from output_format.two_stage import TwoStage, joined
from system.presets import Preset, check_choices, check_made_for, presets, with_changes
from system.recipes import amsgrad
from system.row import Init, Plans, Recipe, Settings, Stage, Statistics, System, last
from system.standardise import standardise_by
from util.errors import InputError
from util.job_arguments import Arguments
from util.microphone_arrays import Array

SOURCE = "Cao et al., DCASE 2019 workshop (arXiv 1905.00268), repository of the Two-Stage strategy"
# what the flags of the analysis must say, by their names
ANALYSIS_FLAGS = {
    "sampling_frequency": TWO_STAGE["rate_hz"],
    "fft_size": TWO_STAGE["n_fft"],
    "stft_hop_size": TWO_STAGE["hop_length"],
}
STEP_FRAMES = 16  # of the feature that one step of the networks takes
CHOICES = {
    "feature": ("logmel", "logmelgcc", "logmeliv"),
    "network": tuple(NETWORKS),
    "pool": ("avg", "max"),
    "loss": ("MAE", "MSE"),
}


def _audio(settings: Settings, channels: int) -> SpectralFeature:
    """The feature of that name."""
    if settings["feature"] == "logmeliv":
        return LogmelIntensity(channels, **TWO_STAGE, **TWO_STAGE_INTENSITY, precision=torch.float32)
    return (LogmelGCC if settings["feature"] == "logmelgcc" else Logmel)(channels, **TWO_STAGE)


def _settings_of(preset: Preset) -> Callable[[Arguments, Array], Settings]:
    """(arguments, array) -> settings of a stage: the preset's, the task's, those of --set."""

    def settings(args: Arguments, array: Array) -> Settings:
        made = with_changes({**preset.settings, **args.task_settings}, args.set)
        check_choices(made, CHOICES)
        if made["chunk_frames"] < STEP_FRAMES or made["chunk_hop"] < 1:
            rule = f"chunk_frames must be {STEP_FRAMES} or more (the networks pool as many), chunk_hop 1 or more"
            raise InputError(f"--set {rule}")
        if len(made["filters"]) != len(FILTERS) or min(*made["filters"], made["rnn_units"]) < 1:
            raise InputError(f"--set filters and rnn_units: {len(FILTERS)} numbers and one, each 1 or more")
        if not 0 <= made["beta"] <= 1:
            raise InputError(f"--set beta={made['beta']}: the weight of the direction must be 0 to 1")
        check_made_for(args, preset.name, ANALYSIS_FLAGS)
        if made["feature"] == "logmeliv" and array.kind != "ambisonics":
            rule = f"intensity vectors need Ambisonics, the recordings are {array.name}"
            raise InputError(f"--set feature=logmeliv: {rule}")
        # the published rounding to tens of degrees belongs to the data sets that are scored by it
        return {**made, "channels": array.channels, "on_grid": args.edition == "2019"}

    return settings


def _plans(settings: Settings) -> Plans:
    n_fft = TWO_STAGE["n_fft"]
    frame = correlation_samples(n_fft) if settings["feature"] == "logmelgcc" else n_fft
    framing = Framing(
        TWO_STAGE["rate_hz"], TWO_STAGE["hop_length"], frame, left=frame // 2, mirror="both", count="centred"
    )
    return Plans(
        framing,
        training=lambda lengths, batch_size, seed, members: Chunks(
            framing,
            lengths,
            frames=settings["chunk_frames"],
            hop=settings["chunk_hop"],
            batch_size=batch_size,
            seed=seed,
            members=members,
        ),
        evaluation=lambda lengths: Clips(framing, lengths, frames=None, multiple=STEP_FRAMES),
        flags=ANALYSIS_FLAGS,
    )


def _front(settings: Settings, array: Array, visual: bool, statistics: Statistics | None) -> Front:
    audio = _audio(settings, array.channels)
    return Front(audio, standardise_by(statistics, settings["feature"], audio.maps, audio.bins))


def _stage(name: str, preset: Preset, beta: float | None, init: Init | None = None, choice: str | None = None) -> Stage:
    """One of the stages: the same feature and network, another weight of the direction (None: the preset's)."""
    return Stage(
        name,
        settings=_settings_of(preset),
        plans=_plans,
        front=_front,
        network=lambda settings, audio, classes, visual: NETWORKS[settings["network"]](
            audio.maps,
            classes,
            bins=audio.bins,
            pool=settings["pool"],
            filters=settings["filters"],
            rnn_units=settings["rnn_units"],
        ),
        output_format=lambda settings, classes: TwoStage(
            classes,
            beta=settings["beta"] if beta is None else beta,
            kind=settings["loss"],
            on_grid=settings["on_grid"],
        ),
        recipe=Recipe(amsgrad, choice=choice),
        statistics=True,
        init=init,
    )


def _rows() -> tuple[System, ...]:
    known = presets()
    stages = {
        "two_stage": lambda preset: (
            _stage("sed", preset, 0.0, choice="F"),
            _stage("doa", preset, 1.0, Init("sed", transferred)),
        ),
        "two_stage_scratch": lambda preset: (_stage("sed", preset, 0.0, choice="F"), _stage("doa", preset, 1.0)),
        "two_stage_joint": lambda preset: (_stage("main", preset, None),),
    }
    made = []
    for name, make in stages.items():
        own = make(known[name])
        join = joined if len(own) > 1 else last
        made.append(System(name, known[name].title, SOURCE, own, join=join, streams=False))
    return tuple(made)


SYSTEMS = _rows()
