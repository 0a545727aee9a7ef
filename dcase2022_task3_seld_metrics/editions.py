"""The editions of DCASE, one row each: how it scores, what training writes for it, what an entry of it must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dcase2022_task3_seld_metrics import scores
from util.errors import InputError

_CLASSES_2019 = (
    "knock", "drawer", "clearthroat", "phone", "keysDrop", "speech", "keyboard", "pageturn", "cough", "doorslam",
    "laughter",
)  # fmt: skip
_CLASSES_2020 = (
    "alarm", "crying baby", "crash", "barking dog", "running engine", "female scream", "female speech", "burning fire",
    "footsteps", "knocking on door", "male scream", "male speech", "ringing phone", "piano",
)  # fmt: skip
_CLASSES_2021 = tuple(name for name in _CLASSES_2020 if name not in ("running engine", "burning fire"))
_CLASSES_STARSS = (
    "female speech", "male speech", "clapping", "telephone", "laughter", "domestic sounds", "footsteps", "door",
    "music", "musical instrument", "water tap", "bell", "knock",
)  # fmt: skip
_JOINT = "ER, F and LR as fractions, LE in degrees, spatial threshold 20 degrees"


@dataclass(frozen=True)
class Entry:
    """What the receivers of a challenge entry want; distances and the onscreen flag as in the edition.

    Attributes
    ----------
    dialect : of its csv files, of `util.dialects`
    clips : recordings of its evaluation set; None: not known here
    file_name : regular expression of the names of its recordings
    scores : of the development set that its metadata file states
    """

    dialect: str
    clips: int | None = None
    file_name: str = r"mix\d{3}"
    scores: tuple[str, ...] = ("ER_20", "F_20", "LE_CD", "LR_CD")


@dataclass(frozen=True)
class Edition:
    """How an official program scores, and what belongs to the challenge around it.

    Attributes
    ----------
    name : as given to `--edition`
    title : one line for people
    unit : "segment", "binary segment", "frame" or "block" (1 s blocks for detection, frames for direction);
        "arrays": the outputs of two branches, frame by frame (2018, see `arrays.seldnet2018`)
    rates : scores of components; None: there are none, arrays are scored
    classes : of the challenge
    layout : csv layout of the official program
    coordinates : what may be compared: "polar", "cartesian", "folded"; the first is the default
    averages : the first is the default; empty: there is nothing to choose
    fixed_frames : number of frames scored; None: up to the last labelled one
    frame_s : length of the label frames that are scored; None: those of the system's output
    relative_distance : default limit of the relative distance error; None: the edition knows no distance
    distance_unit_m : metres per unit in which distance errors are given
    nan_means : scores whose macro average leaves out the classes without a value
    onscreen : whether it knows if a source is on the screen
    jackknife : the official program has intervals (the formula is the same where it has none)
    summed_counts : the official program counts over all classes
    vectors_by_angles : vectors of csv files are turned into angles and back, which takes the length out
    best : the score that chooses a model, of `score_table.SCORES`
    dialect : csv dialect that training and evaluation write, of `util.dialects`; None: they do not score by it
    remark : what its scores are, for the result files of training and evaluation
    entry : of the challenge; None: nothing is known of it
    """

    name: str
    title: str
    unit: str
    rates: Callable[..., scores.Values] | None
    classes: tuple[str, ...]
    layout: str
    coordinates: tuple[str, ...] = ("polar", "cartesian")
    averages: tuple[str, ...] = ("macro", "micro")
    fixed_frames: int | None = None
    frame_s: float | None = 0.1
    relative_distance: float | None = None
    distance_unit_m: float = 1.0
    nan_means: tuple[str, ...] = ()
    onscreen: bool = False
    jackknife: bool = True
    summed_counts: bool = False
    vectors_by_angles: bool = False
    best: str = "SELD"
    dialect: str | None = None
    remark: str = ""
    entry: Entry | None = None

    @property
    def tables(self) -> bool:
        """Whether it compares tables of events."""
        return self.rates is not None

    @property
    def has_classes(self) -> bool:
        """Whether it has scores of single classes."""
        return self.tables and self.unit != "block"

    @property
    def distance(self) -> bool:
        """Whether it knows distances."""
        return self.relative_distance is not None


_MEANS_2024 = ("AngE", "DistE", "RelDistE")
EDITIONS = {
    edition.name: edition
    for edition in (
        Edition(
            "2018",
            "SELDnet 2018: detection on 1 s blocks, direction on frames, of the output of two branches",
            "arrays",
            None,
            (),
            "",
            coordinates=(),
            averages=(),
            frame_s=None,
            jackknife=False,
            dialect="dcase2018",
            remark="detection on blocks of 1 s, directions of the classes that sound, frame by frame; DOA error in "
            "degrees",
        ),
        Edition(
            "2019",
            "DCASE2019: detection on 1 s blocks, direction on frames, classes ignored for the direction",
            "block",
            scores.block_rates_2019,
            _CLASSES_2019,
            "m19",
            ("polar",),
            ("micro",),
            fixed_frames=3000,
            frame_s=0.02,
            jackknife=False,
            dialect="dcase2019",
            remark="detection on blocks of 1 s, directions whatever the class, on a grid of 10 degrees; DOA error in "
            "degrees",
            entry=Entry(
                "dcase2019",
                clips=100,
                file_name=r"split0_\d+",
                scores=("ER", "F", "DOA_error", "frame_recall"),
            ),
        ),
        Edition(
            "2020",
            "DCASE2020: segment x class, present or not",
            "binary segment",
            scores.segment_rates_2020,
            _CLASSES_2020,
            "m20",
            averages=("micro",),
            fixed_frames=600,
            jackknife=False,
            summed_counts=True,
            dialect="dcase2023",
            remark=f"{_JOINT}; LR is an F score of detection within the class, as officially",
            entry=Entry("starss22", clips=200),
        ),
        Edition(
            "2021",
            "DCASE2021: segment x class x track",
            "segment",
            scores.segment_rates_2021,
            _CLASSES_2021,
            "m21",
            averages=("micro",),
            fixed_frames=600,
            jackknife=False,
            summed_counts=True,
            dialect="dcase2023",
            remark=_JOINT,
            entry=Entry("starss22", clips=200),
        ),
        Edition(
            "2022",
            "DCASE2022: segment x class x track",
            "segment",
            scores.segment_rates,
            _CLASSES_STARSS,
            "m22",
            dialect="dcase2023",
            remark=_JOINT,
            entry=Entry("starss22"),
        ),
        Edition(
            "2023",
            "DCASE2023: segment x class x track",
            "segment",
            scores.segment_rates,
            _CLASSES_STARSS,
            "m23",
            dialect="dcase2023",
            remark=_JOINT,
            entry=Entry("dcase2023", clips=79),
        ),
        Edition(
            "2024",
            "DCASE2024: frame x class x track, with distance",
            "frame",
            scores.frame_rates_2024,
            _CLASSES_STARSS,
            "m24",
            ("cartesian",),
            relative_distance=1.0,
            nan_means=_MEANS_2024,
            vectors_by_angles=True,
            best="F",
            dialect="dcase2024_m",
            remark="F and LR as fractions, AngE in degrees, DistE in metres, spatial threshold 20 degrees, relative "
            "distance threshold 1",
            entry=Entry("dcase2024", clips=79, scores=("F_20_1", "DOAE_CD", "RDE_CD")),
        ),
        Edition(
            "2024-segment",
            "DCASE2024, segment mode: segment x class x track",
            "segment",
            scores.segment_rates_2024,
            _CLASSES_STARSS,
            "m24",
            ("cartesian",),
            vectors_by_angles=True,
        ),
        Edition(
            "2025",
            "DCASE2025 stereo: frame x class x track, folded azimuth, with distance",
            "frame",
            scores.frame_rates_2025,
            _CLASSES_STARSS,
            "m25",
            ("folded",),
            relative_distance=1.0,
            distance_unit_m=0.01,
            nan_means=(*_MEANS_2024, "OnscreenAcc"),
            onscreen=True,
            best="F",
            dialect="dcase2025",
            remark="F and OnscreenAcc as fractions, AngE in degrees of the folded azimuth, DistE in centimetres, "
            "spatial threshold 20 degrees, relative distance threshold 1",
            entry=Entry(
                "dcase2025", clips=10000, file_name=r".+", scores=("F_20_1", "DOAE_CD", "RDE_CD", "OnscreenAcc")
            ),
        ),
    )
}
DEFAULT = "2023"
TABLE_EDITIONS = tuple(edition.name for edition in EDITIONS.values() if edition.tables)
TRAINING_EDITIONS = tuple(edition.name for edition in EDITIONS.values() if edition.dialect is not None)


def edition_named(name: str) -> Edition:
    """The edition of that name, to score tables of events by.

    Raises
    ------
    InputError : there is none
    """
    if str(name) not in TABLE_EDITIONS:
        known = ", ".join(TABLE_EDITIONS)
        rule = f"unknown edition '{name}'; known are {known} (that of 2018 needs arrays: `arrays.seldnet2018`)"
        raise InputError(rule)
    return EDITIONS[str(name)]
