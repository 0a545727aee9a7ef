"""python -m simulation.split_bank: divide a sound bank among two banks by source and licence, with a credit list.

The simulator divides the files of one bank itself, file by file. Where a table says which files stem from one session,
recordist or voice, dividing by that table is stricter: nothing that was made together is heard in both splits.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from util.audio import read_audio
from util.cli import run_main
from util.errors import InputError
from util.files import written_whole

TABLE = "sources.csv"
COLUMNS = ("file", "class", "source", "recordist", "licence")
NOT_NAMED = ("", "Berklee College of Music students (not named)")  # said of many who have nothing to do with each other
# Licences that the table cannot vouch for: they vary by file, or forbid some use.
NOT_FREE = ("variant per clip", "sampling", "nc", "noncommercial", "non-commercial")
TEST_SHARE = 0.25


def read_sources(bank: Path) -> list[dict[str, str]]:
    """Rows of the bank's table of sources.

    Raises
    ------
    InputError : no table, a column is missing, a file that is not there
    """
    path = bank / TABLE
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror}): a bank is divided by its table", path=path) from None
    missing = [name for name in COLUMNS if not rows or name not in rows[0]]
    if missing:
        raise InputError(f"needs the columns {', '.join(COLUMNS)}; missing: {', '.join(missing)}", path=path)
    for number, row in enumerate(rows, start=2):
        if not (bank / row["file"]).is_file():
            raise InputError(f"names {row['file']}, which is not there", path=path, place=f"line {number}")
    return rows


def is_free(licence: str) -> bool:
    """Whether what is said of a licence allows any use of what was learnt from the file."""
    words = licence.lower().replace("-", " ").split()
    return bool(words) and not any((term in licence.lower()) if len(term) > 2 else (term in words) for term in NOT_FREE)


def groups_of(rows: Sequence[dict[str, str]]) -> list[int]:
    """For each row the number of its group: rows of one source, or of one named recordist, are together."""
    parent = list(range(len(rows)))

    def root(index: int) -> int:
        while parent[index] != index:
            index = parent[index]
        return index

    first: dict[tuple[str, str], int] = {}
    for index, row in enumerate(rows):
        keys = [("source", row["source"])]
        if row["recordist"] not in NOT_NAMED:
            keys.append(("recordist", row["recordist"]))
        for key in keys:
            parent[root(index)] = root(first.setdefault(key, index))
    return [root(index) for index in range(len(rows))]


def divide(rows: Sequence[dict[str, str]], *, seed: int = 0, test_share: float = TEST_SHARE) -> list[str]:
    """For each row "train" or "test": whole groups, of each class about the share to test, in an order of the seed.

    Raises
    ------
    InputError : a class whose files are all of one group
    """
    group = groups_of(rows)
    split = dict.fromkeys(group, "")
    order = np.random.default_rng(seed).permutation(sorted(set(group))).tolist()
    classes = sorted({row["class"] for row in rows}, key=lambda name: sum(row["class"] == name for row in rows))
    for name in classes:  # the rarest first, as groups span classes
        mine = {g for g, row in zip(group, rows) if row["class"] == name}
        if len(mine) < 2:
            raise InputError(f"class {name} has one source; two splits need two")
        wanted = min(max(1, round(test_share * len(mine))), len(mine) - 1)
        have = sum(split[g] == "test" for g in mine)
        for g in order:
            if g in mine and not split[g]:
                split[g] = "test" if have < wanted else "train"
                have += split[g] == "test"
    return [split[g] for g in group]


def write_bank(rows: Sequence[dict[str, str]], bank: Path, out: Path, speeds: Sequence[float] = (1.0,)) -> None:
    """A folder with the files of the rows, each at the speeds given, and the table of where they come from."""
    for row in rows:
        path = bank / row["file"]
        target = out / row["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        for speed in speeds:
            if speed == 1:
                shutil.copyfile(path, target)
                continue
            rate_hz = soundfile.info(path).samplerate
            samples = soxr.resample(read_audio(path).T.astype(np.float32), rate_hz * speed, rate_hz)
            made = target.with_name(f"{target.stem}_x{speed:g}.flac")
            with written_whole(made) as temporary:
                soundfile.write(temporary, np.clip(samples, -1, 1), rate_hz, format="FLAC")
    with written_whole(out / TABLE) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def credits_of(rows: Sequence[dict[str, str]]) -> str:
    """A line for each source: who made it, under which licence, how many files."""
    counted: dict[tuple[str, str, str], int] = {}
    for row in rows:
        key = (row["source"], row["recordist"], row["licence"])
        counted[key] = counted.get(key, 0) + 1
    lines = [
        f"- {source}{f', {who}' if who else ''} ({licence}{f', {count} files' if count > 1 else ''})"
        for (source, who, licence), count in sorted(counted.items())
    ]
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """The command; see --help."""
    parser = argparse.ArgumentParser(
        prog="python -m simulation.split_bank",
        description="Divide a sound bank that has a table of sources (sources.csv: file, class, source, recordist, "
        "licence) into OUT/train and OUT/test by source and recordist, and write OUT/credits.md.",
        epilog="Example: python -m simulation.split_bank my_bank --out my_bank_split --free --speeds 0.92,1,1.09",
    )
    parser.add_argument("bank", type=Path, metavar="BANK", help="folder with class folders and sources.csv")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to be made")
    parser.add_argument("--free", action="store_true", help="leave out files whose licence varies or forbids a use")
    parser.add_argument(
        "--speeds", default="1", metavar="A,B", help="speeds at which training files are written (default: 1)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the order in which sources are divided (default: 0)")
    args = parser.parse_args(argv)
    try:
        speeds = [float(speed) for speed in args.speeds.split(",")]
    except ValueError:
        raise InputError(f"--speeds: numbers separated by commas, found '{args.speeds}'") from None
    if not all(0.5 <= speed <= 2 for speed in speeds):
        raise InputError(f"--speeds: 0.5 to 2, found '{args.speeds}'")
    if args.out.exists() and any(args.out.iterdir()):
        raise InputError("is not empty", path=args.out)
    rows = read_sources(args.bank)
    kept = [row for row in rows if not args.free or is_free(row["licence"])]
    split = divide(kept, seed=args.seed)
    for name in ("train", "test"):
        mine = [row for row, part in zip(kept, split) if part == name]
        write_bank(mine, args.bank, args.out / name, speeds if name == "train" else (1.0,))
        print(f"{args.out / name}: {len(mine)} files of {len(set(row['source'] for row in mine))} sources")
    with written_whole(args.out / "credits.md") as temporary:
        Path(temporary).write_text(
            "Sounds of the training scenes: source, who recorded it where that is known, licence.\n\n"
            + credits_of([row for row, part in zip(kept, split) if part == "train"]),
            encoding="utf-8",
        )
    if len(kept) < len(rows):
        print(f"{len(rows) - len(kept)} of {len(rows)} files left out for their licences")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
