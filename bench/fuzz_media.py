"""Damaged sound and video files, thousands of them: each is read or refused in one line, none does anything else.

`python -m bench.fuzz_media` makes small files of every kind, changes bytes of them at random and reads each as -infer
does. It runs in processes of its own, since a decoder that crashes takes its process along; what went wrong is named
with the number that makes the same file again (`--only NUMBER --keep FILE`).
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

SEED, COUNT = 0, 20000
_SLOW_S = 30.0
_MOST_SAMPLES, _MOST_PICTURES = 2_000_000, 40
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)


def originals(folder: Path) -> list[Path]:
    """Small files of every kind that is read, made once."""
    import soundfile

    from tests.films import film, spatial, sphere, with_boxes
    from tests.test_channels import amb

    rng = np.random.default_rng(1)
    sound = (0.1 * rng.standard_normal((4, 900))).astype(np.float32)
    kinds = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAVEX", "FLOAT"), ("WAV", "ULAW"), ("RF64", "PCM_16")]
    kinds += [("W64", "PCM_16"), ("AIFF", "PCM_24"), ("AU", "PCM_16"), ("CAF", "FLOAT"), ("FLAC", "PCM_16")]
    kinds += [("OGG", "VORBIS"), ("WAV", "IMA_ADPCM")]
    paths = []
    for number, (form, subtype) in enumerate(kinds):
        path = folder / f"{number}_{form}_{subtype}.{'flac' if form == 'FLAC' else 'ogg' if form == 'OGG' else 'wav'}"
        soundfile.write(path, sound[: 1 if subtype == "IMA_ADPCM" else 4].T, 24000, format=form, subtype=subtype)
        if not path.exists():
            raise AssertionError(path)
        paths.append(path)
    paths.append(amb(folder / "b.amb", sound))
    times_s = [index / 10 for index in range(6)]
    made: dict[str, dict[str, Any]] = {
        "plain.mp4": {"bframes": 2},
        "turned.mp4": {"rotation": 90},
        "late.mp4": {"sound": sound[:1]},
        "quad.mov": {"sound": sound, "layout": "4.0", "codec": "pcm_s16le"},
        "plain.mkv": {"sound": sound, "layout": "4.0", "codec": "pcm_s16le"},
        "plain.ts": {"container": "mpegts"},
    }
    for name, options in made.items():
        shift_s = 0.3 if name.startswith("late") else 0.0
        paths.append(film(folder / name, [time_s + shift_s for time_s in times_s], **options))
    with_boxes(folder / "plain.mp4", sphere(b"equi"))
    with_boxes(folder / "quad.mov", spatial([0, 2, 3, 1]), kind=b"soun")
    return paths


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """The same bytes with one to eight changes, most of them where headers are."""
    out = bytearray(content)
    for _ in range(rng.integers(1, 9)):
        near = rng.random()
        size = max(len(out), 1)
        place = int(rng.integers(0, min(size, 300))) if near < 0.5 else int(rng.integers(0, size))
        if 0.5 <= near < 0.8:  # the boxes at the end of films
            place = max(0, size - 1 - int(rng.integers(0, min(size, 2500))))
        what = rng.integers(0, 7)
        if what == 0:
            out[place : place + 1] = bytes([int(rng.integers(0, 256))])
        elif what == 1:
            width = int(rng.choice([1, 2, 4, 8]))
            value = _NUMBERS[rng.integers(0, len(_NUMBERS))] & (2 ** (8 * width) - 1)
            out[place : place + width] = value.to_bytes(width, "little" if rng.random() < 0.5 else "big")
        elif what == 2:
            out[place : place + 1] = bytes([out[place] ^ (1 << int(rng.integers(0, 8)))]) if place < len(out) else b""
        elif what == 3:
            del out[place : place + int(rng.integers(1, 40))]
        elif what == 4:
            out[place:place] = rng.bytes(int(rng.integers(1, 40)))
        elif what == 5 and rng.random() < 0.3:
            del out[place:]
        elif what == 6:
            piece = out[place : place + int(rng.integers(1, 200))]
            out[place:place] = piece
    return bytes(out)


def examine(path: Path) -> None:
    """Read a file as -infer does.

    Raises
    ------
    InputError : it is refused, which is right
    """
    from util.audio import FILM_SUFFIXES, audio_info, read_audio
    from util.channels import channels_of
    from util.errors import InputError
    from util.film_boxes import tracks_of
    from util.video import decoded_frames, video_info

    refused = None
    if path.suffix in (".mp4", ".mov", ".mkv", ".ts"):
        tracks_of(path)
        try:
            video_info(path)
            for _, _, frame in itertools.islice(decoded_frames(path, threads=1), _MOST_PICTURES):
                frame.to_ndarray(format="bgr24", width=64, height=32)
        except InputError as error:
            refused = error
    if path.suffix in FILM_SUFFIXES or path.suffix in (".wav", ".flac", ".ogg", ".amb"):
        info = audio_info(path)
        from util.microphone_arrays import ARRAYS

        try:
            channels_of(info, ARRAYS["foa"])
        except InputError as error:
            refused = error
        if info.frames * info.channels <= _MOST_SAMPLES:
            read_audio(path, rate_hz=info.rate_hz)
        else:
            for start in (0, info.frames // 2, info.frames - 500):
                read_audio(path, start=start, frames=500, rate_hz=info.rate_hz)
    if refused is not None:
        raise refused


def file_of(number: int, seed: int, paths: Sequence[Path], folder: Path) -> Path:
    """The damaged file of a number."""
    rng = np.random.default_rng([seed, number])
    original = paths[int(rng.integers(0, len(paths)))]
    path = folder / f"damaged{original.suffix}"
    path.write_bytes(mutated(original.read_bytes(), rng))
    return path


def work(first: int, last: int, seed: int, folder: Path, keep: Path | None = None) -> None:
    """Read the files of some numbers; a line for each: its number, what happened, its original."""
    from util.errors import InputError

    paths = sorted(path for path in folder.iterdir() if path.is_file())
    with tempfile.TemporaryDirectory() as own:
        for number in range(first, last):
            print(number, "begun", flush=True)
            path = file_of(number, seed, paths, Path(own))
            if keep is not None:
                keep.write_bytes(path.read_bytes())
            faulthandler.dump_traceback_later(_SLOW_S, exit=True)
            try:
                examine(path)
                outcome = "read"
            except InputError as error:
                outcome = "refused" if "\n" not in str(error) and len(str(error)) < 1500 else "long"
            except Exception:  # exactly what is looked for
                outcome = "failed"
                traceback.print_exc()
            faulthandler.cancel_dump_traceback_later()
            print(number, outcome, path.suffix, flush=True)


def main(argv: list[str] | None = None) -> int:
    """Command line; 1 where something else than reading or refusing happened."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz_media", description=__doc__.split(": ")[0])
    parser.add_argument("--count", type=int, default=COUNT, help="damaged files (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="of the damage (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="at the same time (%(default)s)")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="the file of that number alone")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="with --only: where the damaged file is kept")
    parser.add_argument("--worker", nargs=3, metavar=("FIRST", "LAST", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        work(int(args.worker[0]), int(args.worker[1]), args.seed, Path(args.worker[2]), args.keep)
        return 0
    start = time.perf_counter()
    first, last = (args.only, args.only + 1) if args.only is not None else (0, args.count)
    with tempfile.TemporaryDirectory() as folder:
        originals(Path(folder))
        step = -(-(last - first) // args.processes)
        shares = [_Share(begin, min(begin + step, last), args, folder) for begin in range(first, last, step)]
        outcomes = Counter(itertools.chain.from_iterable(share.outcomes() for share in shares))
    files = last - first
    print(f"{files} damaged files in {time.perf_counter() - start:.0f} s: " + ", ".join(
        f"{count} {outcome}" for outcome, count in outcomes.most_common()
    ))  # fmt: skip
    return 1 if set(outcomes) - {"read", "refused"} else 0


class _Share:
    """The numbers of one process, begun anew behind a file that took it down."""

    def __init__(self, first: int, last: int, args: argparse.Namespace, folder: str):
        self._next, self._last, self._args, self._folder = first, last, args, folder
        self._process, self._log = self._started()

    def _started(self) -> tuple[subprocess.Popen, IO[str]]:
        command = [sys.executable, "-m", "bench.fuzz_media", "--seed", str(self._args.seed)]
        command += ["--worker", str(self._next), str(self._last), self._folder]
        if self._args.keep is not None:
            command += ["--keep", str(self._args.keep)]
        log = tempfile.TemporaryFile("w+")
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True)
        return process, log

    def outcomes(self) -> list[str]:
        """What happened to each file, when all are done; trouble is printed as it is found."""
        found: list[str] = []
        while self._next < self._last:
            status = self._process.wait()
            self._log.seek(0)
            begun: int | None = None
            other: list[str] = []
            for line in self._log:
                words = line.split()
                if len(words) == 3 and words[0].isdigit() and words[1] in ("read", "refused", "failed", "long"):
                    found.append(words[1])
                    if words[1] in ("failed", "long"):
                        print(f"file {words[0]} ({words[2]}) {words[1]}\n{''.join(other[-30:])}")
                    begun, other = None, []
                elif len(words) == 2 and words[0].isdigit() and words[1] == "begun":
                    begun, other = int(words[0]), []
                else:
                    other.append(line)
            self._log.close()
            if status == 0 and begun is None:
                break
            what = "died" if begun is not None else "lost"
            print(f"file {begun} {what} (status {status})\n{''.join(other[-30:])}")
            found.append(what)
            if begun is None:
                break
            self._next = begun + 1
            if self._next < self._last:
                self._process, self._log = self._started()
        return found


if __name__ == "__main__":
    sys.exit(main())
