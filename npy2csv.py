"""Raw outputs -> DCASE csv files, or position tracks -> label csv files. See --help."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from util.cli import run_main
from util.dialects import DIALECTS, dialect_named, write_events
from util.errors import InputError
from util.events import EventTable
from util.files import read_json, write_text
from util.find import files_in


def main(argv: list[str] | None = None) -> int:
    """Convert a folder of raw outputs, or position tracks."""
    args = _parser().parse_args(argv)
    out = Path(args.out)
    if args.tracks:
        if args.raw_dir:
            raise InputError("give a folder of raw outputs or --tracks, not both")
        return _convert_tracks(args, out)
    if not args.raw_dir:
        raise InputError("give a folder of raw outputs, or --tracks; --help explains both")
    return _convert_raw(Path(args.raw_dir), out, args.threshold_config, args.dialect, vectors=args.vectors)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python npy2csv.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Raw network outputs -> csv files, or position tracks -> label csv files.",
        epilog="""examples
  python npy2csv.py RUN/raw_dcase2023t3_foa_devtest_0020000 --out csv
  python npy2csv.py RUN/raw_dcase2023t3_foa_devtest_0020000 --out csv --threshold-config my_threshold.json
  python npy2csv.py --tracks take1.npy take2.npy --out labels --class-index 5""",
    )
    parser.add_argument("raw_dir", nargs="?", metavar="RAW_DIR", help="folder of <clip>.npy with <clip>.json beside")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the csv files")
    parser.add_argument(
        "--threshold-config",
        metavar="FILE",
        help="activity threshold per class and unification angle [those stored beside the raw output]",
    )
    parser.add_argument(
        "--dialect",
        choices=sorted(DIALECTS),
        help="form of the rows [dcase2023; with distances dcase2024_m, of stereo dcase2025]",
    )
    parser.add_argument(
        "--vectors",
        action="store_true",
        help="in place of --dialect rows frame,class,0,x,y,z with vectors as long as the network makes them, as the "
        "DCASE baselines of 2020 and 2021 write them",
    )
    parser.add_argument(
        "--tracks", nargs="+", metavar="NPY", help="position tracks: (n, 4) of x, y, z in metres and time, at 20 Hz"
    )
    parser.add_argument("--class-index", type=int, metavar="N", help="class of all tracks")
    parser.add_argument(
        "--class-table",
        metavar="FILE",
        help='json {"name": class index}; a track\'s name is the middle of its file name',
    )
    parser.add_argument("--first-frame", type=int, default=0, metavar="N", help="number of the first frame [0]")
    return parser


def _convert_raw(
    raw_dir: Path, out: Path, threshold_config: str | None, dialect: str | None, *, vectors: bool = False
) -> int:
    from output_format.candidates import merge
    from output_format.contract import SaysVectors, dialect_for
    from output_format.formats import OUTPUT_FORMATS
    from output_format.rows import events_in_file, vector_text
    from util.thresholds import read_thresholds

    form = None if dialect is None else dialect_named(dialect)
    if not raw_dir.is_dir():
        raise InputError("no such folder", path=raw_dir)
    files = files_in(raw_dir, [".npy"])
    if not files:
        raise InputError("holds no raw output (.npy)", path=raw_dir)
    for path in tqdm(files, desc="npy2csv", unit="clip", disable=len(files) < 20):
        described = path.with_suffix(".json")
        about = read_json(described)
        try:
            output_format = OUTPUT_FORMATS[about["format"]].from_description(about, len(about["classes"]))
            thresholds, unification_deg = about["thresholds"], about["unification_deg"]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            why = f" ({error})" if isinstance(error, ValueError) else ""
            rule = f"does not describe a raw output: format, classes, thresholds, unification_deg{why}"
            raise InputError(rule, path=described) from None
        if threshold_config:
            given = read_thresholds(threshold_config, len(about["classes"]))
            thresholds, unification_deg = given.presence, given.unification_deg
        try:
            raw = np.load(path, allow_pickle=False)
            candidates = output_format.candidates(raw, frame_s=about.get("label_frame_s"))
        except (ValueError, EOFError, OSError) as error:
            raise InputError(f"is no raw output of format {about['format']} ({error})", path=path) from None
        if vectors:
            if not isinstance(output_format, SaysVectors):
                rule = f"--vectors: outputs of format {about['format']} are not written as vectors"
                raise InputError(rule, path=described)
            write_text(out / f"{path.stem}.csv", vector_text(output_format.vector_rows(raw, np.asarray(thresholds))))
            continue
        events = merge(candidates, np.asarray(thresholds), unification_deg)
        chosen = form or dialect_named(dialect_for(output_format))
        events = events_in_file(events, chosen, output_format, raw, np.asarray(thresholds))
        write_events(out / f"{path.stem}.csv", events, chosen.name)
    print(f"{len(files)} csv files in {out}")
    return 0


def _convert_tracks(args: argparse.Namespace, out: Path) -> int:
    from util.position_tracks import class_of_item, read_track, track_events

    if (args.class_index is None) == (args.class_table is None):
        raise InputError("--tracks needs --class-index or --class-table (one of them)")
    if args.class_index is not None and args.class_index < 0:
        raise InputError(f"--class-index {args.class_index}: classes are counted from 0")
    table = None if args.class_table is None else read_json(args.class_table)
    skipped = []
    for path in map(Path, args.tracks):
        try:
            class_index = args.class_index if table is None else class_of_item(path.stem, table)
        except InputError as error:
            skipped.append(f"skipped {path}: {error}")
            continue
        events: EventTable = track_events(read_track(path), class_index=class_index, first_frame=args.first_frame)
        write_events(out / f"{path.stem}.csv", events, "starss23")
    for line in skipped:
        print(line, file=sys.stderr)
    print(f"{len(args.tracks) - len(skipped)} label files in {out}")
    return 1 if skipped else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
