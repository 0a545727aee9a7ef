"""The audio-visual systems of the DCASE 2023 baseline and its forks: windows of 1.27 s, Multi-ACCDOA."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dataset.samplers import WindowSampler
from dataset.windows import Framing
from family.base import Settings, Stage, System
from feature.boxes import box_vectors
from feature.front import WindowFront
from feature.phasediff import AmplitudePhaseDifference
from net.crnn import AudioVisualCRNN
from net.vis_transformer import VisTransformer
from net.vit import VisionTransformer
from output_format.formats import MultiAccdoa
from output_format.multi_accdoa import FRAME_S, HOP_FRAMES, LEADING_FRAMES
from util.errors import InputError
from util.files import read_json
from util.microphone_arrays import Array

MAX_RATE_HZ = 192000
WINDOW_FRAMES = HOP_FRAMES + 2 * LEADING_FRAMES  # that the networks take
FEATURE_OF_CHANNELS = {4: "amp_phasediff", 2: "binaural_phasediff"}
FOREIGN = {"base_channel": 0, "fft_size": 512, "stft_hop_size": 240, "sampling_frequency": 24000}


def framing_of(args: Mapping[str, Any]) -> Framing:
    """The framing that the flags ask for: windows of 128 frames of 10 ms, 1.2 s apart in evaluation.

    Raises
    ------
    InputError : they ask for another, which the networks do not take or the output format does not join
    """
    framing = Framing.from_settings(args)
    rate_hz, window_s, hop_s = framing.rate_hz, (WINDOW_FRAMES - 1) * FRAME_S, HOP_FRAMES * FRAME_S
    due, left = divmod(rate_hz, round(1 / FRAME_S))
    if left or rate_hz > MAX_RATE_HZ:
        rule = f"must be a multiple of {round(1 / FRAME_S)} Hz (frames of 10 ms), {MAX_RATE_HZ} at most"
        raise InputError(f"-fs {rate_hz}: {rule}")
    if framing.hop != due:
        raise InputError(f"-fs {rate_hz} needs --stft-hop-size {due} (frames of 10 ms), found {framing.hop}")
    if not math.isclose(args["train_wav_length"], window_s):
        rule = f"the networks take windows of {WINDOW_FRAMES} frames of 10 ms: {window_s:g}"
        raise InputError(f"--train-wav-length {args['train_wav_length']:g}: {rule}")
    if not math.isclose(args["eval_wav_hop_length"], hop_s):
        rule = f"the output format joins windows that are {hop_s:g} s apart"
        raise InputError(f"--eval-wav-hop-length {args['eval_wav_hop_length']:g}: {rule}")
    if framing.n_fft % 2 or not framing.hop <= framing.n_fft <= framing.window_samples:
        rule = f"must be even, {framing.hop} (the hop) to {framing.window_samples} (a window)"
        raise InputError(f"--fft-size {framing.n_fft}: {rule}")
    return framing


def _settings(network: Callable[..., nn.Module]) -> Callable[[Mapping[str, Any], Array], Settings]:
    """Settings of the stage, checked against the array, the feature configuration and the network."""

    def settings(args: Mapping[str, Any], array: Array) -> Settings:
        framing_of(args)
        name = FEATURE_OF_CHANNELS.get(array.channels, "amp_phasediff")
        if args["feature"] not in (None, name):
            rule = (
                f"--feature {args['feature']} does not fit {array.name} audio ({array.channels} channels): use {name}"
            )
            raise InputError(rule)
        path = Path(args["feature_config"])
        if not path.is_file():  # the default is meant relative to the project, wherever the command is typed
            path = Path(__file__).resolve().parent.parent / args["feature_config"]
        config = read_json(path)
        maps = 2 * array.channels - 1
        about = config.get(name) if isinstance(config, dict) else None
        if not isinstance(about, dict) or about.get("ch") != maps:
            raise InputError(f'must hold "{name}": {{"ch": {maps}}} for {array.name} audio', path=path)
        base_channel = config.get("base_channel", 0)
        if type(base_channel) is not int or not 0 <= base_channel < array.channels:
            last = array.channels - 1
            rule = f"base_channel must be a channel of {array.name} audio, 0 to {last}, found {base_channel!r}"
            raise InputError(rule, path=path)
        if args["fft_size"] != Framing.n_fft:  # which the networks are made for
            _check_bins(args, network, maps)
        taken = ("fft_size", "stft_hop_size", "sampling_frequency")
        return {"name": name, "base_channel": base_channel, **{key: args[key] for key in taken}}

    return settings


def _check_bins(args: Mapping[str, Any], network: Callable[..., nn.Module], maps: int) -> None:
    """Refuse an STFT window whose number of bins the network cannot take; no random number is drawn for it."""
    bins = args["fft_size"] // 2 + 1
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        made = network(maps, 1, visual=False).eval()
        try:
            frames = made(torch.zeros(1, maps, WINDOW_FRAMES, bins), None).shape[-1]
        except RuntimeError:
            frames = 0
    if frames != WINDOW_FRAMES:
        rule = f"the network {args['net']} cannot take {bins} bins, {Framing.n_fft} works"
        raise InputError(f"--fft-size {args['fft_size']}: {rule}")


def _front(settings: Settings, array: Array, visual: bool, statistics: None) -> nn.Module:
    audio = AmplitudePhaseDifference(
        array.channels,
        base_channel=settings["base_channel"],
        n_fft=settings["fft_size"],
        hop_length=settings["stft_hop_size"],
    )
    return WindowFront(audio, box_vectors if visual else None)


def _system(name: str, title: str, source: str, network: Callable[..., nn.Module]) -> System:
    stage = Stage(
        "main",
        settings=_settings(network),
        sampler=lambda settings: WindowSampler(Framing.from_settings(settings)),
        front=_front,
        network=lambda settings, audio, classes, visual: network(audio.maps, classes, visual=visual),
        output_format=lambda settings, classes: MultiAccdoa(classes),
        foreign=FOREIGN,
    )
    return System(name, title, source, (stage,))


SYSTEMS = (
    _system(
        "crnn",
        "audio-visual CRNN, Multi-ACCDOA",
        "audio-visual baseline of DCASE 2023 task 3, arXiv 2306.09126",
        AudioVisualCRNN,
    ),
    _system("vit", "audio-visual time-token ViT, Multi-ACCDOA", "this project", VisionTransformer),
    _system(
        "vis_transformer",
        "audio-visual ViT of the MRSAudio fork with its exchanged axes (parity only)",
        "audio-visual SELD fork in the MRSAudio repository",
        VisTransformer,
    ),
)
