"""The audio-visual system of this project: windows of 5 s, measured directions, pointing at what is seen."""

from __future__ import annotations

import numpy as np
from torch import nn

from dataset.framing import Framing
from dataset.plans import RandomWindows, WindowGrid
from feature.audio import AudioFeature
from feature.encoding import ambisonic_encoder, even_directions
from feature.front import Front
from feature.logmel_direction import LogmelDirection, LogmelPair
from feature.objects import object_tokens
from net.avseld import STEP_FRAMES, AvSeld
from output_format.detected_accdoa import DetectedAccdoa
from output_format.multi_accdoa import VECTOR, MultiAccdoa
from simulation.receivers import receiver_for
from system.presets import check_choices, check_made_for, presets, with_changes
from system.recipes import adamw, warm_cosine
from system.row import Plans, Recipe, Settings, Stage, Statistics, System
from util.errors import InputError
from util.job_arguments import Arguments
from util.microphone_arrays import Array

NAME = "avseld"
RATE_HZ, N_FFT, HOP = 24000, 1024, 480
WINDOW_FRAMES = 250
LABEL_FRAME_S = 0.1
ANALYSIS_FLAGS = {"sampling_frequency": RATE_HZ, "fft_size": N_FFT, "stft_hop_size": HOP}
EMA = 0.995


def _settings(args: Arguments, array: Array) -> Settings:
    """The preset's settings with those of --set, checked."""
    made = with_changes({**presets()[NAME].settings, **args.task_settings}, args.set)
    if array.channels not in (2, 4) or (array.kind != "ambisonics" and array.channels == 4 and not array.radius_m):
        raise InputError(f"{NAME} hears Ambisonics, four capsules on a sphere, or two channels, not {array.name}")
    if not made["filters"] or min(*made["filters"], made["channels"], made["layers"] + 1) < 1:
        raise InputError("--set filters, channels: 1 or more each, layers: 0 or more")
    if made["bands"] % 2 ** len(made["filters"]):
        raise InputError(f"--set bands={made['bands']}: every filter halves it, it must be divisible by as many twos")
    if made["channels"] % 8:
        raise InputError(f"--set channels={made['channels']}: must be a multiple of 8")
    if not 0 <= made["dropout"] < 1 or made["masks"] < 0:
        raise InputError("--set dropout: 0 to below 1, masks: 0 or more")
    check_choices(made, {"loss": ("squared", "detection")})
    if made["hop_frames"] % (2 * STEP_FRAMES) or not 0 < made["hop_frames"] <= WINDOW_FRAMES:
        rule = f"must be a multiple of {2 * STEP_FRAMES}, {WINDOW_FRAMES} at most"
        raise InputError(f"--set hop_frames={made['hop_frames']}: {rule}")
    check_made_for(args, NAME, ANALYSIS_FLAGS)
    return made


def _plans(settings: Settings) -> Plans:
    framing = Framing(RATE_HZ, HOP, N_FFT, left=N_FFT // 2, frames_per_output=STEP_FRAMES)
    return Plans(
        framing,
        training=lambda lengths, batch_size, seed, members: RandomWindows(
            framing,
            lengths,
            frames=WINDOW_FRAMES,
            seed=seed,
            members=members,
            label_frame_s=LABEL_FRAME_S,
            visual_hop=STEP_FRAMES,
        ),
        evaluation=lambda lengths: WindowGrid(
            framing, lengths, frames=WINDOW_FRAMES, hop=settings["hop_frames"], visual_hop=STEP_FRAMES
        ),
        flags={
            **ANALYSIS_FLAGS,
            "train_wav_length": WINDOW_FRAMES * HOP / RATE_HZ,
            "eval_wav_hop_length": settings["hop_frames"] * HOP / RATE_HZ,
        },
    )


def _front(settings: Settings, array: Array, visual: bool, statistics: Statistics | None) -> Front:
    analysis = {"rate_hz": RATE_HZ, "n_fft": N_FFT, "hop_length": HOP, "bands": settings["bands"]}
    audio: AudioFeature
    if array.channels == 2:
        audio = LogmelPair(**analysis)
    else:
        audio = LogmelDirection(array.channels, encoder=_encoder(array), **analysis)
    return Front(audio, visual=object_tokens if visual else None)


def _encoder(array: Array) -> np.ndarray | None:
    if array.kind == "ambisonics":
        return None
    directions = even_directions()
    response = receiver_for(array, RATE_HZ).response(directions, np.fft.rfftfreq(N_FFT, 1 / RATE_HZ))
    return ambisonic_encoder(response, directions)


def _looks_at_things(settings: Settings) -> bool:
    return bool(settings.get("things"))  # those of earlier checkpoints look at people only


def _has_distance(settings: Settings) -> bool:
    return bool(settings.get("distance"))  # of checkpoints from before there was one: no


def _network(settings: Settings, audio: AudioFeature, classes: int, visual: bool) -> nn.Module:
    return AvSeld(
        audio.maps,
        classes,
        bins=audio.bins,
        visual=visual,
        measured=audio.channels == 4,
        filters=tuple(settings["filters"]),
        channels=settings["channels"],
        layers=settings["layers"],
        dropout=settings["dropout"],
        masks=settings["masks"],
        distance=_has_distance(settings),
        things=_looks_at_things(settings),
    )


def _output_format(settings: Settings, classes: int) -> MultiAccdoa:
    if settings.get("loss", "detection") == "detection":  # as those of before there was a choice
        return DetectedAccdoa(classes, frame_s=LABEL_FRAME_S, distance=_has_distance(settings))
    elements = (*VECTOR, "distance") if _has_distance(settings) else VECTOR
    return MultiAccdoa(classes, frame_s=LABEL_FRAME_S, elements=elements)


_STAGE = Stage(
    "main",
    settings=_settings,
    plans=_plans,
    front=_front,
    network=_network,
    output_format=_output_format,
    recipe=Recipe(adamw, schedule=warm_cosine, ema=EMA, clip_norm=1.0, tunes=True),
)

SYSTEMS = (
    System(
        NAME,
        presets()[NAME].title,
        "this project",
        (_STAGE,),
        visual="boxes",
        visual_by=lambda settings: "objects" if _looks_at_things(settings) else "boxes",
        supposes=True,
        oriented=True,
    ),
)
