"""`util.parallel.each`: one process, several, one of them killed; broken items, defects, a full disk, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.errands import Write, threads, tiny
from util.cpus import cpu_count
from util.errors import CommonError, InputError
from util.leftovers import sweep_leftovers
from util.parallel import HERE, Progress, Where, each
from util.processes import in_processes

ROOT = Path(__file__).resolve().parents[1]
ITEMS = list(range(12))


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.txt") if path.name != "opened.txt"}


def test_one_process_is_this_one(tmp_path):
    done = []
    outcome = each(Write(tmp_path), ITEMS, done=lambda item, result: done.append((item, result)))
    assert outcome.results == [number * number for number in ITEMS] == [result for _, result in done]
    assert (tmp_path / "opened.txt").read_text() == f"{os.getpid()}\n"
    assert each(Write(tmp_path), [], HERE).results == []


@pytest.mark.slow
def test_two_processes_give_the_same_and_a_killed_one_is_replaced(tmp_path, capfd):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    each(Write(one), ITEMS)
    make = Write(two, deadly=(3,), always=(7,), broken=(5,))
    progress = Progress("writing", amounts=[2] * len(ITEMS))
    outcome = each(make, ITEMS, Where(2), progress, name="number {}".format)
    assert [index for index, _ in outcome.broken] == [5, 7] and outcome.made == 10
    assert str(outcome.broken[0][1]) == "number 5: item 5: is broken"
    assert "number 7: the process that worked on it was ended from outside 3 times" in str(outcome.broken[1][1])
    assert outcome.results[4] == 16 and outcome.results[5] is None
    expected = {name: content for name, content in written(one).items() if name not in ("5.txt", "7.txt")}
    assert written(two) == expected and not list(two.glob(".*"))
    # 2 processes and one for each death: 3 at item 7, 1 at item 3; each opened what it needs once
    opened = (two / "opened.txt").read_text().split()
    assert len(set(opened)) == len(opened) <= 6 and str(os.getpid()) not in opened
    assert "24/24" in capfd.readouterr().err
    with pytest.raises(InputError, match=r"is broken \(2 of 12 clips failed, see above\)"):
        outcome.complete("clips failed")


@pytest.mark.parametrize("where", [HERE, Where(2)], ids=["here", "processes"])
def test_a_defect_keeps_its_traceback_and_stops_no_other_item(tmp_path, where):
    with pytest.raises(ZeroDivisionError, match="a defect") as caught:
        each(Write(tmp_path, defect=(0, 2)), ITEMS, where)
    assert "2 items ended in such a way" in caught.value.__notes__
    assert where.here or any("errands.py" in note for note in caught.value.__notes__)
    assert len(written(tmp_path)) == 10


@pytest.mark.parametrize("where", [HERE, Where(2)], ids=["here", "processes"])
def test_what_every_item_would_meet_ends_the_job(tmp_path, where):
    with pytest.raises(CommonError, match="disk: the disk is full"):
        each(Write(tmp_path, full=(1,), pause_s=0.05), list(range(200)), where)
    assert len(written(tmp_path)) < 100


def test_processes_share_the_processors():
    (event,) = in_processes(threads, [1], 2, tell=lambda index, amount: None)
    assert event.error is None and set(event.result.values()) == {max(1, cpu_count() // 2)}, event


def test_what_a_dead_process_left_is_swept_and_what_another_machine_writes_stays(tmp_path):
    here, elsewhere, old = (tmp_path / f".a.partial-{who}.txt" for who in ("1", "otherhost-1", "oldhost-1"))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = tmp_path / f".a.partial-{gone.pid}.txt"
    for path in (here, elsewhere, old):
        path.write_text("half")
    os.utime(old, (time.time() - 7200,) * 2)
    sweep_leftovers([tmp_path / "a.txt"])
    assert [path.name for path in tmp_path.iterdir()] == [elsewhere.name]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_interrupt_ends_the_processes_and_nothing_is_half_written(tmp_path):
    code = (
        "import sys; from pathlib import Path; from tests.errands import slowly; from util.parallel import Where, each;"
        "from util.cli import run_main; paths = [Path(sys.argv[1], name) for name in ('a.txt', 'b.txt', 'c.txt')]\n"
        "if __name__ == '__main__': sys.exit(run_main(lambda _: each(slowly, paths, Where(2)) and 0))"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], env=environment, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
        # where the tests run in the background the shell has interrupts ignored, and children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("begun_*"))) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does: to all processes
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130 and said.strip() == "interrupted", said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["begun_a", "begun_b", "script.py"]


def test_what_cannot_be_sent_is_named(tmp_path):
    with pytest.raises(AttributeError):
        each(lambda number: number, ITEMS, Where(2))
    with pytest.raises(Exception, match="pickle"):
        each(partial(_generator), ITEMS[:2], Where(2))


def _generator(number: int):
    yield number


def test_overhead_is_small(tmp_path):
    start = time.perf_counter()
    each(tiny, list(range(2000)))
    assert time.perf_counter() - start < 1.0
