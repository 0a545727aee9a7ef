"""The audio-visual systems of the DCASE 2023 baseline and its forks: windows of 1.27 s, Multi-ACCDOA."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from dataset.framing import Framing
from dataset.plans import RandomWindows, WindowGrid
from feature.boxes import box_vectors
from feature.front import Front
from feature.phasediff import AmplitudePhaseDifference
from net.crnn import AudioVisualCRNN
from net.vis_transformer import VisTransformer
from net.vit import VisionTransformer
from output_format.multi_accdoa import MultiAccdoa
from system.row import Foreign, Plans, Settings, Stage, Statistics, System
from util.errors import InputError
from util.files import read_json
from util.job_arguments import Arguments
from util.microphone_arrays import Array

MAX_RATE_HZ = 192000
FRAME_S = 0.01
WINDOW_FRAMES, HOP_FRAMES = 128, 120  # of the networks' input; from one evaluation window to the next
N_FFT = 512  # that the networks are made for
FEATURE_OF_CHANNELS = {4: "amp_phasediff", 2: "binaural_phasediff"}
FOREIGN = {"base_channel": 0, "fft_size": N_FFT, "stft_hop_size": 240, "sampling_frequency": 24000}


def check_framing(args: Arguments) -> None:
    """Refuse flags that ask for other windows than 128 frames of 10 ms, 1.2 s apart in evaluation.

    Raises
    ------
    InputError : the networks do not take them, or the plan does not join them
    """
    rate_hz, n_fft, hop = args.sampling_frequency, args.fft_size, args.stft_hop_size
    window_s, hop_s = (WINDOW_FRAMES - 1) * FRAME_S, HOP_FRAMES * FRAME_S
    due, left = divmod(rate_hz, round(1 / FRAME_S))
    if left or rate_hz > MAX_RATE_HZ:
        rule = f"must be a multiple of {round(1 / FRAME_S)} Hz (frames of 10 ms), {MAX_RATE_HZ} at most"
        raise InputError(f"-fs {rate_hz}: {rule}")
    if hop != due:
        raise InputError(f"-fs {rate_hz} needs --stft-hop-size {due} (frames of 10 ms), found {hop}")
    if not math.isclose(args.train_wav_length, window_s):
        rule = f"the networks take windows of {WINDOW_FRAMES} frames of 10 ms: {window_s:g}"
        raise InputError(f"--train-wav-length {args.train_wav_length:g}: {rule}")
    if not math.isclose(args.eval_wav_hop_length, hop_s):
        rule = f"the output format joins windows that are {hop_s:g} s apart"
        raise InputError(f"--eval-wav-hop-length {args.eval_wav_hop_length:g}: {rule}")
    if n_fft % 2 or not hop <= n_fft <= (WINDOW_FRAMES - 1) * hop:
        rule = f"must be even, {hop} (the hop) to {(WINDOW_FRAMES - 1) * hop} (a window)"
        raise InputError(f"--fft-size {n_fft}: {rule}")


def plans_of(settings: Settings) -> Plans:
    """Random windows in training, windows on a grid in evaluation.

    Frames of evaluation end at a multiple of the hop, those of training are centred there, two thirds of a
    millisecond later (as in the reference).
    """
    rate_hz = settings.get("sampling_frequency", FOREIGN["sampling_frequency"])
    hop, n_fft = settings["stft_hop_size"], settings["fft_size"]
    framing = Framing(rate_hz, hop, n_fft, left=n_fft - hop)
    return Plans(
        framing,
        training=lambda lengths, batch_size, seed, members: RandomWindows(
            framing, lengths, frames=WINDOW_FRAMES, seed=seed, members=members
        ),
        evaluation=lambda lengths: WindowGrid(framing, lengths, frames=WINDOW_FRAMES, hop=HOP_FRAMES),
        flags={
            "sampling_frequency": rate_hz,
            "fft_size": n_fft,
            "stft_hop_size": hop,
            "train_wav_length": (WINDOW_FRAMES - 1) * FRAME_S,
            "eval_wav_hop_length": HOP_FRAMES * FRAME_S,
        },
    )


def _settings(network: Callable[..., nn.Module]) -> Callable[[Arguments, Array], Settings]:
    """Settings of the stage, checked against the array, the feature configuration and the network."""

    def settings(args: Arguments, array: Array) -> Settings:
        check_framing(args)
        name = FEATURE_OF_CHANNELS.get(array.channels, "amp_phasediff")
        if args.feature not in (None, name):
            rule = f"--feature {args.feature} does not fit {array.name} audio ({array.channels} channels): use {name}"
            raise InputError(rule)
        path = Path(args.feature_config)
        if not path.is_file():  # the default is meant relative to the project, wherever the command is typed
            path = Path(__file__).resolve().parent.parent / args.feature_config
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
        if args.fft_size != N_FFT:  # which the networks are made for
            _check_bins(args, network, maps)
        taken = ("fft_size", "stft_hop_size", "sampling_frequency")
        return {"name": name, "base_channel": base_channel, **{key: getattr(args, key) for key in taken}}

    return settings


def _check_bins(args: Arguments, network: Callable[..., nn.Module], maps: int) -> None:
    """Refuse an STFT window whose number of bins the network cannot take; no random number is drawn for it."""
    bins = args.fft_size // 2 + 1
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        made = network(maps, 1, visual=False).eval()
        try:
            frames = made(torch.zeros(1, maps, WINDOW_FRAMES, bins), None).shape[-1]
        except RuntimeError:
            frames = 0
    if frames != WINDOW_FRAMES:
        rule = f"the network {args.net} cannot take {bins} bins, {N_FFT} works"
        raise InputError(f"--fft-size {args.fft_size}: {rule}")


def front_of(settings: Settings, array: Array, visual: bool, statistics: Statistics | None) -> Front:
    """Amplitudes and phase differences, and the boxes of one look as Gaussian-like vectors."""
    audio = AmplitudePhaseDifference(
        array.channels,
        base_channel=settings["base_channel"],
        n_fft=settings["fft_size"],
        hop_length=settings["stft_hop_size"],
    )
    return Front(audio, visual=(lambda boxes: box_vectors(boxes[:, 0])) if visual else None)


def _recognised(network: Callable[..., nn.Module]) -> Callable[[Mapping[str, torch.Tensor]], Foreign | None]:
    """weights -> what they were trained for, if they are those of the network."""

    def recognised(weights: Mapping[str, torch.Tensor]) -> Foreign | None:
        try:
            classes = weights["fc_xyz.weight"].shape[0] // 9
            maps = weights["audio_encoder.conv1.weight"].shape[1]
            array = {7: "foa", 3: "binaural"}[maps]
        except (KeyError, IndexError):
            return None
        shapes = {key: tuple(value.shape) for key, value in weights.items()}
        for visual in (True, False):
            with torch.random.fork_rng(devices=[]):
                own = network(maps, classes, visual=visual).state_dict()
            if shapes == {key: tuple(value.shape) for key, value in own.items()}:
                return Foreign(FOREIGN, array, classes, visual)
        return None

    return recognised


def _system(name: str, title: str, source: str, network: Callable[..., nn.Module]) -> System:
    stage = Stage(
        "main",
        settings=_settings(network),
        plans=plans_of,
        front=front_of,
        network=lambda settings, audio, classes, visual: network(audio.maps, classes, visual=visual),
        output_format=lambda settings, classes: MultiAccdoa(classes),
        foreign=FOREIGN,
        recognise=_recognised(network),
    )
    return System(name, title, source, (stage,), visual="boxes")


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
