"""What a search for better settings found: its table, its figures, its page."""

from __future__ import annotations

import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dcase2022_task3_seld_metrics.score_table import SCORES, SCORES_BY_KEY
from report.charts import RUN_COLOURS, RUN_SYMBOLS, Figure
from report.page import write_page
from util.files import write_text

_SELD = SCORES["SELD"]
_SELD_AXIS = f"{_SELD.axis()}, {_SELD.better} is better"
_BEST = "#D55E00"


@dataclass(frozen=True)
class TrialRow:
    """One trial of a search.

    Attributes
    ----------
    number, index : of the stage from 1, of the combination in its grid from 0
    values : what the stage varied
    settings, flags : everything that was trained with
    state : "scored"; "same" (scored in an earlier stage, not trained again); "impossible" (cannot be built);
        "no score" (not a number)
    scores : of the best epoch on the recordings that choose, fractions and degrees
    parameters : of the network, moving statistics of batch norms included
    epochs, best_epoch : trained, and the one of the scores, from 1
    seconds : of training and scoring
    seed : of weights and order
    curve : SELD error after each epoch
    note : why it is impossible, or where the same was scored
    """

    stage: str
    number: int
    index: int
    values: Mapping[str, Any]
    settings: Mapping[str, Any]
    flags: Mapping[str, Any]
    state: str
    scores: Mapping[str, float] = field(default_factory=dict)
    parameters: int | None = None
    epochs: int = 0
    best_epoch: int | None = None
    seconds: float = 0.0
    seed: int = 0
    curve: Sequence[float] = field(default_factory=list)
    note: str = ""

    @property
    def seld(self) -> float:
        """SELD error; infinity where there is no score, so that it never wins."""
        return float(self.scores[_SELD.key]) if _SELD.key in self.scores else float("inf")

    @property
    def label(self) -> str:
        """The varied values in short: "gru · rnn units 128 · rnn layers 2"."""
        return " · ".join(_short(name, value) for name, value in self.values.items())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a database."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TrialRow:
        """The row of `to_dict`."""
        return cls(**content)


def _short(name: str, value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"{name.replace('_', ' ')} [" + ", ".join(f"{item:g}" for item in value) + "]"
    if isinstance(value, bool):
        return f"{name} {'on' if value else 'off'}"
    if isinstance(value, str):
        return value
    return f"{name.replace('_', ' ')} {value:g}"


def scores_of(rows: Sequence[TrialRow]) -> list[str]:
    """Names of the scores that occur, in their order."""
    return [name for name in SCORES_BY_KEY if any(name in row.scores for row in rows)]


def best_row(rows: Sequence[TrialRow]) -> TrialRow | None:
    """The row with the lowest SELD error; of equal ones the smaller network, then the earlier."""
    scored = [row for row in rows if row.scores]
    return min(scored, key=lambda row: (row.seld, row.parameters or 0), default=None)


def winners(rows: Sequence[TrialRow]) -> dict[int, TrialRow]:
    """Stage number -> the best row up to and with this stage, which the next one starts from."""
    found: dict[int, TrialRow] = {}
    for number in sorted({row.number for row in rows}):
        best = best_row([row for row in rows if row.number <= number])
        if best is not None:
            found[number] = best
    return found


def table(rows: Sequence[TrialRow]) -> list[dict[str, str]]:
    """The rows as people read them: one dictionary of texts per trial."""
    chosen = {id(row) for row in winners(rows).values()}
    made = []
    for row in rows:
        line = {"stage": f"{row.number} {row.stage}", "settings": row.label}
        for name in scores_of(rows):
            score = SCORES_BY_KEY[name]
            line[score.heading] = score.number(row.scores[name]) if name in row.scores else ""
        line["parameters"] = "" if row.parameters is None else f"{row.parameters:,}"
        line["epoch"] = f"{row.best_epoch} of {row.epochs}" if row.best_epoch else ""
        line["seconds"] = f"{row.seconds:.0f}" if row.state in ("scored", "no score") else ""
        line["seed"] = str(row.seed)
        line["note"] = ("best so far" if id(row) in chosen else "") + ("; " if row.note and id(row) in chosen else "")
        line["note"] += row.note or ("" if row.state == "scored" else row.state)
        made.append(line)
    return made


class Table(list[dict[str, Any]]):
    """Lines (dictionaries of one set of keys) that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return _html_table([{head: str(value) for head, value in line.items()} for line in self]) if self else ""


def markdown(rows: Sequence[TrialRow]) -> str:
    """The table as Markdown."""
    lines = table(rows)
    if not lines:
        return "no trial yet\n"
    heads = list(lines[0])
    right = {"settings", "stage", "note"}
    text = ["| " + " | ".join(heads) + " |", "|" + "|".join("---" if head in right else "--:" for head in heads) + "|"]
    text += ["| " + " | ".join(line[head].replace("|", "/") for head in heads) + " |" for line in lines]
    return "\n".join(text) + "\n"


def csv_text(rows: Sequence[TrialRow]) -> str:
    """The table for programs: plain numbers, all settings as json."""
    names = scores_of(rows)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["stage_number", "stage", "trial", "state", "values", *names, "parameters", "best_epoch", "epochs", "seconds"]
        + ["seed", "settings", "flags", "note"]
    )
    for row in rows:
        plain = [json.dumps(one) for one in (row.values, row.settings, row.flags)]
        scores = [repr(float(row.scores[name])) if name in row.scores else "" for name in names]
        about = [row.parameters, row.best_epoch, row.epochs, f"{row.seconds:.2f}", row.seed]
        writer.writerow([row.number, row.stage, row.index, row.state, plain[0], *scores, *about, *plain[1:], row.note])
    return file.getvalue()


# ---- figures ---------------------------------------------------------------------------------------------------------

_FONT = {"family": "system-ui, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif", "size": 13, "color": "#1b2430"}


def _axis(title: str, **changes: Any) -> dict[str, Any]:
    axis = {"gridcolor": "#e8edf2", "zerolinecolor": "#c9d2dc", "linecolor": "#c9d2dc", "automargin": True}
    return {**axis, "title": {"text": title, "font": {"size": 12.5, "color": "#5d6b7c"}}, **changes}


def _whole(most: int) -> dict[str, Any]:
    """Ticks at whole numbers from 1."""
    return {"tickmode": "linear", "tick0": 1, "dtick": max(1, round(most / 12)), "range": [0.5, most + 0.5]}


def _layout(**changes: Any) -> dict[str, Any]:
    white = {"paper_bgcolor": "#ffffff", "plot_bgcolor": "#ffffff"}
    return {"font": _FONT, **white, "height": 380, "margin": {"l": 60, "r": 20, "t": 30, "b": 50}, **changes}


def _hover(row: TrialRow) -> str:
    scores = [SCORES_BY_KEY[name].line(value) for name, value in row.scores.items() if name in SCORES_BY_KEY]
    size = f"{row.parameters:,} parameters, " if row.parameters else ""
    return "<br>".join([f"{row.number} {row.stage}: {row.label}", *scores, f"{size}{row.seconds:.0f} s"])


def stage_figure(rows: Sequence[TrialRow], number: int) -> Figure:
    """SELD error of every combination of a stage beside the learning curves of what was trained."""
    own = [row for row in rows if row.number == number and row.scores]
    best = best_row(own)
    before = best_row([row for row in rows if row.number < number])
    names = [row.label for row in own]
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "x": [row.seld for row in own],
            "y": names,
            "text": [_hover(row) for row in own],
            "hovertemplate": "%{text}<extra></extra>",
            "showlegend": False,
            "marker": {
                "size": [15 if row is best else 10 for row in own],
                "symbol": ["star" if row is best else "circle" for row in own],
                "color": [_BEST if row is best else RUN_COLOURS[0] for row in own],
            },
        }
    ]
    for index, row in enumerate(own):
        if len(row.curve) > 1 and row.state == "scored":
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "x": list(range(1, len(row.curve) + 1)),
                    "y": [None if value != value else value for value in row.curve],
                    "xaxis": "x2",
                    "yaxis": "y2",
                    "name": row.label,
                    "line": {"color": RUN_COLOURS[index % len(RUN_COLOURS)], "width": 3 if row is best else 1.5},
                    "marker": {"symbol": RUN_SYMBOLS[index % len(RUN_SYMBOLS)], "size": 6},
                }
            )
    layout = _layout(
        height=max(360, 110 + 26 * len(own)),
        xaxis=_axis(_SELD_AXIS, domain=[0, 0.42]),
        yaxis=_axis("", type="category", categoryorder="array", categoryarray=names[::-1]),
        xaxis2=_axis("epoch", domain=[0.52, 1], anchor="y2", **_whole(max((row.epochs for row in own), default=1))),
        yaxis2=_axis(_SELD.axis(), anchor="x2"),
        legend={"font": {"size": 11.5}},
    )
    if before is not None:
        line = {"color": "#8a97a6", "width": 1.4, "dash": "dot"}
        at = {"x0": before.seld, "x1": before.seld, "y0": 0, "y1": 1, "yref": "y domain"}
        layout["shapes"] = [{"type": "line", "line": line, **at}]
        text = {"text": "best before", "showarrow": False, "font": {"size": 11, "color": "#5d6b7c"}}
        layout["annotations"] = [{**text, "x": before.seld, "y": 1.0, "yref": "y domain", "yanchor": "bottom"}]
    return {"data": data, "layout": layout}


def size_figure(rows: Sequence[TrialRow]) -> Figure:
    """SELD error against the size of the network, one symbol per stage."""
    data = []
    for index, number in enumerate(sorted({row.number for row in rows})):
        own = [row for row in rows if row.number == number and row.scores and row.parameters]
        if own:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [row.parameters for row in own],
                    "y": [row.seld for row in own],
                    "name": f"{number} {own[0].stage}",
                    "text": [_hover(row) for row in own],
                    "hovertemplate": "%{text}<extra></extra>",
                    "marker": {
                        "color": RUN_COLOURS[index % len(RUN_COLOURS)],
                        "symbol": RUN_SYMBOLS[index % len(RUN_SYMBOLS)],
                        "size": 10,
                    },
                }
            )
    layout = _layout(xaxis=_axis("parameters", type="log"), yaxis=_axis(_SELD_AXIS), showlegend=True)
    return {"data": data, "layout": layout}


def progress_figure(rows: Sequence[TrialRow]) -> Figure:
    """SELD error of the trials in the order of the search, and the best so far."""
    scored = [row for row in rows if row.scores]
    best, lowest = [], float("inf")
    for row in scored:
        lowest = min(lowest, row.seld)
        best.append(lowest)
    order = list(range(1, len(scored) + 1))
    step: Figure = {"type": "scatter", "mode": "lines", "x": order, "y": best, "name": "best so far"}
    step |= {"line": {"color": _BEST, "width": 2, "shape": "hv"}, "hoverinfo": "skip"}
    dots: Figure = {
        "type": "scatter",
        "mode": "markers",
        "x": order,
        "y": [row.seld for row in scored],
        "name": "trial",
    }
    dots |= {"text": [_hover(row) for row in scored], "hovertemplate": "%{text}<extra></extra>"}
    dots |= {"marker": {"color": [RUN_COLOURS[(row.number - 1) % len(RUN_COLOURS)] for row in scored], "size": 9}}
    layout = _layout(
        xaxis=_axis("trial, coloured by stage", **_whole(len(scored))),
        yaxis=_axis(_SELD_AXIS),
        showlegend=False,
    )
    return {"data": [dots, step], "layout": layout}


# ---- files -----------------------------------------------------------------------------------------------------------


def write_tables(folder: Path, rows: Sequence[TrialRow], remarks: Sequence[str]) -> None:
    """tuning.csv and tuning.md, with what was searched below the table."""
    write_text(folder / "tuning.csv", csv_text(rows))
    write_text(folder / "tuning.md", markdown(rows) + "".join(f"\n- {remark}" for remark in remarks) + "\n")


def write_tuning_page(path: Path, rows: Sequence[TrialRow], abouts: Mapping[int, str], remarks: Sequence[str]) -> int:
    """The page of a search; its size in bytes.

    Parameters
    ----------
    abouts : stage number -> what it varies, in words
    remarks : data, budget, choice, command
    """
    figures = {"progress": progress_figure(rows), "size": size_figure(rows)}
    body = ["<h1>Search for better settings</h1>"]
    body.append(
        "<section>" + "".join(f'<p class="about">{html.escape(remark)}</p>' for remark in remarks) + "</section>"
    )
    body.append(_section("Progress", "The next stage starts from the best so far.", "progress"))
    body.append(_section("Score against size", "A larger network is not a better one by itself.", "size"))
    for number in sorted({row.number for row in rows}):
        own = [row for row in rows if row.number == number]
        figures[f"stage{number}"] = stage_figure(rows, number)
        lines = [_without_stage(line) for line, row in zip(table(rows), rows) if row.number == number]
        body.append(_section(f"{number} {own[0].stage}", abouts.get(number, ""), f"stage{number}", _html_table(lines)))
    body.append("<footer>Made by <code>python seld.py -tune</code>; the page needs no network.</footer>")
    return write_page(path, "Search for better settings", "\n".join(body), figures)


def _section(title: str, about: str, figure: str, below: str = "") -> str:
    return (
        f'<section><h2>{html.escape(title)}</h2><p class="about">{html.escape(about)}</p>'
        f'<div id="{figure}" class="figure"></div>{below}</section>'
    )


def _without_stage(line: Mapping[str, str]) -> dict[str, str]:
    return {head: text for head, text in line.items() if head != "stage"}


def _html_table(lines: Sequence[Mapping[str, str]]) -> str:
    heads = list(lines[0])
    top = "".join(f"<th>{html.escape(head)}</th>" for head in heads)
    rows = ["".join(f"<td>{html.escape(line[head])}</td>" for head in heads) for line in lines]
    return f'<div class="scroll"><table><tr>{top}</tr>' + "".join(f"<tr>{row}</tr>" for row in rows) + "</table></div>"
