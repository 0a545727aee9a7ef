"""Flags of `python seld.py`: one table of defaults; flag, then the data root's dataset.json, then the default."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from util.errors import InputError

DEFAULT_DATA_ROOT = "data_dcase2023_task3"
# rows of system.SYSTEMS (a test compares)
SYSTEM_NAMES = [
    "crnn",
    "vit",
    "vis_transformer",
    "seldnet2018",
    "seldnet2019",
    "seldnet2019_gru",
    "seldnet2019_lstm",
    "seldnet2019_attention",
    "seldnet2019_final",
]

# Defaults that a data root's dataset.json may set for its own material, with the type each must have there.
SETTABLE_BY_DATASET: dict[str, type | tuple[type, ...]] = {
    "detector": str,
    "batch_size": int,
    "max_iter": int,
    "model_save_interval": int,
    "learning_rate": float,
    "schedule": str,
    "augment": str,
}

DEFAULTS: dict[str, Any] = {
    "train": False,
    "val": False,
    "eval": False,
    "infer": [],
    "tune": False,
    "ids": [],
    "stages": None,
    "storage": None,
    "submit": False,
    "check_submission": None,
    "data_root": [DEFAULT_DATA_ROOT],
    "monitor_path": None,
    "cache": None,
    "random_seed": 0,
    "class_num": None,
    "format": None,
    "ov": None,
    "split": None,
    "train_wav_txt": None,
    "val_wav_txt": None,
    "eval_wav_txt": None,
    "eval_model": None,
    "net": "crnn",
    "stage": None,
    "set": [],
    "statistics": "train",
    "no_video": False,
    "detector": "yolox_tiny",
    "box_rate": "10",
    "boxes": "own",
    "batch_size": 16,
    "learning_rate": 0.001,
    "weight_decay": 1e-6,
    "schedule": "constant",
    "augment": "none",
    "max_iter": 10000,
    "model_save_interval": 1000,
    "epochs": None,
    "passes_per_epoch": 1,
    "patience": None,
    "select": "last",
    "mix": None,
    "init": None,
    "resume": None,
    "sampling_frequency": 24000,
    "feature": None,
    "fft_size": 512,
    "stft_hop_size": 240,
    "train_wav_length": 1.27,
    "eval_wav_hop_length": 1.2,
    "feature_config": "feature/feature.json",
    "threshold_config": None,
    "edition": None,
    "average": "macro",
    "out": None,
    "label": "Lastname_Institute_task3_1",
    "channel_order": "acn",
    "norm": None,
    "video_yaw_deg": 0.0,
    "video_offset_s": 0.0,
    "player": "auto",
    "overlay": None,
    "stream": False,
    "stream_format": None,
    "channels": None,
    "rate": None,
    "device": "auto",
    "devices": 1,
    "precision": "auto",
    "workers": 1,
}


def build_parser(systems: list[str]) -> argparse.ArgumentParser:
    """The parser of `python seld.py`; values that the user does not give are absent from its result."""
    parser = argparse.ArgumentParser(
        prog="python seld.py",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Train, validate and evaluate sound event localization and detection systems.",
        epilog="""examples
  python seld.py -train -val --data-root data_dcase2023_task3           train on STARSS23, score at every checkpoint
  python seld.py -train --no-video -i 20000                             the same without the video
  python seld.py -eval -em RUN/params_..._0020000.pth -evalwt LIST.txt  predict a list; score it where labels exist
  python seld.py -train -val --resume RUN                               go on after an interruption
  python seld.py --system seldnet2019 4 1                               DCASE 2019 baseline: task 4 (FOA), job 1
  python seld.py -tune --system seldnet2019_gru --data-root DATA        search its settings stage by stage, resumable
  python seld.py -infer MINE.wav MINE.mp4 -em CHECKPOINT                events, csv and a player of your own recording
  arecord ... | python seld.py -infer - --stream --stream-format s16le --channels 4 --rate 48000 -em CHECKPOINT

A value is taken from the flag, else from dataset.json in the data root, else from the default in [brackets].""",
    )
    parser.add_argument(
        "ids",
        nargs="*",
        metavar="ID",
        help="task and job of systems that have presets, in the order of their seeds: --system seldnet2019 TASK JOB, "
        "--system seldnet2018 JOB TASK; trains and scores. system/presets.toml says what each task id stands for",
    )
    add = parser.add_argument_group("what to do").add_argument
    add("-train", "--train", action="store_true", help="train a system")
    add("-val", "--val", action="store_true", help="validate at every checkpoint during training")
    add("-eval", "--eval", action="store_true", help="evaluate the checkpoint -em on the list -evalwt")
    add(
        "-infer",
        "--infer",
        nargs="+",
        metavar="FILE",
        help="predict recordings that need no labels: sound files, each with its mp4 if it has one, or folders",
    )
    add("-tune", "--tune", action="store_true", help="search for better settings of a system, stage by stage (Optuna)")
    add(
        "-submit",
        "--submit",
        action="store_true",
        help="predict the evaluation set (-evalwt, or foa_eval ... of the data root) with -em; csv, metadata, zip",
    )
    add(
        "-check-submission",
        "--check-submission",
        metavar="DIR",
        help="check the csv files of a challenge entry: names, count, ranges, lengths, by --edition",
    )

    add = parser.add_argument_group("data").add_argument
    add(
        "--data-root",
        action="append",
        metavar="DIR",
        help=f"folder of foa_dev, metadata_dev, video_dev ... [{DEFAULT_DATA_ROOT}]; may be given several times",
    )
    add(
        "--format",
        choices=["foa", "mic", "bin"],
        help="audio format of the default lists, and of recordings whose folder does not say it [foa; -eval: the "
        "checkpoint's]",
    )
    add("--ov", type=_positive_int, metavar="N", help="data sets in parts by overlap: events at one time, 1 to 3 [1]")
    add(
        "--split",
        metavar="N",
        help="data sets with cross-validation: the split that is tested, or 'all' for each in turn and pooled scores "
        "[the data set's]",
    )
    add("--mix", metavar="SHARES", help="with several data roots: share of the training windows of each, as 0.5,0.5")
    add(
        "-twt",
        "--train-wav-txt",
        metavar="LIST",
        help="training list [list_dataset/dcase2023t3_foa_devtrain_audiovisual.txt; --no-video: ..._foa_devtrain.txt]",
    )
    add(
        "-valwt",
        "--val-wav-txt",
        metavar="LIST",
        help="validation list [list_dataset/dcase2023t3_foa_devtest.txt]",
    )
    add("-evalwt", "--eval-wav-txt", metavar="LIST", help="evaluation list [the validation list's default]")
    add(
        "--class-num",
        type=_positive_int,
        metavar="N",
        help="number of classes [from the data root: classes.txt, else 13]",
    )
    add("-fs", "--sampling-frequency", type=_positive_int, metavar="HZ", help="sampling rate in Hz [24000]")

    add = parser.add_argument_group("system").add_argument
    add("-n", "--net", "--system", choices=systems, help="system to train [crnn]")
    add("--stage", metavar="NAME", help="train this stage of a system of several [all that are missing, in order]")
    add(
        "--set",
        action="append",
        metavar="NAME=VALUE",
        help="change a setting of the system (SELDnet: sequence_frames, filters, pools, rnn, rnn_units, dense, "
        "dropout, attention, coordinates, layout, loss_weights: see system/presets.toml); may be given several times",
    )
    add(
        "--statistics",
        choices=["train", "development"],
        help="recordings that the features are standardised by: those trained on, or all of the development set, as "
        "published (the result says so) [train]",
    )
    add("--no-video", action="store_true", help="the audio-only form of the system")
    add(
        "--feature",
        choices=["amp_phasediff", "binaural_phasediff"],
        help="audio feature [what the format of the training list needs]",
    )
    add("--fft-size", type=_positive_int, metavar="N", help="STFT window in samples [512]")
    add("--stft-hop-size", type=_positive_int, metavar="N", help="STFT hop in samples, 10 ms: 480 for -fs 48000 [240]")
    add(
        "--train-wav-length",
        type=_positive_float,
        metavar="S",
        help="seconds of a training window; networks take 1.27 [1.27]",
    )
    add(
        "--eval-wav-hop-length",
        type=_positive_float,
        metavar="S",
        help="seconds between evaluation windows; only 1.2 joins [1.2]",
    )
    add("--feature-config", metavar="FILE", help="base channel and channels per feature [feature/feature.json]")
    add(
        "--threshold-config",
        metavar="FILE",
        help="activity threshold per class, unification angle in degrees [util/threshold.json]",
    )
    add(
        "--detector",
        metavar="NAME",
        help="person detector: yolox_nano, yolox_tiny, yolox_s, builtin or a path to an .onnx file [yolox_tiny]",
    )
    add(
        "--cache",
        metavar="DIR",
        help="folder for what is made of the data, as person boxes [beside them; the user's cache where that cannot be "
        "written]",
    )
    add("--box-rate", metavar="HZ", help="detections per second of video, or 'native' for every frame [10]")
    add(
        "--boxes",
        choices=["own", "empty", "other", "true"],
        help="boxes that an audio-visual system is scored with: the clip's own, none, another clip's, or made from the "
        "labels; -infer and -submit: own or empty [own]",
    )

    add = parser.add_argument_group("training").add_argument
    add("-m", "--monitor-path", metavar="DIR", help="where run folders go [DATA_ROOT/model_monitor]")
    add("-rs", "--random-seed", type=int, metavar="N", help="the one seed: weights, windows, augmentation [0]")
    add("-b", "--batch-size", type=_positive_int, metavar="N", help="windows per step, over all processes [16]")
    add("-l", "--learning-rate", type=_positive_float, metavar="X", help="learning rate of Adam [0.001]")
    add("-w", "--weight-decay", type=_not_negative_float, metavar="X", help="weight decay of Adam [1e-6]")
    add("--schedule", choices=["constant", "cosine"], help="learning rate over the iterations [constant]")
    add(
        "--augment",
        choices=["none", "acs"],
        help="acs: audio channel swap with the boxes moved alike, drawn for every training window [none]",
    )
    add("-i", "--max-iter", type=_positive_int, metavar="N", help="iterations [10000]")
    add("-s", "--model-save-interval", type=_positive_int, metavar="N", help="iterations between checkpoints [1000]")
    add(
        "--epochs",
        type=_positive_int,
        metavar="N",
        help="systems that pass over all recordings: epochs, each ends with a checkpoint and a score [the recipe's]",
    )
    add("--passes-per-epoch", type=_positive_int, metavar="N", help="passes over the recordings in an epoch [1]")
    add(
        "--patience",
        type=_positive_int,
        metavar="N",
        help="with --select val or test: stop when so many epochs (checkpoints) brought no better score [the recipe's]",
    )
    add(
        "--select",
        choices=["last", "val", "test"],
        help="which checkpoint is the result: the last; the best on recordings split off the training list by room; "
        "or the best on the validation list, as the field does (the result says so) [last]",
    )
    add("--init", metavar="CHECKPOINT", help="start from its weights only; what was copied and skipped is printed")
    add("--resume", metavar="RUN_DIR", help="go on with an interrupted run, with its own settings")

    add = parser.add_argument_group("search for better settings (-tune)").add_argument
    add("--stages", metavar="FILE", help="stages of the search and their values [system/tuning.toml]")
    add(
        "--storage",
        metavar="URL",
        help="Optuna's database, as sqlite:///FILE or mysql://...; the same command goes on with it [tuning.db in the "
        "folder of the search]",
    )

    add = parser.add_argument_group("evaluation").add_argument
    add("-em", "--eval-model", metavar="CHECKPOINT", help="checkpoint to evaluate")
    add(
        "--edition",
        metavar="YEAR",
        help="edition of the metrics, or of the challenge entered [2023; TAU 2019 data: 2019, TUT 2018: 2018]",
    )
    add("--average", choices=["macro", "micro"], help="average over the classes, or over all events [macro]")

    add = parser.add_argument_group("your own recordings (-infer)").add_argument
    add(
        "--out",
        metavar="DIR",
        help="folder for what is written, with several recordings one below it for each; -submit: of the entry; -tune: "
        "of the search [-infer: NAME_seld, -submit: submission_EDITION, in the working directory; -tune: tune_SYSTEM "
        "beside the runs]",
    )
    add("--label", metavar="NAME", help="name of an entry (-submit) [Lastname_Institute_task3_1]")
    add(
        "--channel-order",
        choices=["acn", "fuma"],
        help="order of Ambisonics channels: acn W Y Z X; fuma W X Y Z, W 3 dB lower unless --norm says otherwise [acn]",
    )
    add("--norm", choices=["sn3d", "n3d"], help="weights of Ambisonics channels [sn3d; fuma: its own]")
    add(
        "--video-yaw-deg",
        type=_finite_float,
        metavar="DEG",
        help="azimuth that the middle of the 360-degree picture shows, left positive [0]",
    )
    add(
        "--video-offset-s",
        type=_finite_float,
        metavar="S",
        help="seconds by which the video starts later than the sound; negative: earlier [0]",
    )
    add(
        "--player",
        choices=["auto", "always", "never"],
        help="write the page that shows the result; auto: of recordings up to 30 min [auto]",
    )
    add(
        "--overlay",
        metavar="MP4",
        help="also render the result into a video file with its sound (one recording) [none]",
    )
    add(
        "--stream",
        action="store_true",
        help="read block by block and print a row as soon as its window is heard; FILE - is standard input",
    )
    add(
        "--stream-format",
        choices=["s16le", "f32le"],
        help="raw samples on standard input: 16-bit integers or 32-bit floats, channels interleaved [s16le]",
    )
    add("--channels", type=_positive_int, metavar="N", help="channels on standard input [those of the checkpoint]")
    add("--rate", type=_positive_int, metavar="HZ", help="sampling rate on standard input [that of the checkpoint]")

    add = parser.add_argument_group("machine").add_argument
    add("--device", choices=["auto", "cpu", "cuda", "mps"], help="where the network runs [auto]")
    add("--devices", type=_positive_int, metavar="N", help="processes that train together [1]")
    add(
        "--precision",
        choices=["auto", "32", "bf16"],
        help="auto: training in bfloat16 where the machine is fast at it, -eval and -infer in float32 [auto]",
    )
    add("--workers", type=_positive_int, metavar="N", help="threads that read windows ahead [1]")
    return parser


def resolve(
    given: dict[str, Any],
    dataset_settings: dict[str, Any],
    recipe: Mapping[str, Any] | None = None,
    *,
    dataset_file: str = "dataset.json",
) -> dict[str, Any]:
    """Flags, then the recipe of the system, then what the data root's dataset.json sets, then the defaults.

    Raises
    ------
    InputError : dataset.json sets a value of the wrong type; a seed out of range
    """
    resolved = dict(DEFAULTS)
    for name, kind in SETTABLE_BY_DATASET.items():
        if name not in dataset_settings:
            continue
        value = dataset_settings[name]
        if kind is float and isinstance(value, int):
            value = float(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"{name} must be of type {kind.__name__}, found {value!r}", path=dataset_file)
        resolved[name] = value
    resolved.update(recipe or {})
    resolved.update(given)
    if not 0 <= resolved["random_seed"] < 2**63:
        raise InputError(f"-rs {resolved['random_seed']}: the seed must be 0 to 2^63 - 1")
    return resolved


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, found {text}")
    return value


def _positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, found {text}")
    return value


def _finite_float(text: str) -> float:
    value = float(text)
    if not abs(value) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a finite number, found {text}")
    return value


def _not_negative_float(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more, found {text}")
    return value
