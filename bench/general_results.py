"""The general network, mixed and matched: modules trained once, every pair aligned, and what little joint data give.

python -m simulation --layout nigens2020 --train 10 --test 0 --seconds 20 --out data_nigens2020
python -m simulation --layout mono --classes nigens2020 --out data_mono
python -m bench.general_results --data-root data_nigens2020 --mono-root data_mono

Table 1, as in the paper: every module of detection with every module of direction, all trained on one set. Table 2:
the alignment of a module of detection that knows mono recordings only and of the untrained histogram, on shares of the
joint recordings, against a joint system that is trained on the same recordings; several seeds, mean and deviation.

What is finished is not repeated: an interrupted call goes on when called again. Flags that are not of this program go
to every training (-b, --device).
"""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from util.cli import run_main
from util.errors import InputError
from util.files import read_json, write_json

DONE = "trained.json"
CHOOSE = ("out", "tables", "formats", "modules", "shares", "seeds")  # what is trained, not how
PARTS = 4  # checkpoints of a training, of which the best one on the selection list is taken; an alignment is its last
SEDS = ("sed_m", "sed_t")
DOAS = {"foa": ("doa_iv", "doa_hist", "histogram"), "mic": ("doa_gcc",)}


@dataclass(frozen=True)
class Training:
    """One training that a table needs.

    Attributes
    ----------
    name : of its folder
    system, root, iterations : of `python seld.py -train`
    flags : of its own; {NAME} stands for the run of that name
    parts : checkpoints
    """

    name: str
    system: str
    root: Path
    iterations: int
    flags: tuple[str, ...] = ()
    parts: int = PARTS


def main(argv: list[str] | None = None) -> int:
    """Train, evaluate, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data-root", type=Path, required=True, metavar="DIR", help="TAU-NIGENS 2020, or a simulated set")
    add("--mono-root", type=Path, metavar="DIR", help="mono recordings of the same classes, for table 2")
    add("--tables", type=int, nargs="+", choices=(1, 2), default=[1, 2], help="which [1 2]")
    add("--formats", nargs="+", choices=tuple(DOAS), default=["foa", "mic"], help="of table 1 [foa mic]")
    modules = (*SEDS, *(name for names in DOAS.values() for name in names))
    add("--modules", nargs="+", choices=modules, default=list(modules), help="of table 1 [all that suit the format]")
    add("--module-iter", type=int, default=400, metavar="N", help="iterations of every module [400]")
    add("--align-iter", type=int, default=600, metavar="N", help="of every alignment [600]")
    add("--joint-iter", type=int, default=1000, metavar="N", help="of every joint system [1000]")
    add("--joint", default="seldnet2020", metavar="SYSTEM", help="that table 2 compares with [seldnet2020]")
    add("--align-batch", type=int, metavar="N", help="items of a step of an alignment [as every training, -b]")
    add("--width", type=float, default=0.25, metavar="X", help="of the modules [0.25]")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="setting of the general network")
    add("--joint-set", action="append", default=[], metavar="NAME=VALUE", help="setting of the joint system")
    add("--shares", type=float, nargs="+", default=[0.1, 0.25, 1.0], help="of the joint recordings [0.1 0.25 1]")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of table 2 [0 1 2]")
    add("--out", type=Path, metavar="DIR", help="[DATA_ROOT/model_monitor/general_results]")
    args, flags = parser.parse_known_args(argv)
    for root in (args.data_root, args.mono_root):
        if root is not None and not root.is_dir():
            raise InputError("no such data root", path=root)
    if 2 in args.tables and args.mono_root is None:
        raise InputError("table 2 needs --mono-root: python -m simulation --layout mono --classes nigens2020 --out DIR")
    out = (args.out or args.data_root / "model_monitor" / "general_results").resolve()
    settings = {name: value for name, value in vars(args).items() if name not in CHOOSE}
    _claim(out, {**{name: _plain(value) for name, value in settings.items()}, "flags": flags})

    trainings = {number: _trainings(number, args) for number in args.tables}
    every = {one.name: one for table in trainings.values() for one in table}
    runs: dict[str, Path] = {}
    with tqdm(total=len(every), desc="runs", unit="run") as progress:
        for one in every.values():
            progress.set_postfix_str(one.name)
            runs[one.name] = _run(one, out, runs, flags)
            progress.update()

    from report.general import module_table, pair_table, scores_of, share_table

    found = {name: scores_of(run) for name, run in runs.items()}
    if 1 in args.tables:
        for number, format in enumerate(args.formats):
            of = [found[one.name] for one in trainings[1] if one.name.startswith(format)]
            print(f"{'' if not number else chr(10)}{format}: modules by themselves\n\n{module_table(of)}\n")
            print(f"{format}: aligned\n\n{pair_table(of)}")
    if 2 in args.tables:
        of = [found[one.name] for one in trainings[2]]
        print(f"\nmodules on mono recordings, and without training\n\n{module_table(of)}\n")
        print(f"shares of the joint recordings, {len(args.seeds)} seeds\n\n{share_table(of)}")
    lengths = f"modules {args.module_iter}, alignments {args.align_iter}, joint systems {args.joint_iter} iterations"
    print(f"\n{lengths}; width {args.width:g}; mean ± standard deviation (n - 1) of several runs")
    return 0


def _trainings(number: int, args: argparse.Namespace) -> list[Training]:
    """What a table needs, in the order in which it can be trained."""
    made: list[Training] = []
    batch = () if args.align_batch is None else ("-b", str(args.align_batch))
    wide = _changes([f"width={args.width:g}", *args.set])
    if number == 1:
        for format in args.formats:
            own = ("--format", format)
            seds, doas = ([name for name in names if name in args.modules] for names in (SEDS, DOAS[format]))
            for module in (*seds, *doas):
                system = f"general_{module}" if module != "histogram" else "general_histogram"
                made.append(Training(f"{format}_{module}", system, args.data_root, args.module_iter, (*own, *wide)))
            for sed in seds:
                for doa in doas:
                    pair = ("--sed", f"{{{format}_{sed}}}", "--doa", f"{{{format}_{doa}}}", *_changes(args.set))
                    name = f"{format}_{sed}_{doa}"
                    made.append(Training(name, "general", args.data_root, args.align_iter, (*own, *pair, *batch), 1))
        return made
    made.append(Training("mono_sed_t", "general_sed_t", args.mono_root, args.module_iter, ("--format", "mono", *wide)))
    made.append(Training("joint_histogram", "general_histogram", args.data_root, 1, ("--format", "foa")))
    for share in args.shares:
        for seed in args.seeds:
            same = ("--format", "foa", "--share", f"{share:g}", "-rs", str(seed))
            end = f"share{100 * share:g}_seed{seed}"
            pair = ("--sed", "{mono_sed_t}", "--doa", "histogram", *_changes(args.set))
            made.append(
                Training(f"aligned_{end}", "general", args.data_root, args.align_iter, (*same, *pair, *batch), 1)
            )
            made.append(
                Training(
                    f"joint_{end}", args.joint, args.data_root, args.joint_iter, (*same, *_changes(args.joint_set))
                )
            )
    return made


def _changes(settings: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("--set", setting))


def _run(training: Training, out: Path, runs: dict[str, Path], flags: Sequence[str]) -> Path:
    """The run of a training, made and evaluated as far as it is not yet."""
    folder = out / training.name
    done, log = folder / DONE, out / "log.txt"
    if not done.is_file():
        begun = sorted(path for path in folder.glob("*") if any(path.glob("params_*.pth")))
        if begun and training.iterations > 1:
            _seld(log, "-train", "-val", "--resume", str(begun[-1]))
        else:
            own = [word.format(**runs) if word.startswith("{") else word for word in training.flags]
            length = [
                "-i",
                str(training.iterations),
                "-s",
                str(-(-training.iterations // training.parts)),
                "--select",
                "val",
            ]
            where = ["--data-root", str(training.root), "-m", str(folder)]
            _seld(log, "-train", "-val", "--system", training.system, *where, *length, *flags, *own)
        run = sorted(path for path in folder.glob("*") if any(path.glob("params_*.pth")))[-1]
        if not any(run.glob("raw_*")):  # runs in epochs are evaluated at their end
            _seld(log, "-eval", "-em", str(run), "--data-root", str(training.root))
        write_json(done, {"run": run.name})
    return folder / read_json(done)["run"]


def _claim(out: Path, about: dict[str, object]) -> None:
    """Make the folder that of these settings, or find that it is.

    Raises
    ------
    InputError : it holds runs of others
    """
    path = out / "settings.json"
    if path.is_file() and read_json(path) != about:
        raise InputError("holds runs of other settings; choose another --out, or delete it", path=out)
    write_json(path, about)


def _plain(value: object) -> object:
    return str(value.resolve()) if isinstance(value, Path) else value


def _seld(log: Path, *flags: str) -> None:
    """`python seld.py` with those flags in this process; what it says goes to a file, errors end this program."""
    import seld

    with open(log, "a", encoding="utf-8") as file, _said_to(file):
        file.write(f"+ python seld.py {' '.join(flags)}\n")
        file.flush()
        status = seld.main(list(flags))
    if status:
        raise InputError(f"python seld.py {' '.join(flags)} ended with {status}", path=log)


@contextlib.contextmanager
def _said_to(file: object) -> Iterator[None]:
    with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):  # type: ignore[type-var]
        yield


if __name__ == "__main__":
    raise SystemExit(run_main(main))
