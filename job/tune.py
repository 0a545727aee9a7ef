"""-tune: a search for better settings, stage by stage, with Optuna; it goes on where it was interrupted."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dcase2022_task3_seld_metrics.score_table import SCORES, SCORES_BY_KEY
from job.data import common_classes, monitor_path, open_roots, training_data
from job.folds import cross_validate
from job.results import score_line
from job.train import train
from report.tuning import TrialRow, best_row, markdown, winners, write_tables, write_tuning_page
from system.model import StageModel
from system.presets import preset_of, with_changes
from system.table import system_named
from system.tuning import BUDGET, FILE, GRID_FLAGS, Point, SearchPlan, SearchStage, as_text, changed, changes, read_plan
from util.errors import InputError
from util.files import read_json, write_json
from util.flags import DEFAULTS, FLAGS, names_of
from util.runs import SELECTED, iteration_of

# Arguments that a search may go on with others of: recordings and settings are compared as what they stand for.
FREE = {*names_of(lambda flag: flag.role != "setting"), "job_id", "task_settings"}
OWN = names_of(lambda flag: "tune" in flag.jobs and "train" not in flag.jobs)  # of the search, not of a trial
MACHINE = names_of(lambda flag: flag.role == "machine")  # flags that decide no result
DATABASE = "tuning.db"


def tune(given: dict[str, Any], command: str) -> int:
    """Search all stages, train the choice; the exit status."""
    search = Search(given, command)
    try:
        search.print_start()
        for stage in search.stages:
            search.run_stage(stage)
        search.print_end()
        if search.plan.final is not None:
            search.train_final()
    except KeyboardInterrupt:
        print(f"\ninterrupted; what is finished stays, go on with:\n  {command}", file=sys.stderr)
        return 130
    return 0


class Search:
    """A staged search: its stages, what is known of them, the choice.

    Each stage is one study of Optuna in one database, with a grid sampler; a trial is a run of `job.train` whose score
    is that of its best epoch on the recordings that choose (validation fold, or recordings split off the training
    list): the test recordings are not scored before the choice is made.

    Parameters
    ----------
    given : flags as `python seld.py -tune` takes them
    command : command line, for what is written

    Raises
    ------
    InputError : Optuna is missing, the file of stages does not fit, no such data, the database is of another search
    """

    def __init__(self, given: dict[str, Any], command: str):
        self._optuna = _import_optuna()
        self.command = command
        system = given.get("net", DEFAULTS["net"])
        self.plan: SearchPlan = read_plan(given.get("stages", FILE), preset_of(system))
        self.stages = self.plan.stages
        for flag, value in (("--resume", given.get("resume")), ("--init", given.get("init"))):
            if value is not None:
                raise InputError(f"{flag}: not with -tune; the same command goes on with an interrupted search")
        for flag, name, due in (("--select", "select", "val"), ("--devices", "devices", 1)):
            if given.get(name, due) != due:
                raise InputError(f"{flag} {given[name]}: -tune needs {flag} {due}")
        if given.get("split") == "all":
            raise InputError(
                "--split all: -tune compares on one split; [final] of the file of stages may say split = 'all'"
            )
        # flags, then the budget of the file, then the recipe
        self.given = {**self.plan.search, **{name: value for name, value in given.items() if name not in OWN}}
        self.given |= {"train": True, "val": True, "select": "val"}
        self.roots, self.args = open_roots(self.given)
        self.args.no_video = True
        self.system = system_named(system)
        self.data = training_data(self.args, self.roots)
        self.classes = common_classes(self.roots, self.args.class_num)
        self.defaults = {**preset_of(system).settings, **self.args.task_settings}
        self.start = self._start()
        self._check_words()
        monitor = monitor_path(self.args, self.roots)
        name = "_".join(["tune", system, *([self.args.job_id] if self.args.job_id else [])])
        self.folder = Path(given.get("out") or monitor / name)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.url = given.get("storage") or f"sqlite:///{self.folder / DATABASE}"
        self._storage = self._open_storage()
        self._rows: list[TrialRow] = []
        self._read()

    # ---- what is known -----------------------------------------------------------------------------------------------

    @property
    def rows(self) -> list[TrialRow]:
        """Every finished trial, in the order of the file."""
        return sorted(self._rows, key=lambda row: (row.number, row.index))

    @property
    def best(self) -> TrialRow | None:
        """The best trial so far."""
        return best_row(self.rows)

    def number_of(self, stage: SearchStage) -> int:
        """Of a stage, from 1."""
        return self.stages.index(stage) + 1

    def begins_at(self, stage: SearchStage) -> Point:
        """The best settings before a stage, which it changes."""
        before = best_row([row for row in self.rows if row.number < self.number_of(stage)])
        return self.start if before is None else Point(before.settings, before.flags)

    def remarks(self) -> list[str]:
        """Data, budget and choice in words."""
        epochs, passes = self.args.epochs, self.args.passes_per_epoch
        lines = [
            f"System {self.args.net}, data {', '.join(root.name for root in self.roots)}: trained on the "
            f"{len(self.data.train)} recordings of {self.data.train_name}, compared on {len(self.data.selection)} "
            f"others (validation). The test list {self.data.validation_name} is not looked at.",
            f"Each trial: one training with seed {self.args.random_seed}, at most {epochs} epochs of {passes} "
            f"pass{'es' if passes > 1 else ''} over the recordings; the scores are those of its best epoch. "
            "Differences as small as those between two seeds say nothing.",
        ]
        chosen = self.best
        if chosen is not None:
            lines.append(f"Best: {score_line(_plain(chosen.scores))}; {chosen.parameters:,} parameters.")
            lines.append(f"Train it: {self.final_command()}")
        lines.append(f"Command: {self.command}")
        return lines

    # ---- the search --------------------------------------------------------------------------------------------------

    def run_stage(self, stage: SearchStage) -> list[TrialRow]:
        """Try what is left of a stage; its rows."""
        number = self.number_of(stage)
        for earlier in self.stages[: number - 1]:
            if sum(row.number == self.number_of(earlier) for row in self._rows) < len(earlier):
                raise InputError(f"stage '{stage.name}' starts from stage '{earlier.name}', which is not finished")
        start = self.begins_at(stage)
        combinations = list(stage.combinations())
        space = {name: [_text(value) for value in values] for name, values in stage.grid.items()}
        sampler = self._optuna.samplers.GridSampler(space, seed=0)

        def objective(trial: Any) -> float:
            texts = {name: trial.suggest_categorical(name, values) for name, values in space.items()}
            values = {name: stage.grid[name][space[name].index(text)] for name, text in texts.items()}
            row = self._try(stage, combinations.index(values), values, start)
            trial.set_user_attr("row", _jsonable(row.to_dict()))
            self._rows.append(row)
            self._print_row(stage, row)
            write_tables(self.folder, self.rows, self.remarks())
            if row.state == "impossible":
                raise self._optuna.TrialPruned
            return row.seld if row.scores else math.nan

        with self.alone():
            self._repeat_interrupted(self._study(stage, start))
            study = self._study(stage, start, sampler)
            # one by one: what waits to be repeated comes first, and the sampler knows only what it gave out itself
            while len({row.index for row in self._rows if row.number == number}) < len(combinations):
                study.optimize(objective, n_trials=1)
        self.write_page()
        found = [row for row in self.rows if row.number == number]
        chosen = winners(self.rows).get(number)
        if chosen is None:
            reason = next(
                (row.note for row in found if row.note), "nothing is predicted in any epoch: give more --epochs"
            )
            raise InputError(f"no combination can be trained and scored ({reason})", path=self.plan.path,
                             place=f"stage {number} '{stage.name}'")  # fmt: skip
        kept = "" if chosen.number == number else f" (of stage {chosen.number}; nothing here is better)"
        print(f"stage {number} of {len(self.stages)}, {stage.name}: best is {chosen.label}{kept}, "
              f"{SCORES['SELD'].line(chosen.seld)}", flush=True)  # fmt: skip
        return found

    def _try(self, stage: SearchStage, index: int, values: dict[str, Any], start: Point) -> TrialRow:
        """Train one combination, unless it cannot be built or was trained before."""
        number, seed = self.number_of(stage), self.args.random_seed
        point = changed(start, values, constant_frames=self.plan.constant_frames)
        about: dict[str, Any] = {"stage": stage.name, "number": number, "index": index, "values": values, "seed": seed}
        about |= {"settings": dict(point.settings), "flags": dict(point.flags)}
        try:
            parameters = self.parameters(point)
        except InputError as error:
            return TrialRow(**about, state="impossible", note=error.rule)
        known = next((row for row in self._rows if Point(row.settings, row.flags).key == point.key), None)
        if known is not None and known.scores:
            copied = {name: getattr(known, name) for name in ("scores", "epochs", "best_epoch", "curve")}
            note = known.note if known.state == "same" else f"as stage {known.number}: {known.label}"
            return TrialRow(**about, state="same", parameters=parameters, note=note, **copied)
        folder = self.folder / f"stage{number}" / f"trial{index + 1}"
        shutil.rmtree(folder, ignore_errors=True)  # of an interrupted trial, which is begun anew
        folder.mkdir(parents=True)
        started = time.monotonic()
        with open(folder / "log.txt", "w", encoding="utf-8") as log, contextlib.redirect_stdout(log):
            try:
                status = train(self.flags_of(point), self.command, run_folder=folder, score_test=False)
            except InputError as error:
                place = f"stage {number} '{stage.name}', {TrialRow(**about, state='').label}"
                raise InputError(error.rule, path=error.path, place=place) from None
        if status:
            raise KeyboardInterrupt
        scored = read_scores(folder)
        for path in folder.glob("params_*.pth"):  # many networks; the choice is trained again
            path.unlink()
        return TrialRow(**about, parameters=parameters, seconds=time.monotonic() - started, **scored)

    def parameters(self, point: Point) -> int:
        """Size of the network of a point, moving statistics included.

        Raises
        ------
        InputError : it cannot be built
        """
        array = self.data.train[0].array
        args = self.args.changed(set=changes(point.settings, self.defaults), **point.flags)
        stage = self.system.stages[-1]
        network = StageModel(stage, stage.settings(args, array), array, len(self.classes), visual=False).network
        counted = [*network.parameters(), *(one for one in network.buffers() if one.is_floating_point())]
        return sum(tensor.numel() for tensor in counted)

    def flags_of(self, point: Point) -> dict[str, Any]:
        """Flags that train a point."""
        return {**self.given, **point.flags, "set": changes(point.settings, self.defaults)}

    # ---- the choice --------------------------------------------------------------------------------------------------

    def final_flags(self) -> dict[str, Any]:
        """Flags that train the best settings with the budget of [final].

        Raises
        ------
        InputError : nothing is scored yet
        """
        if self.best is None:
            raise InputError("no trial is finished yet", path=self.folder)
        flags = self.flags_of(Point(self.best.settings, self.best.flags))
        due = self.plan.final or {}
        if self.plan.final is not None:  # its budget and the recipe's, not that of a trial
            flags = {name: value for name, value in flags.items() if name not in BUDGET}
        split = {"split": self.plan.final_split} if self.plan.final_split is not None else {}
        return {**flags, **due, **split}

    def final_command(self) -> str:
        """The command line that trains the choice."""
        words = ["python", "seld.py", "-train", "-val", "--system", self.args.net]
        for name, value in self.final_flags().items():
            if name in ("train", "val", "net", "ids", "select") or value is None or value is False:
                continue
            if name in GRID_FLAGS and value == preset_of(self.args.net).arguments.get(name):
                continue
            for one in value if isinstance(value, list) else [value]:
                words += [FLAGS[name].options[-1], *([] if one is True else [as_text(one)])]
        given = self.given.get("ids", [])
        return shlex.join([*words[:3], *given, *words[3:]])

    def train_final(self) -> Path:
        """Train the choice and score it on the test recordings; its folder, result.txt in it."""
        flags = self.final_flags()
        layout = self.roots[0].layout
        splits = layout.folds if flags.get("split") == "all" else (flags.get("split"),)
        print(f"\ntraining the best settings: {self.final_command()}", flush=True)
        if not splits:
            print(f"once: layout {layout.name} has no splits")
            flags["split"] = None
        with self.alone():
            folder = self._final_folder(
                _jsonable({name: value for name, value in flags.items() if name not in MACHINE})
            )
            status = cross_validate(flags, self.command, folder, splits or (None,))
        if status:
            raise KeyboardInterrupt
        return folder

    def _final_folder(self, flags: dict[str, Any]) -> Path:
        """Folder of the choice: another one where it was trained with other flags before."""
        for number in itertools.count(1):
            folder = self.folder / ("final" if number == 1 else f"final_{number}")
            told = folder.with_name(f"{folder.name}.json")
            if not told.is_file():
                write_json(told, flags)
            if read_json(told) == flags:
                return folder
        raise AssertionError

    # ---- the database ------------------------------------------------------------------------------------------------

    def _open_storage(self) -> Any:
        try:
            return self._optuna.storages.RDBStorage(self.url)
        except Exception as error:  # of SQLAlchemy, its drivers or Alembic: all mean that this is no usable database
            reason = str(error).splitlines()[0]
            raise InputError(f"--storage: no database of Optuna can be opened ({reason})", path=self.url) from None

    def _name(self, stage: SearchStage) -> str:
        return f"{self.folder.name} {self.number_of(stage)} {stage.name}"

    def _study(self, stage: SearchStage, start: Point, sampler: Any = None) -> Any:
        """The study of a stage; one of another search is refused, unless nothing was scored in it."""
        due = {"search": self._fingerprint(), "grid": _jsonable(stage.grid), "start": json.loads(start.key)}
        name, create = self._name(stage), self._optuna.create_study
        about = {"storage": self._storage, "study_name": name, "sampler": sampler, "direction": "minimize"}
        study = create(**about, load_if_exists=True)
        what = _difference(study.user_attrs.get("about", due), due)
        if what is not None:
            if any(trial.user_attrs.get("row", {}).get("scores") for trial in study.get_trials(deepcopy=False)):
                rule = f"holds another search ({what}): name another folder with --out"
                raise InputError(rule, path=self.url, place=f"stage '{stage.name}'")
            self._optuna.delete_study(storage=self._storage, study_name=name)
            study = create(**about)
        study.set_user_attr("about", due)
        return study

    def _read(self) -> None:
        """Rows of the finished trials of the database; it must be of this search."""
        names = {summary.study_name for summary in self._optuna.get_all_study_summaries(self._storage)}
        for stage in self.stages:
            if self._name(stage) in names:
                study = self._study(stage, self.begins_at(stage))
                trials = study.get_trials(deepcopy=False)
                self._rows += [TrialRow.from_dict(one.user_attrs["row"]) for one in trials
                               if "row" in one.user_attrs]  # fmt: skip
        strange = sorted(name for name in names if name.startswith(f"{self.folder.name} "))
        strange = [name for name in strange if name not in map(self._name, self.stages)]
        if strange:
            rule = f"holds another search (a stage '{strange[0]}'): name another folder with --out"
            raise InputError(rule, path=self.url)

    def _repeat_interrupted(self, study: Any) -> None:
        """Trials that were running when the search was stopped or killed wait to be tried again."""
        states = self._optuna.trial.TrialState
        for trial in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            row = trial.user_attrs.get("row")
            if row is not None and row["scores"]:  # killed between its score and its end
                study.tell(trial.number, row["scores"][SCORES["SELD"].key])
            else:
                study.tell(trial.number, state=states.FAIL)
        trials = [trial for trial in study.get_trials(deepcopy=False) if "grid_id" in trial.system_attrs]
        place = {trial.number: trial.system_attrs["grid_id"] for trial in trials}
        settled = {place[one.number] for one in trials if "row" in one.user_attrs or one.state == states.WAITING}
        for trial in trials:
            if place[trial.number] not in settled:
                settled.add(place[trial.number])
                study.add_trial(self._optuna.trial.create_trial(state=states.WAITING, system_attrs=trial.system_attrs))

    def _fingerprint(self) -> dict[str, Any]:
        """What makes two searches comparable."""
        settled = {name: value for name, value in sorted(self.args.to_dict().items()) if name not in FREE}
        about = {"system": self.args.net, "settings": dict(self.start.settings), "data": self.roots[0].layout.name}
        about["training recordings"] = [one.name for one in self.data.train]
        about["validation recordings"] = [one.name for one in self.data.selection]
        return _jsonable({**about, **settled, "constant_frames_per_batch": self.plan.constant_frames})

    def _start(self) -> Point:
        self.system.stages[-1].settings(self.args, self.data.train[0].array)  # refuses what does not go together
        settings = with_changes(self.defaults, self.args.set)
        return Point(settings, {name: getattr(self.args, name) for name in GRID_FLAGS})

    def _check_words(self) -> None:
        """Words that a grid names must be choices of the system: "gruu" is not tried, but refused."""
        for number, stage in enumerate(self.stages, start=1):
            for name, values in stage.grid.items():
                for value in values:
                    if isinstance(value, str):
                        args = self.args.changed(set=[*self.args.set, f"{name}={value}"])
                        try:
                            self.system.stages[-1].settings(args, self.data.train[0].array)
                        except InputError as error:
                            place = f"stage {number} '{stage.name}'"
                            raise InputError(error.rule, path=self.plan.path, place=place) from None

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Only one process at a time searches in a folder (where the system can lock files)."""
        try:
            import fcntl
        except ImportError:  # Windows
            yield
            return
        with open(self.folder / "tuning.lock", "w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError("another process searches here", path=self.folder) from None
            yield

    # ---- what people read --------------------------------------------------------------------------------------------

    def write_page(self) -> Path:
        """Tables and page beside the database; the page."""
        path = self.folder / "tuning.html"
        write_tables(self.folder, self.rows, self.remarks())
        abouts = {self.number_of(stage): stage.about for stage in self.stages}
        write_tuning_page(path, self.rows, abouts, self.remarks())
        return path

    def print_start(self) -> None:
        """What will be done."""
        print(f"search     {len(self.stages)} stages, {len(self.plan)} combinations ({self.plan.path})")
        print(f"           {len(self._rows)} of them known from before")
        print(f"data       trained on {len(self.data.train)}, compared on {len(self.data.selection)} recordings")
        final = self.plan.final
        if final is not None:
            print(f"then       the best is trained: split {self.plan.final_split or 'as given'}, {dict(final)}")
        print(f"folder     {self.folder}", flush=True)

    def print_end(self) -> None:
        """The winners and the command of the choice."""
        print(f"\n{markdown(self._winning_rows())}")
        print(f"table      {self.folder / 'tuning.md'}, tuning.csv; page {self.folder / 'tuning.html'}")
        print(f"the best is trained with:\n  {self.final_command()}", flush=True)

    def _winning_rows(self) -> list[TrialRow]:
        found = winners(self.rows)
        return [row for row in self.rows if any(row is one for one in found.values())]

    def _print_row(self, stage: SearchStage, row: TrialRow) -> None:
        what = score_line(_plain(row.scores)) if row.scores else f"{row.state}: {row.note}" if row.note else row.state
        known = sum(one.number == row.number for one in self._rows)
        size = f"  {row.parameters:,} parameters" if row.parameters else ""
        took = {"scored": f"  {row.seconds:.0f} s", "same": f"  ({row.note})"}.get(row.state, "")
        place = f"{row.number}/{len(self.stages)} {stage.name} {known}/{len(stage)}"
        print(f"  {place}  {row.label:28}  {what}{size}{took}", flush=True)


def read_scores(folder: Path) -> dict[str, Any]:
    """Of a finished run: state, scores of its best epoch, epochs, curve."""
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    curve = [float(line[SCORES["SELD"].key]) for line in lines]
    made: dict[str, Any] = {"epochs": len(lines), "curve": curve}
    if not (folder / SELECTED).is_file() or not any(math.isfinite(value) for value in curve):
        return {**made, "state": "no score"}
    best = iteration_of(Path(read_json(folder / SELECTED)["checkpoint"]))
    place = next(index for index, line in enumerate(lines) if line["iteration"] == best)
    scores = {name: float(value) for name, value in lines[place].items() if name in SCORES_BY_KEY}
    return {**made, "state": "scored", "best_epoch": place + 1, "scores": scores}


def _difference(there: Mapping[str, Any], due: Mapping[str, Any]) -> str | None:
    """What differs between the search of a database and one that shall go on with it; None: nothing."""
    search, other = due["search"], there["search"]
    for name in sorted(search.keys() & other.keys()):  # flags that one of the two versions does not know decide nothing
        if search[name] != other[name]:
            return f"{name} {_brief(other[name])} there, {_brief(search[name])} here"
    if there["grid"] != due["grid"]:
        return "other values"
    return "it starts from other settings" if there["start"] != due["start"] else None


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise InputError("-tune needs Optuna: pip install optuna") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _plain(scores: Mapping[str, float]) -> dict[str, float]:
    """Keys of the history -> names of the metrics."""
    return {SCORES_BY_KEY[key].name: value for key, value in scores.items()}


def _text(value: Any) -> Any:
    """A value as Optuna keeps it: lists as json."""
    return json.dumps(value) if isinstance(value, (list, tuple)) else value


def _jsonable(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _brief(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
