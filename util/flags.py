"""The flags of `python seld.py`, one row each: what a flag is, which jobs take it, what else it may decide.

Parser, help, resume, dataset.json, evaluation and search read this table; without PyTorch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from types import GenericAlias
from typing import Any

from util.channel_names import capsule_corners, parse_channels
from util.errors import InputError

DEFAULT_DATA_ROOT = "data_dcase2023_task3"
# rows of system.table.SYSTEMS (a test compares)
SYSTEM_NAMES = (
    "crnn",
    "vit",
    "vis_transformer",
    "avseld",
    "seldnet2018",
    "seldnet2019",
    "seldnet2019_gru",
    "seldnet2019_lstm",
    "seldnet2019_attention",
    "seldnet2019_final",
    "seldnet2020",
    "seldnet2021",
    "two_stage",
    "two_stage_scratch",
    "two_stage_joint",
    "general",
    "general_sed_m",
    "general_sed_t",
    "general_sed_l8",
    "general_sed_l6",
    "general_sed_l6f64",
    "general_doa_iv",
    "general_doa_gcc",
    "general_doa_hist",
    "general_histogram",
    "seldnet2022",
    "seldnet2023",
    "seldnet2024",
    "seldnet2025",
    "seldnet2024_audio_visual",
    "seldnet2025_audio_visual",
)


@dataclass(frozen=True)
class Job:
    """What the command line can do.

    Attributes
    ----------
    name : of the flag that asks for it
    usage : how it is asked for
    title : one line for people
    examples : command lines behind `python seld.py`, and what they do
    """

    name: str
    usage: str
    title: str
    examples: tuple[tuple[str, str], ...]

    @property
    def option(self) -> str:
        """The flag as it is typed."""
        return self.usage.split()[0]


JOBS = {
    job.name: job
    for job in (
        Job(
            "train",
            "-train [-val]",
            "train a system into a run folder; with -val every checkpoint is scored",
            (
                ("-train -val --data-root data_dcase2023_task3", "train on STARSS23, score at every checkpoint"),
                ("-train --no-video -i 20000", "the audio-only form, 20000 iterations"),
                ("-train -val --resume RUN", "go on after an interruption"),
                ("-train -val --data-root A --data-root B --mix 0.7,0.3", "windows of two data sets, 7 to 3"),
                ("--system seldnet2019 4 1", "DCASE 2019 baseline: task 4 (FOA), job 1"),
            ),
        ),
        Job(
            "eval",
            "-eval",
            "evaluate a checkpoint on a list: csv files, raw output, and scores where there are labels",
            (
                ("-eval", "the newest run, its last (or selected) checkpoint"),
                ("-eval -em RUN/params_..._0020000.pth -evalwt LIST.txt", "a checkpoint on a list"),
                ("-eval -em RUN --boxes empty", "what the sound alone gives an audio-visual system"),
            ),
        ),
        Job(
            "infer",
            "-infer FILE [FILE ...]",
            "predict recordings that need no labels: events, csv and a page to look at",
            (
                ("-infer MINE.wav MINE.mp4 -em CHECKPOINT", "events, csv and a player of your own recording"),
                ("-infer MINE.wav --directions", "no model: where the strongest sources of any Ambisonics are"),
                ("-infer MINE.wav --directions --array CAPSULES.csv", "of your own microphone array"),
                ("-infer FOLDER -em CHECKPOINT --out RESULTS", "every recording of a folder"),
                ("-infer MINE.wav --channel-order fuma", "Ambisonics in the order W X Y Z"),
                ("-infer MINE.wav --stream", "rows as soon as their window is heard"),
                ("-infer - --stream --stream-format s16le --channels 4 --rate 48000", "raw samples from a pipe"),
            ),
        ),
        Job(
            "tune",
            "-tune",
            "search for better settings of a system, stage by stage (Optuna); called again it goes on",
            (
                ("-tune --system seldnet2019_gru --data-root DATA", "the stages of system/tuning.toml"),
                ("-tune --system seldnet2019_gru --stages MINE.toml --epochs 5", "your stages, short trials"),
            ),
        ),
        Job(
            "export",
            "-export CHECKPOINT",
            "a checkpoint as an ONNX file, which runs without PyTorch and is a checkpoint for -infer and -eval",
            (
                ("-export RUN --out model.onnx", "one file that says all about itself; -infer MINE.wav -em model.onnx"),
                ("-export RUN --out model.onnx --graph whole", "samples in, also where features hang on a last bit"),
            ),
        ),
        Job(
            "submit",
            "-submit",
            "predict the evaluation set for a challenge entry: csv files, metadata, zip",
            (
                ("-submit -em CHECKPOINT", "edition 2023, foa_eval and video_eval of the data root"),
                ("-submit -em CHECKPOINT --edition 2022 --label Smith_TAU_task3_1", "another edition"),
            ),
        ),
        Job(
            "check_submission",
            "-check-submission DIR",
            "check the csv files of a challenge entry: names, count, ranges, lengths",
            (("-check-submission submission_2023 --edition 2023", "a folder or a zip"),),
        ),
    )
}
TRAINING = ("train", "tune")
SCORING = (*TRAINING, "eval")
PREDICTING = ("eval", "infer", "submit")
ALL = tuple(JOBS)


@dataclass(frozen=True)
class Flag:
    """One flag.

    Attributes
    ----------
    name : in the arguments
    kind : type of the value, or of the values of a list
    default : where nobody says anything
    description : help; the default is added to it
    group : heading of the help
    jobs : that take it
    short, long : how it is typed; None: `long` is made of the name, and "" is a word without a flag
    also : another way to type it
    metavar : what stands for its value in the help
    choices : that it may be; empty: any
    least, above : smallest value; bound that it must exceed
    many : "" one value; "repeated" given several times; "some" one or more values behind it; "any" also none
    shown : the default in the help; None: as it is
    role : "setting" results depend on it; "machine" they do not; "data" which recordings; "system" which network;
        "job" what to do with them
    resume : an interrupted run may go on with another value
    inherited : an evaluation takes it over from the training of its checkpoint
    dataset : the data root's dataset.json may say it
    search : of a search: "grid" a stage may try values, "budget" [search] and [final] may say it
    framing : it is part of the framing of windows, which a checkpoint fixes
    convert : makes the value of what is typed, where `kind` does not; raises InputError
    """

    name: str
    kind: type
    default: Any
    description: str
    group: str
    jobs: tuple[str, ...]
    short: str = ""
    long: str | None = None
    also: str = ""
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    least: float | None = None
    above: float | None = None
    many: str = ""
    shown: str | None = None
    role: str = "setting"
    resume: bool = False
    inherited: bool = False
    dataset: bool = False
    search: str = ""
    framing: bool = False
    convert: Callable[[str], Any] | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The ways to type it, the shortest first; none for a word without a flag."""
        long = "--" + self.name.replace("_", "-") if self.long is None else self.long
        return tuple(option for option in (self.short, self.also, long) if option)

    @property
    def option(self) -> str:
        """How messages call it."""
        return self.options[0] if self.options else self.name

    @property
    def help(self) -> str:
        """What it is, with its default."""
        shown = self.shown
        if shown is None and not (self.many or self.default is None or self.default is False):
            shown = f"{self.default:g}" if isinstance(self.default, float) else str(self.default)
        return f"{self.description} [{shown}]" if shown else self.description

    @property
    def annotation(self) -> Any:
        """Type of the resolved value: `int`, `str | None`, `list[str]`."""
        if self.many:
            return GenericAlias(list, (self.kind,))
        return self.kind | None if self.default is None else self.kind

    def trouble(self, value: Any) -> str | None:
        """What is wrong with a value, None where nothing is."""
        if type(value) is not self.kind:
            return f"must be of type {self.kind.__name__}, found {value!r}"
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}, found {value!r}"
        return self._trouble_of(value) if isinstance(value, int | float) else None

    def _trouble_of(self, value: float) -> str | None:
        if not math.isfinite(value):
            return f"must be a finite number, found {value:g}"
        if self.above is not None and not value > self.above:
            return f"must be above {self.above:g}, found {value:g}"
        if self.least is not None and value < self.least:
            return f"must be {self.least:g} or more, found {value:g}"
        return None


def _gain(text: str) -> float | str:
    try:
        value = math.inf if text == "auto" else float(text)
    except ValueError:
        value = math.nan
    if text != "auto" and not math.isfinite(value):
        raise InputError(f"must be a number of decibels or auto, found {text}")
    return text if text == "auto" else value


def _detector_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{2,4})(?:x(\d{2,4}))?", text)
    width, height = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not match or width % 32 or height % 32 or not width * height:
        raise InputError(f"must be multiples of 32, as 416 or 640x320, found {text}")
    return width, height


def _rows() -> tuple[Flag, ...]:
    return (*_jobs(), *_data(), *_system(), *_training(), *_search(), *_evaluation(), *_recordings(), *_machine())


# fmt: off
def _jobs() -> tuple[Flag, ...]:
    group = "what to do"
    do: dict[str, Any] = {"role": "job"}
    return (
        Flag("ids", str, [],
             "task and job of systems that have presets, in the order of their seeds: --system seldnet2019 TASK JOB, "
             "--system seldnet2018 JOB TASK; trains and scores. system/presets.toml says what each task id stands for",
             group, TRAINING, long="", metavar="ID", many="any", **do),
        Flag("train", bool, False, "train a system", group, ("train",), short="-train", resume=True, **do),
        Flag("val", bool, False, "validate at every checkpoint", group, ("train",), short="-val", resume=True, **do),
        Flag("eval", bool, False, "evaluate the checkpoint -em on the list -evalwt", group, ("eval",), "-eval", **do),
        Flag("infer", str, [], "recordings: sound files, each with its mp4 if it has one, or folders", group,
             ("infer",), short="-infer", metavar="FILE", many="some", **do),
        Flag("tune", bool, False, "search for better settings, stage by stage", group, ("tune",), "-tune", **do),
        Flag("export", str, None, "checkpoint, or the folder of a run, to export to ONNX", group, ("export",),
             short="-export", metavar="CHECKPOINT", **do),
        Flag("submit", bool, False,
             "predict the evaluation set (-evalwt, or foa_eval ... of the data root) with -em; csv, metadata, zip",
             group, ("submit",), short="-submit", **do),
        Flag("check_submission", str, None, "the entry, a folder or a zip; by --edition", group, ("check_submission",),
             short="-check-submission", metavar="DIR", **do),
    )


def _data() -> tuple[Flag, ...]:
    group = "data"
    lists: dict[str, Any] = {"kind": str, "default": None, "group": group, "metavar": "LIST", "role": "data"}
    return (
        Flag("data_root", str, [DEFAULT_DATA_ROOT],
             "folder of foa_dev, metadata_dev, video_dev ...; may be given several times", group, ALL, metavar="DIR",
             many="repeated", shown=DEFAULT_DATA_ROOT, role="data", inherited=True),
        Flag("format", str, None, "audio format of the default lists", group, ALL,
             choices=("foa", "mic", "bin", "stereo", "mono"), shown="foa; with a checkpoint: its own", inherited=True),
        Flag("ov", int, None, "data sets in parts by overlap: events at one time, 1 to 3", group, SCORING, metavar="N",
             least=1, shown="1", inherited=True),
        Flag("split", str, None,
             "data sets with cross-validation: the split that is tested, or 'all' for each in turn and pooled scores",
             group, SCORING, metavar="N", shown="the data set's", inherited=True),
        Flag("mix", str, None, "with several data roots: share of the training windows of each, as 0.5,0.5", group,
             TRAINING, metavar="SHARES"),
        Flag("share", float, 1.0,
             "share of the training recordings that is used, drawn by the seed; those of a small share are among those "
             "of a larger one", group, ("train",), metavar="X", above=0),
        Flag("train_wav_txt", description="training list", jobs=TRAINING, short="-twt",
             shown="list_dataset/dcase2023t3_foa_devtrain_audiovisual.txt; --no-video: ..._foa_devtrain.txt", **lists),
        Flag("val_wav_txt", description="validation list", jobs=TRAINING, short="-valwt",
             shown="list_dataset/dcase2023t3_foa_devtest.txt", **lists),
        Flag("eval_wav_txt", description="evaluation list", jobs=("eval", "submit", "check_submission"),
             short="-evalwt", shown="-eval: the default of -valwt; an entry: the evaluation folder of the data root",
             **lists),
        Flag("class_num", int, None, "number of classes", group, SCORING, metavar="N", least=1,
             shown="from the data root: classes.txt, else 13"),
        Flag("sampling_frequency", int, 24000, "sampling rate in Hz", group, (*TRAINING, *PREDICTING), short="-fs",
             metavar="HZ", least=1, inherited=True, framing=True),
    )


def _system() -> tuple[Flag, ...]:
    group = "system"
    models = (*TRAINING, *PREDICTING)
    return (
        Flag("net", str, "crnn", "system to train", group, TRAINING, short="-n", long="--system", also="--net",
             choices=SYSTEM_NAMES, role="system"),
        Flag("stage", str, None, "of a system of several stages train this one", group, ("train",), metavar="NAME",
             shown="all that are missing, in order", role="system"),
        Flag("set", str, [],
             "change a setting of the system (SELDnet: sequence_frames, filters, pools, rnn, rnn_units, dense, "
             "dropout, attention, coordinates, layout, loss_weights: see system/presets.toml); may be given several "
             "times", group, TRAINING, metavar="NAME=VALUE", many="repeated", role="system"),
        Flag("sed", str, None,
             "of a system made of modules, that of detection: a run, a checkpoint, or a name, which is trained too",
             group, ("train",), metavar="MODULE", shown="sed_m", role="system"),
        Flag("doa", str, None,
             "that of direction, likewise; 'histogram' needs no training", group, ("train",), metavar="MODULE",
             shown="doa_iv for Ambisonics, else doa_gcc", role="system"),
        Flag("statistics", str, "train",
             "recordings that the features are standardised by: those trained on, or all of the development set, as "
             "published (the result says so)", group, TRAINING, choices=("train", "development")),
        Flag("no_video", bool, False, "without the video: training takes the audio-only form, prediction empty boxes",
             group, models),
        Flag("feature", str, None, "audio feature", group, TRAINING, choices=("amp_phasediff", "binaural_phasediff"),
             shown="what the format of the training list needs"),
        Flag("fft_size", int, 512, "STFT window in samples", group, models, metavar="N", least=1, inherited=True,
             framing=True),
        Flag("stft_hop_size", int, 240, "STFT hop in samples, 10 ms: 480 for -fs 48000", group, models, metavar="N",
             least=1, inherited=True, framing=True),
        Flag("train_wav_length", float, 1.27, "seconds of a training window; networks take 1.27", group, models,
             metavar="S", above=0, framing=True),
        Flag("eval_wav_hop_length", float, 1.2, "seconds between evaluation windows; only 1.2 joins", group, models,
             metavar="S", above=0, framing=True),
        Flag("feature_config", str, "feature/feature.json", "base channel and channels per feature", group, TRAINING,
             metavar="FILE"),
        Flag("threshold_config", str, None, "activity threshold per class, unification angle in degrees", group,
             (*models, "export"), metavar="FILE", shown="util/threshold.json"),
        Flag("graph", str, "auto",
             "what the file holds: all from samples on, or the network alone, which takes features; auto: all, unless "
             "features hang on the last bit of a transform, as phases do", group, ("export",),
             choices=("auto", "whole", "network")),
        Flag("detector", str, "yolox_tiny",
             "detector of people and things: yolox_nano, yolox_tiny, yolox_s, builtin or a path to an .onnx file; of "
             "systems that look by ResNet-50: resnet50, resnet50_crop or a .pth file of weights", group, models,
             metavar="NAME", inherited=True, dataset=True),
        Flag("cache", str, None,
             "folder for what is made of the data, as person boxes", group, (*SCORING, "infer", "submit"),
             metavar="DIR", shown="beside the data; the user's cache where that cannot be written", role="machine",
             resume=True),
        Flag("box_rate", str, "10", "detections per second of video, or 'native' for every frame", group, SCORING,
             metavar="HZ", inherited=True),
        Flag("boxes", str, "own",
             "boxes that an audio-visual system is scored with: the clip's own, none, another clip's, or made from "
             "the labels; -infer and -submit: own or empty", group, (*SCORING, *PREDICTING[1:]),
             choices=("own", "empty", "other", "true")),
    )


def _training() -> tuple[Flag, ...]:
    group = "training"
    return (
        Flag("monitor_path", str, None, "where run folders are", group, (*TRAINING, *PREDICTING), short="-m",
             metavar="DIR", shown="DATA_ROOT/model_monitor", role="machine"),
        Flag("random_seed", int, 0, "the one seed: weights, windows, augmentation", group, TRAINING, short="-rs",
             metavar="N", inherited=True),
        Flag("batch_size", int, 16, "windows per step, over all processes", group, (*TRAINING, *PREDICTING), short="-b",
             metavar="N", least=1, dataset=True, search="grid"),
        Flag("learning_rate", float, 0.001, "learning rate of Adam", group, TRAINING, short="-l", metavar="X", above=0,
             dataset=True, search="grid"),
        Flag("weight_decay", float, 1e-6, "weight decay of Adam", group, TRAINING, short="-w", metavar="X", least=0,
             search="grid"),
        Flag("schedule", str, "constant", "learning rate over the iterations", group, TRAINING,
             choices=("constant", "cosine", "steps", "geometric"), dataset=True),
        Flag("augment", str, "none",
             "acs: audio channel swap with the boxes moved alike, drawn for every training window; full: every "
             "symmetry of the array, and windows with another one added, which come by degrees", group, TRAINING,
             choices=("none", "acs", "full"), dataset=True),
        Flag("max_iter", int, 10000, "iterations", group, TRAINING, short="-i", metavar="N", least=1, resume=True,
             dataset=True),
        Flag("model_save_interval", int, 1000, "iterations between checkpoints", group, TRAINING, short="-s",
             metavar="N", least=1, dataset=True),
        Flag("epochs", int, None,
             "systems that pass over all recordings: epochs, each ends with a checkpoint and a score", group, TRAINING,
             metavar="N", least=1, shown="the recipe's", resume=True, search="budget"),
        Flag("passes_per_epoch", int, 1, "passes over the recordings in an epoch", group, TRAINING, metavar="N",
             least=1, search="budget"),
        Flag("patience", int, None,
             "with --select val or test: stop when so many epochs (checkpoints) brought no better score", group,
             TRAINING, metavar="N", least=1, shown="the recipe's", resume=True, search="budget"),
        Flag("select", str, "last",
             "which checkpoint is the result: the last; the best on recordings split off the training list by room; "
             "or the best on the validation list, as the field does (the result says so)", group, TRAINING,
             choices=("last", "val", "test"), inherited=True),
        Flag("init", str, None, "start from its weights only; what was copied and skipped is printed", group,
             ("train",), metavar="CHECKPOINT"),
        Flag("resume", str, None, "go on with an interrupted run, with its own settings", group, ("train",),
             metavar="RUN_DIR", role="job"),
    )


def _search() -> tuple[Flag, ...]:
    group = "search for better settings"
    return (
        Flag("stages", str, None, "stages of the search and their values", group, ("tune",), metavar="FILE",
             shown="system/tuning.toml", role="job"),
        Flag("storage", str, None,
             "Optuna's database, as sqlite:///FILE or mysql://...; the same command goes on with it", group, ("tune",),
             metavar="URL", shown="tuning.db in the folder of the search", role="job"),
    )


def _evaluation() -> tuple[Flag, ...]:
    group = "evaluation"
    return (
        Flag("eval_model", str, None, "checkpoint, or the folder of a run", group, PREDICTING, short="-em",
             metavar="CHECKPOINT", shown="the result of the newest run"),
        Flag("edition", str, None, "edition of the metrics, or of the challenge entered", group,
             (*SCORING, "submit", "check_submission"), metavar="YEAR",
             shown="2023; TAU 2019 data: 2019, TUT 2018: 2018", inherited=True),
        Flag("average", str, "macro", "average over the classes, or over all events", group, SCORING,
             choices=("macro", "micro")),
        Flag("activity", str, "own",
             "what is active when: the system's own, or that of the labels, which scores its directions alone", group,
             ("eval",), choices=("own", "reference")),
    )


def _recordings() -> tuple[Flag, ...]:
    group, infer = "your own recordings", ("infer",)
    return (
        Flag("out", str, None,
             "folder for what is written, with several recordings one below it for each; -submit: of the entry; "
             "-tune: of the search; -export: the file", group, ("infer", "submit", "tune", "export"), metavar="DIR",
             shown="-infer: NAME_seld, -submit: submission_EDITION, in the working directory; -tune: tune_SYSTEM "
                   "beside the runs", role="job"),
        Flag("label", str, "Lastname_Institute_task3_1", "name of an entry", group, ("submit",), metavar="NAME"),
        Flag("channel_order", str, None,
             "order of Ambisonics channels: acn W Y Z X; fuma W X Y Z, W 3 dB lower unless --norm says otherwise",
             group, infer, choices=("acn", "fuma"), shown="what the file says of itself, else acn"),
        Flag("norm", str, None, "weights of Ambisonics channels", group, infer, choices=("sn3d", "n3d"),
             shown="sn3d; fuma: its own"),
        Flag("channels_used", tuple, None,
             "channels of the file to use, counted from 1, in the order of the array: 1-4, or 1,3,2,4", group, infer,
             metavar="LIST", shown="all; of higher-order Ambisonics the first four", convert=parse_channels),
        Flag("a_format", tuple, None,
             "the channels are the capsules of a tetrahedral microphone, in this order: FLU,FRD,BLD,BRU", group, infer,
             metavar="CAPSULES", shown="none", convert=lambda text: capsule_corners(text)[0]),
        Flag("gain_db", object, None,
             "make the recording louder, or as loud as the checkpoint's training recordings were", group, infer,
             metavar="DB|auto", shown="0", convert=_gain),
        Flag("person_class", int, None, "class of the detector's model that is people, counted from 0", group,
             PREDICTING[1:], metavar="N", least=0, shown="the one that its names call so, else 0"),
        Flag("detector_size", tuple, None,
             "pixels of the detector's input, where its network takes any (416x224 holds 360x180)", group,
             PREDICTING[1:], metavar="N|WxH", shown="as its file says, else 416", convert=_detector_size),
        Flag("video_yaw_deg", float, 0.0, "azimuth that the middle of the 360-degree picture shows, left positive",
             group, infer, metavar="DEG"),
        Flag("video_offset_s", float, 0.0, "seconds by which the video starts later than the sound; negative: earlier",
             group, infer, metavar="S"),
        Flag("player", str, "auto", "write the page that shows the result; auto: of recordings up to 30 min", group,
             infer, choices=("auto", "always", "never")),
        Flag("overlay", str, None, "also render the result into a video file with its sound (one recording)", group,
             infer, metavar="MP4", shown="none"),
        Flag("directions", bool, False,
             "without a model: where the strongest sources of any Ambisonics or known array are, linked into tracks; "
             "csv, events, player as ever", group, infer),
        Flag("sources", int, None, "with --directions: sources at a time, at most", group, infer, metavar="N", least=1,
             shown="3"),
        Flag("array", str, None,
             "with --directions: capsules of the microphone array, one a row: csv with x_m,y_m,z_m or "
             "azimuth_deg,elevation_deg,radius_m, or json", group, infer, metavar="FILE"),
        Flag("stream", bool, False,
             "read block by block and print a row as soon as its window is heard; FILE - is standard input", group,
             infer),
        Flag("latency_s", float, None,
             "longest time from a frame to its row: windows follow each other closer, and hear less of what comes "
             "after (more to compute, lower scores)", group, ("infer", "eval"), metavar="S",
             shown="that of the system's windows", long="--latency", above=0),
        Flag("views", int, 1,
             "predict the sound and its picture turned and mirrored in so many ways and take the mean: so many times "
             "as much to compute, for a better score", group, PREDICTING, metavar="N", least=1),
        Flag("overlap", int, 1,
             "windows, an odd number, that hear every frame: they follow each other closer, their tracks are matched "
             "and averaged; more to compute (avseld with 3: 2.5 times as much)", group, PREDICTING, metavar="N",
             least=1),
        Flag("stream_format", str, None,
             "raw samples on standard input: 16-bit integers or 32-bit floats, channels interleaved", group, infer,
             choices=("s16le", "f32le"), shown="s16le"),
        Flag("channels", int, None, "channels on standard input", group, infer, metavar="N", least=1,
             shown="those of the checkpoint"),
        Flag("rate", int, None, "sampling rate on standard input", group, infer, metavar="HZ", least=1,
             shown="that of the checkpoint"),
    )


def _machine() -> tuple[Flag, ...]:
    group = "machine"
    jobs = (*TRAINING, *PREDICTING)
    several = ("infer", "submit")
    return (
        Flag("device", str, "auto", "where the network runs", group, jobs, choices=("auto", "cpu", "cuda", "mps"),
             role="machine", resume=True),
        Flag("devices", int, 1, "processes that train together", group, TRAINING, metavar="N", least=1, role="machine",
             resume=True),
        Flag("nodes", int, 1, "machines that train together, --devices processes on each; start the same command on "
             "each, by torchrun or srun (docs/scale.md)", group, TRAINING, metavar="M", least=1, role="machine",
             resume=True),
        Flag("sync_batchnorm", bool, False, "batch norm over the windows of all processes, not of each on its own",
             group, TRAINING, resume=True),
        Flag("precision", str, "auto",
             "auto: training in bfloat16 where the machine is fast at it, everything else in float32", group, jobs,
             choices=("auto", "32", "bf16"), resume=True),
        Flag("workers", int, 1, "threads that read windows ahead", group, jobs, metavar="N", least=1, role="machine",
             resume=True),
        Flag("processes", int, 1, "recordings at the same time, in processes of this machine", group, several,
             metavar="N", least=1, role="machine"),
        Flag("cluster", str, None, "work on a cluster: a scheduler of Dask (tcp://host:8786, or its json file), "
             "slurm:FILE (also pbs, lsf, sge ...) or ssh:HOST,HOST; docs/scale.md", group, several, metavar="ADDRESS",
             role="machine"),
    )
# fmt: on


FLAGS = {flag.name: flag for flag in _rows()}
DEFAULTS: dict[str, Any] = {flag.name: flag.default for flag in FLAGS.values()}


def names_of(chosen: Callable[[Flag], object]) -> tuple[str, ...]:
    """Names of the flags that are chosen."""
    return tuple(flag.name for flag in FLAGS.values() if chosen(flag))


RESUMABLE = names_of(lambda flag: flag.resume)
INHERITED = names_of(lambda flag: flag.inherited)
FRAMING = names_of(lambda flag: flag.framing)
