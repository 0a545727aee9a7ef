"""The evaluation report: one HTML page that says how well runs do, where they fail, and what the scores are worth."""

from __future__ import annotations

import html
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dcase2022_task3_seld_metrics import Result
from dcase2022_task3_seld_metrics.editions import EDITIONS
from dcase2022_task3_seld_metrics.jackknife import Interval
from dcase2022_task3_seld_metrics.score_table import SCORES, in_order
from report import charts
from report.analysis import (
    ClipResult,
    EvaluatedRun,
    bounds,
    by_threshold,
    confusion,
    errors_by_place,
    paired,
    with_other_boxes,
)
from report.matching import match
from report.player import write_player
from report.shown import shown_of
from util.errors import InputError
from util.files import write_text

_TEMPLATES = Path(__file__).parent
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
_BOXES = {  # by --boxes of the evaluation
    "empty": "the same network that sees nobody: what the sound alone gives it",
    "other": "the same network that sees the people of another recording",
    "true": "the same network with a detector that misses nobody who sounds: ceiling of detection in the picture",
}


@dataclass(frozen=True)
class ClipRow:
    """One line of the table of clips.

    `frame_f` counts frame rows over all classes, as the player does; `official` is the score that the edition chooses
    a model by, of the recording alone.
    """

    clip: ClipResult
    frame_f: float
    angle_deg: float
    detected: float
    official: float


def write_report(
    path: str | os.PathLike[str], evaluations: Sequence[EvaluatedRun], *, players: int = 3, progress: bool = True
) -> int:
    """Write the page, and the players of the best and worst clips into a folder beside it.

    Parameters
    ----------
    evaluations : with class-wise official scores (editions from 2020 on); the first is what the others are compared
        with
    players : so many of the best and of the worst clips of each run get a player

    Returns
    -------
    Size of the page in bytes

    Raises
    ------
    InputError : the runs have other classes, or scores without classes; a file cannot be written
    """
    path = Path(path)
    _check(evaluations)
    named = [(one.name, one.result) for one in evaluations]
    steps = tqdm(total=5 + sum(len(one.clips) for one in evaluations), desc="report", leave=False, disable=not progress)
    first = evaluations[0]
    figures: dict[str, charts.Figure] = {}

    floors = bounds(first)
    variants = [
        (f"{one.name}, {other.name} boxes", _BOXES.get(other.name, "the same network, other boxes"), other.result)
        for one in evaluations
        for other in with_other_boxes(one)
    ]
    steps.update()
    below = [(name, result) for name, _, result in [*variants, *floors]]
    scores = in_order(set(first.scores).intersection(*(one.scores for one in evaluations)))
    figures["scores"] = charts.score_figure(named, below, scores)
    figures["classes"] = charts.class_figure(named, first.classes)
    steps.update()
    places = [(one.name, errors_by_place(one)) for one in evaluations]
    figures["places"] = charts.place_figure(places)
    steps.update()
    curves = [(one.name, by_threshold(one, THRESHOLDS), _common_threshold(one)) for one in evaluations]
    figures["thresholds"] = charts.threshold_figure(curves, THRESHOLDS)
    steps.update()
    for index, one in enumerate(evaluations):
        figures[f"confusion{index}"] = charts.confusion_figure(confusion(one), one.classes, one.name)
    steps.update()

    body = [
        _header(evaluations),
        _score_section(named, variants, floors, scores),
        _paired_section(evaluations, scores) if len(evaluations) > 1 else "",
        _figure_section(
            "classes",
            "Class by class",
            "Bars: scores of each class; lines: 95 % jackknife intervals over recordings. Classes in brackets do not "
            "occur in the reference; errors of the place are shown where something of the class was matched.",
        ),
        _confusion_section(evaluations),
        _figure_section(
            "places",
            "Where the errors are",
            "Rows of the reference by where the source is, how far, and how many sound at once. Above: angle between "
            "reference and prediction where the class was detected in that frame; below: share of rows detected.",
        ),
        _figure_section(
            "thresholds",
            "Detection against threshold",
            "Official scores with one activity threshold for all classes; dotted: the threshold of the run. Right: "
            "precision and recall of single frames within 20°.",
        ),
        _clip_section(path, evaluations, players, steps),
        _configuration_section(evaluations),
        "<footer>Made by <code>python -m report</code>; the page needs no network.</footer>",
    ]
    steps.close()
    title = "Evaluation of " + ", ".join(one.name for one in evaluations)
    return write_page(path, title, "\n".join(body), figures)


def _check(evaluations: Sequence[EvaluatedRun]) -> None:
    first = evaluations[0]
    for one in evaluations:
        if one.classes != first.classes:
            raise InputError("runs with other classes cannot stand beside each other", path=one.folder)
        if not one.result.classwise:
            raise InputError(f"scores of edition {one.edition[0]} have no classes; a report needs them")
    names = [one.name for one in evaluations]
    if len(set(names)) != len(names):
        raise InputError(f"runs must have different names, found {', '.join(names)}")


def write_page(path: Path, title: str, body: str, figures: dict[str, charts.Figure]) -> int:
    """Write a page that needs no network: `figures` are drawn into the elements of their names; its size in bytes."""
    from plotly.offline import get_plotlyjs

    parts = {
        "@TITLE@": html.escape(title),
        "@CSS@": (_TEMPLATES / "page.css").read_text(encoding="utf-8"),
        "@PLOTLY@": get_plotlyjs(),
        "@BODY@": body,
        "@FIGURES@": json.dumps(figures, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    page, pieces = (_TEMPLATES / "page.html").read_text(encoding="utf-8"), []
    for name, part in parts.items():  # in the order of the page
        before, page = page.split(name, 1)
        pieces += [before, part]
    write_text(path, "".join([*pieces, page]))
    return path.stat().st_size


# ---- sections --------------------------------------------------------------------------------------------------------


def _dot(index: int) -> str:
    return f'<span class="dot" style="background:{charts.RUN_COLOURS[index % len(charts.RUN_COLOURS)]}"></span>'


def _header(evaluations: Sequence[EvaluatedRun]) -> str:
    synthetic = any("synthetic" in remark for one in evaluations for remark in one.remarks)
    badge = '<span class="badge">synthetic data</span>' if synthetic else ""
    first = evaluations[0]
    minutes = sum(float(clip.description.get("duration_s", 0)) for clip in first.clips) / 60
    edition, average = first.edition
    about = (
        f"{len(first.clips)} recordings, {minutes:.1f} minutes, {len(first.classes)} classes. "
        f"Scores of DCASE {html.escape(edition)}, {html.escape(average)} average."
    )
    own = first.clips[0].description.get("edition") or edition
    if own != edition:
        shown = EDITIONS[own].has_classes
        without = "whose scores stand in its result file" if shown else "which has no scores of classes"
        about += f" (The run itself was scored by edition {html.escape(own)}, {without}.)"
    rows = []
    for index, one in enumerate(evaluations):
        said = " · ".join(html.escape(line) for line in one.remarks[:3]) or html.escape(str(one.folder))
        rows.append(f'<div class="run">{_dot(index)}<b>{html.escape(one.name)}</b><span>{said}</span></div>')
    links = (
        ("s-scores", "scores"),
        ("s-classes", "classes"),
        ("s-confusion", "confusion"),
        ("s-places", "errors by place"),
        ("s-thresholds", "thresholds"),
        ("s-clips", "recordings and players"),
        ("s-configuration", "configuration"),
    )
    nav = "".join(f'<a href="#{target}">{name}</a>' for target, name in links)
    return (
        f"<h1>Evaluation{badge}</h1><p class='about'>{about}</p><div class='runs'>{''.join(rows)}</div><nav>{nav}</nav>"
    )


def _number(score: str, value: float) -> str:
    if not np.isfinite(value):
        return "–"
    unit = {"%": "\u202f%"}.get(SCORES[score].unit, SCORES[score].unit)
    return SCORES[score].number(value) + unit


def _interval(score: str, result: Result) -> str:
    one = result.jackknife.overall[score]
    low, high = float(one.low), float(one.high)
    if not (np.isfinite(low) and np.isfinite(high)):
        return ""
    without_unit = _number(score, low).rstrip("\u202f%°")
    return f"{without_unit} to {_number(score, high)}"


def _score_section(
    named: Sequence[tuple[str, Result]],
    variants: Sequence[tuple[str, str, Result]],
    floors: Sequence[tuple[str, str, Result]],
    scores: Sequence[str],
) -> str:
    cards, titles = [], {score: _title(score, named[0][1]) for score in scores}
    for score in scores:
        values = "".join(
            f'<div class="value">{_dot(index)}<b data-score="{score}" data-run="{index}">'
            f"{_number(score, float(result.overall[score]))}</b><span>{_interval(score, result)}</span></div>"
            for index, (_, result) in enumerate(named)
        )
        cards.append(f'<div class="card"><div class="what">{titles[score]}</div>{values}</div>')
    header = "".join(f'<th class="number">{title}</th>' for title in titles.values())
    rows = []
    every = [(name, "", result, "") for name, result in named]
    every += [(name, text, result, "bound") for name, text, result in [*variants, *floors]]
    for name, text, result, kind in every:
        cells = "".join(
            f'<td class="number">{_number(score, float(result.overall[score]))}'
            f"<br><small>{_number(score, float(result.occurring.get(score, np.nan)))}</small></td>"
            for score in scores
        )
        explained = f"<br><small>{html.escape(text)}</small>" if text else ""
        rows.append(f'<tr class="{kind}"><td>{html.escape(name)}{explained}</td>{cells}</tr>')
    return (
        '<section id="s-scores"><h2>Scores, floors and ceilings</h2><p class="about">With 95 % jackknife intervals '
        "over recordings. Grey: what simple rules reach on the same labels (floors), and what the run would reach if "
        f'one half of its task were solved (ceilings).</p><div class="cards">{"".join(cards)}</div>'
        '<div id="scores" class="figure"></div><div class="scroll"><table><thead><tr><th>official average<br>'
        f"<small>small: over the classes that occur</small></th>{header}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _title(score: str, result: Result) -> str:
    """The label of a score; of distances with the unit of the edition."""
    unit = {"DistE": {1.0: " / m", 0.01: " / cm"}[result.settings.edition.distance_unit_m]}.get(score, "")
    return SCORES[score].title("20°") + unit


def _paired_section(evaluations: Sequence[EvaluatedRun], scores: Sequence[str]) -> str:
    first = evaluations[0]
    header = "".join(f'<th class="number">{_title(score, first.result)}</th>' for score in scores)
    rows = []
    for index, one in enumerate(evaluations[1:], start=1):
        name = f"{_dot(index)} {html.escape(one.name)}"
        try:
            comparison = paired(first.result, one.result)
        except InputError as error:
            rows.append(f"<tr><td>{name}</td><td colspan='{len(scores)}'>{html.escape(error.rule)}</td></tr>")
            continue
        common = len(comparison.first.files)
        kinds = [(f"{common} common recordings", comparison.by_recording)]
        if comparison.groups:
            kinds.append((f"{len(comparison.groups)} rooms", comparison.by_group))
        for text, intervals in kinds:
            cells = "".join(_difference_cell(score, intervals[score]) for score in scores)
            rows.append(f"<tr><td>{name}<br><small>by {text}</small></td>{cells}</tr>")
    return (
        f'<section id="s-paired"><h2>Differences from {html.escape(first.name)}</h2><p class="about">On the recordings '
        "that both have: the difference with its paired 95 % jackknife interval, leaving out one recording, or one "
        "room, of both at a time; bold where the interval does not hold zero. Recordings of one room resemble each "
        "other: the interval by room is the one to quote for new rooms.</p>"
        f'<div class="scroll"><table><thead><tr><th>run</th>{header}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div></section>"
    )


def _difference_cell(score: str, difference: Interval) -> str:
    low, high = float(difference.low), float(difference.high)
    clear = np.isfinite(low) and (low > 0 or high < 0)
    return (
        f'<td class="number{" clear" if clear else ""}">{_signed(score, float(difference.value))}<br>'
        f"<small>{_signed(score, low)} to {_signed(score, high)}</small></td>"
    )


def _signed(score: str, value: float) -> str:
    text = _number(score, abs(value))
    return text if text == "–" else ("+" if value >= 0 else "−") + text


def _figure_section(figure: str, title: str, about: str) -> str:
    return (
        f'<section id="s-{figure}"><h2>{title}</h2><p class="about">{about}</p>'
        f'<div id="{figure}" class="figure"></div></section>'
    )


def _confusion_section(evaluations: Sequence[EvaluatedRun]) -> str:
    maps = "".join(f'<div id="confusion{index}" class="figure"></div>' for index in range(len(evaluations)))
    return (
        '<section id="s-confusion"><h2>Confusion between classes</h2><p class="about">Per frame, what was predicted '
        "within 20° of each source of the reference, whatever its class (a prediction of the right class counts "
        "first). Last column: nothing was predicted there; last row: predictions where nothing sounds.</p>"
        f'<div class="{"pair" if len(evaluations) > 1 else ""}">{maps}</div></section>'
    )


def clip_rows(evaluation: EvaluatedRun) -> list[ClipRow]:
    """The clips of an evaluation, best frame-wise F first."""
    rows = []
    for clip in evaluation.clips:
        found = match(clip.reference, clip.estimated)
        correct = int(np.sum(found.estimated_status() == "correct"))
        size = len(clip.reference) + len(clip.estimated)
        paired = int(np.sum(found.reference >= 0))
        rows.append(
            ClipRow(
                clip,
                2 * correct / size if size else np.nan,
                float(np.nanmean(found.angle_deg)) if paired else np.nan,
                paired / len(clip.reference) if len(clip.reference) else np.nan,
                float(evaluation.result.per_file[clip.name].overall[EDITIONS[evaluation.edition[0]].best]),
            )
        )
    return sorted(rows, key=lambda row: (np.isnan(row.frame_f), -row.frame_f))


def _clip_section(path: Path, evaluations: Sequence[EvaluatedRun], players: int, steps: Any) -> str:
    folder = path.with_name(f"{path.stem}_players")
    tables = []
    best = SCORES[EDITIONS[evaluations[0].edition[0]].best]
    heads = ("frame F", "mean angle", "detected", f"official {best.label}")
    header = "".join(f'<th class="number">{name}</th>' for name in heads)
    for index, one in enumerate(evaluations):
        rows = clip_rows(one)
        chosen = {row.clip.name for row in [*rows[:players], *(rows[-players:] if players else [])]}
        lines = []
        for row in rows:
            name = html.escape(row.clip.name)
            if row.clip.name in chosen:
                player = folder / f"{one.name}_{row.clip.name}.html"
                write_clip_player(player, row.clip, evaluation=one)
                name = f'<a href="{html.escape(folder.name)}/{html.escape(player.name)}">{name} ▸</a>'
            steps.update()
            shown = f"{row.frame_f:.2f}", f"{row.angle_deg:.1f}°", f"{100 * row.detected:.0f} %"
            values = (*shown, _number(best.name, row.official))
            lines.append(f"<tr><td>{name}</td>{''.join(f'<td class=number>{value}</td>' for value in values)}</tr>")
        tables.append(
            f'<div class="scroll"><table><thead><tr><th>{_dot(index)} {html.escape(one.name)}</th>{header}</tr>'
            f"</thead><tbody>{''.join(lines)}</tbody></table></div>"
        )
    return (
        '<section id="s-clips"><h2>Recordings, best first</h2><p class="about">Frame F: single frames over all classes '
        "within 20°, as in the player; official: the score of the edition of the recording alone. ▸ opens a player "
        f'({players} best and worst of each run).</p><div class="{"pair" if len(evaluations) > 1 else ""}">'
        f"{''.join(tables)}</div></section>"
    )


def _configuration_section(evaluations: Sequence[EvaluatedRun]) -> str:
    keys = list(dict.fromkeys(key for one in evaluations for key in one.args))
    header = "".join(f"<th>{html.escape(one.name)}</th>" for one in evaluations)

    def row(key: str) -> tuple[bool, str]:
        values = [json.dumps(one.args.get(key), ensure_ascii=False) for one in evaluations]
        differs = len(set(values)) > 1
        cells = "".join(f"<td>{html.escape(value)}</td>" for value in values)
        return differs, f'<tr class="{"differs" if differs else ""}"><td>{html.escape(key)}</td>{cells}</tr>'

    rows = sorted((row(key) for key in keys), key=lambda one: not one[0])
    remarks = "".join(
        f"<h3>{html.escape(one.name)}</h3><pre>{html.escape(chr(10).join(one.remarks)) or 'no result file'}</pre>"
        for one in evaluations
    )
    table = (
        f"<details><summary>all settings{' (differing ones first)' if len(evaluations) > 1 else ''}</summary>"
        f'<div class="scroll"><table><thead><tr><th>setting</th>{header}</tr></thead><tbody>'
        f"{''.join(text for _, text in rows)}</tbody></table></div></details>"
    )
    return f'<section id="s-configuration"><h2>How the scores were made</h2>{remarks}{table if keys else ""}</section>'


def _common_threshold(evaluation: EvaluatedRun) -> float:
    """The threshold of the run where it is one for all classes, else NaN."""
    first = float(evaluation.thresholds[0])
    return first if np.all(evaluation.thresholds == first) else float("nan")


# ---- players ---------------------------------------------------------------------------------------------------------


def write_clip_player(path: Path, clip: ClipResult, *, evaluation: EvaluatedRun | None = None) -> int:
    """The player of one raw output; recording, video and boxes are embedded as `report.shown` finds them."""
    about = clip.description
    checkpoint = Path(about["checkpoint"]).name if about.get("checkpoint") else None
    said = [about.get("system"), clip.array.name.upper() if clip.array else None, checkpoint]
    synthetic = evaluation is not None and any("synthetic" in remark for remark in evaluation.remarks)
    subtitle = " · ".join([str(one) for one in said if one] + (["synthetic scene"] if synthetic else []))
    details = {key: about[key] for key in ("system", "checkpoint", "command", "recording", "video") if about.get(key)}
    with shown_of(clip) as shown:
        return write_player(
            path,
            candidates=clip.candidates,
            thresholds=np.asarray(about["thresholds"]),
            unification_deg=float(about["unification_deg"]),
            classes=about["classes"],
            title=clip.name,
            subtitle=subtitle,
            reference=clip.reference if about.get("labels") else None,
            **shown.files,
            array=clip.array,
            duration_s=float(about["duration_s"]) if about.get("duration_s") else None,
            details=details,
        )
