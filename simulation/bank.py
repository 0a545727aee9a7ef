"""Recordings and photographs from the user's folders, each handed to one split only."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from simulation.labels import active_intervals_s
from simulation.sounds import CLASS_NAMES, RATE_HZ, levelled
from simulation.sounds.primitives import fade
from simulation.streams import stream
from util.audio import audio_info, read_audio
from util.errors import InputError
from util.files import sha256_of
from util.find import SOUND_SUFFIXES, existing
from util.text import read_text

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
LONGEST_S = 6.0
SHORT_S = 1.5  # shorter recordings are played one after another until the event is long enough


@dataclass(frozen=True)
class BankFile:
    """A recording or a photograph.

    Attributes
    ----------
    source : what it stems from; files of one source stay in one split
    sex : "female" or "male" where the name begins so, else None
    """

    path: str
    sha256: str
    source: str
    sex: str | None = None


@dataclass(frozen=True)
class Bank:
    """Files of the user, by split.

    Attributes
    ----------
    sounds : (class index, split) -> files; classes that are absent are filled procedurally
    photos : split -> photographs of people; empty: people are drawn
    shared : what both splits had to use ("class 3", "photographs"); only ever filled with --allow-few
    """

    sounds: dict[tuple[int, str], tuple[BankFile, ...]] = field(default_factory=dict)
    photos: dict[str, tuple[BankFile, ...]] = field(default_factory=dict)
    shared: tuple[str, ...] = ()

    def digest(self) -> str:
        """One hash of which files serve which split; "" without files."""
        used = [(f"{index} {split}", files) for (index, split), files in self.sounds.items()]
        # "by sex": sets made before people had photographs of their sex only are other sets
        used += [(f"photographs by sex {split}", files) for split, files in self.photos.items()]
        lines = sorted(f"{name} {file.sha256}" for name, files in used for file in files)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def open_banks(
    sound_bank: str | os.PathLike[str] | None,
    image_bank: str | os.PathLike[str] | None,
    *,
    seed: int,
    splits: Sequence[str] = ("train", "test"),
    allow_few: bool = False,
    classes: Sequence[str] | None = None,
) -> Bank:
    """Read both folders and divide their files among the splits.

    Every file is opened once, so that an unreadable one is found before any clip is made.

    Parameters
    ----------
    sound_bank : folder with one sub-folder per class, named NN_anything after the class index; of a user's own classes
        see `own_classes`
    image_bank : folder with photographs of people, name SEX_ID_N.jpg or anything
    splits : those that will be made; a single one gets all files
    classes : names of a user's own classes; None: those of STARSS23
    allow_few : where there are too few for all splits, let them share (a smoke test, no honest split)

    Raises
    ------
    InputError : folder missing or empty, unknown class folder, unreadable file, a class with too few files
    """
    sounds: dict[tuple[int, str], tuple[BankFile, ...]] = {}
    photos: dict[str, tuple[BankFile, ...]] = {}
    shared: list[str] = []
    if sound_bank is not None:
        names = CLASS_NAMES if classes is None else tuple(classes)
        for index, (folder, files) in _sound_files(Path(sound_bank), names, own=classes is not None).items():
            what = f"class {index} ({names[index]})"
            divided, common = _divide(files, splits, seed, f"sounds {index}", what, folder, allow_few)
            sounds.update({(index, split): rows for split, rows in divided.items()})
            shared += [what] if common else []
    if image_bank is not None:
        files = _photo_files(Path(image_bank))
        photos, common = _divide(files, splits, seed, "photos", "photographs", Path(image_bank), allow_few)
        shared += ["photographs"] if common else []
    return Bank(sounds, photos, tuple(shared))


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError:
        raise InputError("no such folder", path=folder) from None
    except NotADirectoryError:
        raise InputError("is no folder", path=folder) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=folder) from None


_NUMBERED = re.compile(r"(\d+)[\s_.-]*(.*)")


def own_classes(sound_bank: str | os.PathLike[str], *, always: bool = False) -> tuple[str, ...] | None:
    """Names of a user's own classes, as the folders of a sound bank say them; None: they are those of STARSS23.

    Folders without numbers ("dog", "car horn") are classes of one's own in the order of their names, or of a
    `classes.txt` beside them, unless all are of STARSS23. Folders "NN_name" are where a number goes beyond those.

    Parameters
    ----------
    always : folders "NN_name" are classes of one's own whatever their numbers (flag --own-classes)

    Raises
    ------
    InputError : no such folder, some folders with and some without numbers, numbers that are not 0, 1, 2 ..., a name
        that occurs twice, a `classes.txt` that names other classes
    """
    folder = Path(sound_bank)
    children = [child for child in _listed(folder) if child.is_dir()]
    numbers = {child: match for child in children if (match := _NUMBERED.fullmatch(child.name))}
    listed = existing(folder / "classes.txt")
    if children and len(numbers) == len(children) and listed is None:
        indices = sorted(int(match[1]) for match in numbers.values())
        if not always and indices[-1] < len(CLASS_NAMES):
            _say_what_is_meant(numbers)
            return None
        if indices != list(range(len(indices))):
            rule = f"the numbers of its class folders must be 0 to {len(indices) - 1}, each once, found "
            raise InputError(rule + ", ".join(map(str, indices)), path=folder)
        named = {int(match[1]): match[2] or child.name for child, match in numbers.items()}
        return _distinct([named[index] for index in indices], folder)
    if numbers and listed is None:
        some = next(child.name for child in children if child not in numbers)
        raise InputError(f"some class folders begin with a number and '{some}' does not", path=folder)
    names = _distinct([_class_name(child) for child in children], folder)
    if listed is None:
        known = {name.casefold() for name in CLASS_NAMES}
        return names if always or any(name.casefold() not in known for name in names) else None
    order = _distinct([line for line in read_text(listed, "list of class names").split("\n") if line.strip()], listed)
    if sorted(order) != sorted(names):
        other = sorted(set(order) ^ set(names))
        rule = f"and the class folders beside it name different classes: {', '.join(other[:3]) or 'one twice'}"
        raise InputError(rule, path=listed)
    return order


def _class_name(folder: Path) -> str:
    """The name of a class in that of its folder: "03_dog" and "dog" are "dog"."""
    match = _NUMBERED.fullmatch(folder.name)
    return _plain(match[2] if match and match[2] else folder.name)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("_", " ").strip())


def _distinct(names: Sequence[str], folder: Path) -> tuple[str, ...]:
    names = [_plain(name) for name in names]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"two class folders name the class '{twice[0]}'", path=folder)
    return tuple(names)


def _say_what_is_meant(numbers: dict[Path, re.Match[str]]) -> None:
    """Log folders whose names are nothing like the class of STARSS23 that their number means."""
    for child, match in numbers.items():
        name, meant = (match[2] or "").lower(), CLASS_NAMES[int(match[1])].lower()
        if len(name) > 2 and not any(word[:4] in meant for word in re.findall(r"[a-z]{3,}", name)):
            said = (child, match[1], CLASS_NAMES[int(match[1])], match[2])
            logger.info("%s: class %s is '%s' (--own-classes: '%s')", *said)


def _sound_files(folder: Path, names: Sequence[str], *, own: bool) -> dict[int, tuple[Path, list[BankFile]]]:
    """Class index -> its folder and its files."""
    found: dict[int, tuple[Path, list[BankFile]]] = {}
    for child in _listed(folder):
        if not child.is_dir():
            continue
        if own:
            index = names.index(_class_name(child)) if _class_name(child) in names else len(names)
        else:
            match, called = re.match(r"(\d+)(?:\D|$)", child.name), _class_name(child).casefold()
            by_name = next((index for index, name in enumerate(names) if name.casefold() == called), len(names))
            index = by_name if match is None else int(match[1])
        if index >= len(names):
            rule = f"a class folder is named after its index, 00_... to {len(names) - 1:02d}_..."
            raise InputError(rule, path=child)
        if index in found:
            raise InputError(f"is the second folder of class {index}, after '{found[index][0].name}'", path=child)
        files = []
        for path in _listed(child):
            if path.suffix.lower() in SOUND_SUFFIXES:
                audio_info(path)
                if not len(active_intervals_s(recording(os.fspath(path)), RATE_HZ)):
                    raise InputError("is silent", path=path)
                files.append(BankFile(os.path.abspath(path), sha256_of(path), path.stem))
        if not files:
            raise InputError(f"holds no recording ({', '.join(SOUND_SUFFIXES)})", path=child)
        found[index] = (child, files)
    if not found:
        raise InputError("is an empty sound bank: no class folder (00_..., 01_...)", path=folder)
    return found


def _photo_files(folder: Path) -> list[BankFile]:
    files = []
    for path in _listed(folder):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir():
            try:
                data = path.read_bytes()
                # by way of numpy: OpenCV's own reader prints its complaints and cannot take every path
                picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR) if data else None
            except OSError as error:
                raise InputError(f"cannot be read ({error.strerror})", path=path) from None
            except cv2.error:  # more pixels than OpenCV takes
                picture = None
            if picture is None:
                raise InputError("is no picture that can be read", path=path)
            if picture.shape[1] > picture.shape[0]:
                logger.warning("%s: wider than high, not one standing person; left out", path)
                continue
            sex = next((sex for sex in ("female", "male") if path.stem.lower().startswith(sex)), None)
            digest = hashlib.sha256(data).hexdigest()
            files.append(BankFile(os.path.abspath(path), digest, photo_source(path.stem), sex))
    if not files:
        raise InputError(f"is an empty image bank: no picture ({', '.join(IMAGE_SUFFIXES)})", path=folder)
    return files


def photo_source(stem: str) -> str:
    """The photograph that a crop stems from: ID in "anything_ID_N", else the name.

    Crops of one photograph, of several people in it too, share clothes, light and background.
    """
    match = re.fullmatch(r".*_(\d+)_\d+", stem)
    return match[1] if match else stem


def _divide(
    files: list[BankFile],
    splits: Sequence[str],
    seed: int,
    stream_name: str,
    what: str,
    folder: Path,
    allow_few: bool,
) -> tuple[dict[str, tuple[BankFile, ...]], bool]:
    """Files by split, and whether the splits had to share them; each sex that the files name goes to every split.

    Equal contents under two names are one source.
    """
    groups = _by_source(files)
    kinds = {source: {file.sex for file in group} for source, group in groups.items()}
    sexes = sorted({sex for found in kinds.values() for sex in found if sex})
    short = [sex for sex in sexes if sum(sex in found for found in kinds.values()) < len(splits)]
    if len(groups) < len(splits) or short:
        if not allow_few:
            count = sum(short[0] in found for found in kinds.values()) if short else len(groups)
            raise InputError(
                f"{what}{f' of {short[0]} people' if short else ''}: {count} source for {len(splits)} splits that must "
                "not share one; add recordings or pictures, or declare a smoke test with --allow-few",
                path=folder,
            )
        everything = tuple(files)
        return {split: everything for split in splits}, True
    sources = sorted(groups)
    order = [sources[i] for i in stream(seed, "bank", stream_name).permutation(len(sources))]
    test = _test_sources(order, kinds, sexes) if len(splits) > 1 else set()
    parts = {splits[0]: [one for one in order if one not in test]}
    if test:
        parts[splits[-1]] = [one for one in order if one in test]
    return {split: tuple(file for source in part for file in groups[source]) for split, part in parts.items()}, False


def _by_source(files: list[BankFile]) -> dict[str, list[BankFile]]:
    """Source -> its files; sources with a file of equal contents are joined under the first one's name."""
    joined: dict[str, str] = {}
    by_content: dict[str, str] = {}
    for file in files:
        mine = joined.setdefault(file.source, file.source)
        first = joined[by_content.setdefault(file.sha256, file.source)]
        joined = {source: first if name == mine else name for source, name in joined.items()}
    groups: dict[str, list[BankFile]] = {}
    for file in files:
        groups.setdefault(joined[file.source], []).append(file)
    return groups


def _test_sources(order: list[str], kinds: dict[str, set[str | None]], sexes: list[str]) -> set[str]:
    """Sources for test: one in four of each sex, at least one, and never the last one of a sex that train has left.

    With two sources of each sex it always can be: of two that show one sex, not both are the last of the other.
    """
    test: set[str] = set()
    has = {sex: [one for one in order if sex in kinds[one]] for sex in (*sexes, None)}
    for mine in (has[sex] for sex in sorted(has, key=lambda sex: (sex is None, len(has[sex])))):
        wanted = min(max(1, round(len(mine) / 4)), len(mine) - 1)
        for source in mine:
            if len(test & set(mine)) >= wanted:
                break
            if all(set(has[other]) - test - {source} for other in kinds[source] & set(sexes)):
                test.add(source)
    return test


@lru_cache(maxsize=64)
def recording(path: str) -> np.ndarray:
    """A recording (samples,), float32, mixed to mono at 24 kHz, without the silence around it.

    Raises
    ------
    InputError : it cannot be read
    """
    mono = read_audio(path, rate_hz=RATE_HZ).mean(axis=0)
    intervals = active_intervals_s(mono, RATE_HZ)
    if not len(intervals):
        return mono[:0]
    return mono[round(intervals[0, 0] * RATE_HZ) : round(intervals[-1, 1] * RATE_HZ)]


def bank_sound(
    files: Sequence[BankFile], level_db: float, rng: np.random.Generator, duration_s: float
) -> tuple[np.ndarray, dict]:
    """One dry sound of a class from recordings: a stretch of a long one, several short ones in a row.

    Parameters
    ----------
    level_db : emitted level of the class, relative to the reference

    Returns
    -------
    waveform (samples,), float32, at most `duration_s` long, at its emitted level
    what it is made of: {"sha256": of the files in order, joined by ";", "file": their names}
    """
    limit = round(min(duration_s, LONGEST_S) * RATE_HZ)
    parts: list[np.ndarray] = []
    used: list[BankFile] = []
    while not parts or sum(map(len, parts)) < min(round(SHORT_S * RATE_HZ), limit):
        file = files[int(rng.integers(len(files)))]
        sound = recording(file.path)
        if len(sound) > limit:
            first = int(rng.integers(len(sound) - limit + 1))
            sound = sound[first : first + limit]
        if parts:
            parts.append(np.zeros(round(rng.uniform(0.1, 0.25) * RATE_HZ), dtype=np.float32))
        parts.append(fade(sound, 0.002, 0.01))
        used.append(file)
        if sum(map(len, parts)) > limit - RATE_HZ // 4:
            break
    waveform = np.concatenate(parts)
    if len(waveform) > limit:
        waveform = fade(waveform[:limit], 0.0, 0.02)
    level_db += rng.uniform(-2.0, 2.0)
    names = {file.sha256: Path(file.path).name for file in used}
    return levelled(waveform, level_db), {"sha256": ";".join(names), "file": ";".join(names.values())}
