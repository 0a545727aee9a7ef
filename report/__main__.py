"""python -m report RUN_DIR...: the evaluation page; players and overlay videos of single raw outputs. See --help."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from util.cli import run_main
from util.errors import InputError
from util.find import files_in


def main(argv: list[str] | None = None) -> int:
    """Write an evaluation page, or look at single recordings."""
    args = _parser().parse_args(argv)
    paths = [Path(path) for path in args.paths]
    if args.player or args.overlay:
        return _single(args, paths)
    from report.analysis import load_evaluation
    from report.page import write_report

    names = args.names.split(",") if args.names else [None] * len(paths)
    if len(names) != len(paths):
        raise InputError(f"--names gives {len(names)} names for {len(paths)} runs")
    evaluations = [load_evaluation(path, name=name, only=args.only) for path, name in zip(paths, names)]
    out = Path(args.out) if args.out else paths[0] / "report.html"
    size = write_report(out, evaluations, players=args.players)
    print(f"report  {out} ({size / 1e6:.1f} MB)")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="One HTML page on evaluated runs: scores with intervals, floors, ceilings, where the errors are.",
        epilog="""examples
  python -m report model_monitor/20261121093000
  python -m report RUN_A RUN_B --names audio-visual,audio --out compare.html
  python -m report --player RUN/raw_dcase2023t3_foa_devtest_0020000/fold4_room10_mix001.npy --out players
  python -m report --overlay RUN/raw_dcase2023t3_foa_devtest_0020000/fold4_room10_mix001.npy --out videos""",
    )
    parser.add_argument(
        "paths", nargs="+", metavar="RUN_DIR", help="run folders or raw_* folders; with --player, --overlay: .npy"
    )
    parser.add_argument(
        "--out", metavar="PATH", help="page to write [report.html in the first run]; a folder for --player, --overlay"
    )
    parser.add_argument("--names", metavar="A,B", help="what to call the runs [names of their folders]")
    parser.add_argument("--only", metavar="TEXT", help="take the raw_* folder whose name holds this [the newest]")
    parser.add_argument(
        "--players", type=int, default=3, metavar="N", help="players of the N best and worst recordings [3]"
    )
    parser.add_argument("--player", action="store_true", help="write the player of single raw outputs")
    parser.add_argument("--overlay", action="store_true", help="render single raw outputs into mp4 files with sound")
    return parser


def _single(args: argparse.Namespace, paths: list[Path]) -> int:
    from report.analysis import load_clip
    from report.page import write_clip_player

    files = [file for path in paths for file in (files_in(path, [".npy"]) if path.is_dir() else [path])]
    if not files:
        raise InputError("holds no raw output (.npy)", path=paths[0])
    for file in files:
        folder = Path(args.out) if args.out else file.parent
        clip = load_clip(file)
        if args.player:
            out = folder / f"{file.stem}.html"
            print(f"player  {out} ({write_clip_player(out, clip) / 1e6:.1f} MB)")
        if args.overlay:
            from report.overlay import write_clip_overlay

            out = folder / f"{file.stem}_overlay.mp4"
            write_clip_overlay(out, clip)
            print(f"video   {out}")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
