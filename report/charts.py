"""The figures of the evaluation page, as plain values that Plotly draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from dcase2022_task3_seld_metrics import Result
from dcase2022_task3_seld_metrics.score_table import SCORES
from report.analysis import Binned

RUN_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#332288", "#999933")
RUN_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "star", "hexagon", "pentagon", "cross")
_GREY = "#8a97a6"
_WITHIN = "20°"  # the angle threshold of the page
Figure = dict[str, Any]


def _plain(values: np.ndarray | Sequence[float]) -> list[float | None]:
    """Numbers for json: NaN becomes null, which Plotly leaves out."""
    return [None if not np.isfinite(value) else float(value) for value in np.asarray(values, dtype=np.float64)]


def _layout(**changes: Any) -> dict[str, Any]:
    layout = {
        "font": {
            "family": "system-ui, Segoe UI, Roboto, Helvetica Neue, Arial, sans-serif",
            "size": 13,
            "color": "#1b2430",
        },
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "margin": {"l": 60, "r": 20, "t": 36, "b": 50},
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "hoverlabel": {"font": {"size": 12.5}},
        "barmode": "group",
        "bargap": 0.3,
    }
    return {**layout, **changes}


def _axis(title: str = "", **changes: Any) -> dict[str, Any]:
    axis = {"gridcolor": "#e8edf2", "zerolinecolor": "#c9d2dc", "linecolor": "#c9d2dc", "automargin": True}
    return {**axis, "title": {"text": title, "font": {"size": 12.5, "color": "#5d6b7c"}}, **changes}


def _numbered(name: str, index: int) -> str:
    """Plotly's key of the index-th axis: xaxis, xaxis2 ..."""
    return name if index == 0 else f"{name}{index + 1}"


def score_figure(
    runs: Sequence[tuple[str, Result]], bounds: Sequence[tuple[str, Result]], scores: Sequence[str]
) -> Figure:
    """One panel per score: the runs with their intervals, floors and ceilings in grey, on common rows."""
    rows = [*(name for name, _ in runs), *(name for name, _ in bounds)]
    data, layout = (
        [],
        _layout(height=90 + 34 * len(rows), showlegend=False, margin={"l": 10, "r": 16, "t": 10, "b": 56}),
    )
    width, gap = 1 / len(scores), 0.028
    for panel, score in enumerate(scores):
        one = SCORES[score]
        title, factor = one.axis(_WITHIN), one.factor
        x, y = _numbered("x", panel), "y"
        for index, (name, result) in enumerate([*runs, *bounds]):
            value = factor * float(result.overall[score])
            interval = result.jackknife.overall[score]
            low, high = factor * float(interval.low), factor * float(interval.high)
            own = index < len(runs)
            sides = [value - low, high - value] if np.isfinite(low) and np.isfinite(high) else [0.0, 0.0]
            # the interval stands around the bias-corrected score, which may leave the score itself outside
            error = {"type": "data", "symmetric": False, "array": [max(0, sides[1])], "arrayminus": [max(0, sides[0])]}
            colour = RUN_COLOURS[index % len(RUN_COLOURS)] if own else _GREY
            own_error: Figure = {"error_x": {**error, "color": colour, "thickness": 2, "width": 5}} if own else {}
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": _plain([value]),
                    "y": [name],
                    "xaxis": x,
                    "yaxis": y,
                    "name": name,
                    "marker": {
                        "color": colour,
                        "size": 11 if own else 8,
                        "symbol": RUN_SYMBOLS[index % len(RUN_SYMBOLS)] if own else "line-ns-open",
                        "line": {"width": 2},
                    },
                    **own_error,
                    "hovertemplate": f"{name}<br>{title}: %{{x:.2f}}"
                    + (f"<br>95 % interval {low:.2f} to {high:.2f}" if own else "")
                    + "<extra></extra>",
                }
            )
        domain = [panel * width + (gap if panel else 0), (panel + 1) * width - gap / 2]
        layout[_numbered("xaxis", panel)] = _axis(
            f"{title}<br><i>{one.better} is better</i>",
            domain=domain,
            range=list(one.limits),
            rangemode="tozero",
            anchor="y",
        )
    layout["yaxis"] = _axis(type="category", categoryarray=rows[::-1], categoryorder="array", tickfont={"size": 12.5})
    return {"data": data, "layout": layout}


def class_figure(runs: Sequence[tuple[str, Result]], classes: Sequence[str]) -> Figure:
    """F and two more scores per class, one bar per run, with intervals; absent classes in brackets."""
    occurs = np.any([result.occurs for _, result in runs], axis=0)
    names = [name if there else f"({name})" for name, there in zip(classes, occurs)]
    data, layout = [], _layout(height=640, margin={"l": 60, "r": 20, "t": 40, "b": 110})
    joint = all("LE" in result.overall for _, result in runs)
    panels = ("F", "LR", "LE") if joint else ("F", "AngE", "RelDistE")
    for panel, score in enumerate(panels):
        title, factor = SCORES[score].axis(_WITHIN), SCORES[score].factor
        for index, (name, result) in enumerate(runs):
            if score not in result.classwise:
                continue
            values = factor * np.asarray(result.classwise[score], dtype=np.float64)
            shown = np.where(occurs, values, np.nan)
            if score == "LE":  # 180 degrees stands for 'nothing matched' and would hide the others
                shown = np.where(np.asarray(result.counts["DE_TP"]) > 0, shown, np.nan)
            bar = {
                "type": "bar",
                "x": names,
                "y": _plain(shown),
                "name": name,
                "legendgroup": name,
                "showlegend": panel == 0 and len(runs) > 1,
                "yaxis": _numbered("y", panel),
                "marker": {"color": RUN_COLOURS[index % len(RUN_COLOURS)]},
                "hovertemplate": f"{name}<br>%{{x}}: %{{y:.1f}}<extra></extra>",
            }
            interval = result.jackknife.classwise.get(score)
            if interval is not None and np.isfinite(np.asarray(interval.low)).any():
                # of few recordings an interval reaches beyond what a score can be
                most = SCORES[score].limits[1]
                reach = np.minimum(factor * np.asarray(interval.high), np.inf if most is None else most)
                top = np.maximum(reach - shown, 0)
                bottom = np.maximum(shown - np.maximum(factor * np.asarray(interval.low), 0), 0)
                bar["error_y"] = {
                    "type": "data",
                    "symmetric": False,
                    "array": _plain(top),
                    "arrayminus": _plain(bottom),
                    "color": "#3b4756",
                    "thickness": 1.2,
                    "width": 3,
                }
            data.append(bar)
        low, high = 1 - (panel + 1) / 3 + 0.02, 1 - panel / 3 - 0.02
        limit = [0, 105] if SCORES[score].unit == "%" else None
        layout[_numbered("yaxis", panel)] = _axis(
            title.replace(" / ", "<br>/ "),
            domain=[low, high],
            **({"range": limit} if limit else {"rangemode": "tozero"}),
        )
    layout["xaxis"] = _axis(anchor="y3", tickangle=-35, type="category")
    return {"data": data, "layout": layout}


def confusion_figure(matrix: np.ndarray, classes: Sequence[str], title: str) -> Figure:
    """A heat map, rows as percentages of what is in the reference; classes that nobody mentions are left out."""
    kept = np.flatnonzero((matrix.sum(axis=0)[:-1] + matrix.sum(axis=1)[:-1]) > 0).tolist()
    rows, columns = [*kept, len(classes)], [*kept, len(classes)]
    part = matrix[np.ix_(rows, columns)].astype(np.float64)
    total = part.sum(axis=1, keepdims=True)
    percent = 100 * np.divide(part, total, out=np.zeros_like(part), where=total > 0)
    names = [classes[index] for index in kept]
    text = [[f"{value:.0f}" if value >= 0.5 else "" for value in row] for row in percent]
    heat = {
        "type": "heatmap",
        "z": percent.tolist(),
        "x": [*names, "nothing there"],
        "y": [*names, "nothing there"],
        "text": text,
        "texttemplate": "%{text}",
        "textfont": {"size": 10.5},
        "customdata": part.astype(int).tolist(),
        "colorscale": [[0, "#f7f9fb"], [0.25, "#c6dcec"], [0.5, "#7fb3d5"], [0.75, "#2f7fb5"], [1, "#08426f"]],
        "zmin": 0,
        "zmax": 100,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"title": {"text": "% of row", "side": "right"}, "thickness": 12, "len": 0.6},
        "hovertemplate": "in the reference: %{y}<br>predicted there: %{x}<br>"
        "%{customdata} frame rows, %{z:.1f} % of the row<extra></extra>",
    }
    layout = _layout(
        height=150 + 27 * len(rows),
        title={"text": title, "font": {"size": 14}, "x": 0, "xanchor": "left"},
        margin={"l": 20, "r": 10, "t": 40, "b": 20},
        xaxis=_axis("predicted", tickangle=-40, showgrid=False, type="category"),
        yaxis=_axis("in the reference", autorange="reversed", showgrid=False, type="category"),
    )
    return {"data": [heat], "layout": layout}


def place_figure(runs: Sequence[tuple[str, dict[str, Binned]]]) -> Figure:
    """Median angular error (bars: quartiles) and recall against azimuth, elevation, number of sources and distance."""
    kinds = [kind for kind in ("azimuth", "elevation", "sources", "distance") if any(kind in b for _, b in runs)]
    titles = {
        "azimuth": "azimuth of the source",
        "elevation": "elevation of the source",
        "sources": "sources at once",
        "distance": "distance of the source",
    }
    data, layout = [], _layout(height=560, margin={"l": 60, "r": 20, "t": 40, "b": 110})
    shares = np.array([12.0 if kind == "azimuth" else 7.0 for kind in kinds])
    edges = np.concatenate([[0], np.cumsum(shares) / shares.sum()])
    for panel, kind in enumerate(kinds):
        for row in range(2):
            number = panel + row * len(kinds)
            for index, (name, bins) in enumerate(runs):
                if kind not in bins:
                    continue
                b = bins[kind]
                values = b.median if row == 0 else 100 * b.recall
                trace = {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "x": b.label,
                    "y": _plain(values),
                    "xaxis": _numbered("x", number),
                    "yaxis": _numbered("y", number),
                    "name": name,
                    "legendgroup": name,
                    "showlegend": number == 0 and len(runs) > 1,
                    "line": {"color": RUN_COLOURS[index % len(RUN_COLOURS)], "width": 2},
                    "marker": {"symbol": RUN_SYMBOLS[index % len(RUN_SYMBOLS)], "size": 7},
                    "customdata": [[int(c), int(r)] for c, r in zip(b.count, b.references)],
                    "hovertemplate": f"{name}<br>%{{x}}: %{{y:.1f}}<br>"
                    "%{customdata[0]} matched of %{customdata[1]} rows<extra></extra>",
                }
                if row == 0:
                    trace["error_y"] = {
                        "type": "data",
                        "symmetric": False,
                        "array": _plain(b.high - b.median),
                        "arrayminus": _plain(b.median - b.low),
                        "thickness": 1.1,
                        "width": 2,
                    }
                data.append(trace)
            left, right = edges[panel] + (0.035 if panel else 0), edges[panel + 1] - 0.005
            x = _axis(titles[kind] if row else "", domain=[left, right], anchor=_numbered("y", number), tickangle=-40)
            x["type"] = "category"  # or "1", "2" would be read as numbers
            if row == 0:
                x["showticklabels"] = False
            layout[_numbered("xaxis", number)] = x
            title = ("angular error / degrees<br>median, quartiles", "detected / %")[row] if panel == 0 else ""
            layout[_numbered("yaxis", number)] = _axis(
                title,
                domain=[0.54, 1] if row == 0 else [0, 0.46],
                anchor=_numbered("x", number),
                rangemode="tozero",
                **({"range": [0, 105]} if row else {}),
            )
    return {"data": data, "layout": layout}


def threshold_figure(runs: Sequence[tuple[str, dict[str, np.ndarray], float]], thresholds: Sequence[float]) -> Figure:
    """F and two more scores against one common threshold; precision against recall beside it."""
    data, layout = [], _layout(height=400)
    joint = all("LE" in curves for _, curves, _ in runs)
    scores = ("F", "LR", "SELD") if joint else ("F", "AngE", "RelDistE")
    panels = [(name, SCORES[name].factor, SCORES[name].axis(_WITHIN)) for name in scores]
    shapes = []
    for panel, (score, factor, title) in enumerate(panels):
        for index, (name, curves, used) in enumerate(runs):
            if score not in curves:
                continue
            colour = RUN_COLOURS[index % len(RUN_COLOURS)]
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "x": list(thresholds),
                    "y": _plain(factor * curves[score]),
                    "xaxis": _numbered("x", panel),
                    "yaxis": _numbered("y", panel),
                    "name": name,
                    "legendgroup": name,
                    "showlegend": panel == 0 and len(runs) > 1,
                    "line": {"color": colour, "width": 2},
                    "marker": {"symbol": RUN_SYMBOLS[index % len(RUN_SYMBOLS)], "size": 6},
                    "hovertemplate": f"{name}<br>threshold %{{x:.2f}}: %{{y:.2f}}<extra></extra>",
                }
            )
            if np.isfinite(used):
                line = {"color": colour, "width": 1.3, "dash": "dot"}
                axes = {"xref": _numbered("x", panel), "yref": f"{_numbered('y', panel)} domain"}
                shapes.append({"type": "line", "x0": used, "x1": used, "y0": 0, "y1": 1, "line": line, **axes})
        domain = [panel / 4 + (0.03 if panel else 0), (panel + 1) / 4 - 0.02]
        layout[_numbered("xaxis", panel)] = _axis(
            "activity threshold", domain=domain, anchor=_numbered("y", panel), range=[0, 1]
        )
        layout[_numbered("yaxis", panel)] = _axis(title, anchor=_numbered("x", panel), rangemode="tozero")
    for index, (name, curves, _) in enumerate(runs):
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": _plain(100 * curves["recall"]),
                "y": _plain(100 * curves["precision"]),
                "text": [f"{threshold:.2f}" for threshold in thresholds],
                "xaxis": "x4",
                "yaxis": "y4",
                "name": name,
                "legendgroup": name,
                "showlegend": False,
                "line": {"color": RUN_COLOURS[index % len(RUN_COLOURS)], "width": 2},
                "marker": {"symbol": RUN_SYMBOLS[index % len(RUN_SYMBOLS)], "size": 6},
                "hovertemplate": f"{name}<br>threshold %{{text}}: precision %{{y:.1f}}, "
                "recall %{x:.1f}<extra></extra>",
            }
        )
    layout["xaxis4"] = _axis("recall within 20° / %", domain=[0.78, 1], anchor="y4", range=[0, 100])
    layout["yaxis4"] = _axis("precision within 20° / %", anchor="x4", range=[0, 103])
    layout["shapes"] = shapes
    return {"data": data, "layout": layout}
