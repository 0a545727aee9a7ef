"""From frames to events: rows of one source linked over time, written as json and as Audacity labels."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from util.angles import angle_between_deg, degrees_from_direction, direction_from_degrees
from util.events import EventTable
from util.files import write_text

MAX_GAP_S = 0.3
MAX_JUMP_DEG = 30.0


@dataclass(frozen=True)
class LinkedEvent:
    """One event of one source.

    Attributes
    ----------
    rows : (n,) rows of the table it was linked from, by frame
    track : number of the lane: events with the same number never overlap in time
    """

    class_index: int
    start_s: float
    end_s: float
    track: int
    rows: np.ndarray


@dataclass
class _Open:
    class_index: int
    rows: list[int] = field(default_factory=list)


def link_events(
    table: EventTable, *, max_gap_s: float = MAX_GAP_S, max_jump_deg: float = MAX_JUMP_DEG
) -> list[LinkedEvent]:
    """Link the rows of a table into events, ordered by start.

    In every frame the rows of a class are assigned to the open events of that class so that the sum of angles is
    smallest; a row farther than `max_jump_deg` from every open event begins a new one.

    Parameters
    ----------
    max_gap_s : an event goes on over a pause up to this long
    max_jump_deg : how far a source may seem to move between two of its frames
    """
    direction = direction_from_degrees(table.azimuth_deg, table.elevation_deg).reshape(-1, 3)
    gap = max_gap_s / table.frame_s + 1 + 1e-6
    order = np.lexsort((table.class_index, table.frame))
    cell = np.stack([table.frame[order], table.class_index[order]], axis=1)
    starts = np.flatnonzero(np.any(np.diff(cell, axis=0, prepend=cell[:1] - 1), axis=1)).tolist()
    # plain numbers: most frames hold one row of a class and one open event, where arrays cost more than they save
    frame, class_index, vector, order = (
        table.frame.tolist(),
        table.class_index.tolist(),
        direction.tolist(),
        order.tolist(),
    )
    finished: list[_Open] = []
    running: dict[int, list[_Open]] = {}
    for start, end in zip(starts, [*starts[1:], len(order)]):
        rows = order[start:end]
        now, index = frame[rows[0]], class_index[rows[0]]
        alive: list[_Open] = []
        for event in running.get(index, ()):
            (alive if now - frame[event.rows[-1]] <= gap else finished).append(event)
        pairs: list[tuple[int, int]] = []
        if len(alive) == len(rows) == 1:
            if _angle_deg(vector[alive[0].rows[-1]], vector[rows[0]]) <= max_jump_deg:
                pairs = [(0, 0)]
        elif alive:
            last = direction[[event.rows[-1] for event in alive]]
            angle = angle_between_deg(last[:, None], direction[rows][None])
            # Beyond the largest jump a pair costs so much that no other pair is given up for it.
            allowed = np.where(angle <= max_jump_deg, angle, 1e6)
            pairs = [pair for pair in zip(*linear_sum_assignment(allowed)) if angle[pair] <= max_jump_deg]
        for number, column in pairs:
            alive[number].rows.append(rows[column])
        taken = {column for _, column in pairs}
        alive += [_Open(index, [row]) for column, row in enumerate(rows) if column not in taken]
        running[index] = alive
    finished += [event for events in running.values() for event in events]
    finished.sort(key=lambda event: (frame[event.rows[0]], event.class_index, event.rows[0]))
    return _in_lanes(finished, table)


def _angle_deg(first: Sequence[float], second: Sequence[float]) -> float:
    """As `util.angles.angle_between_deg`, of two vectors of three plain numbers."""
    (a, b, c), (x, y, z) = first, second
    cross = math.hypot(b * z - c * y, c * x - a * z, a * y - b * x)
    return math.degrees(math.atan2(cross, a * x + b * y + c * z))


def _in_lanes(events: list[_Open], table: EventTable) -> list[LinkedEvent]:
    """The events with the lowest lane that is free at their start."""
    lanes: list[int] = []  # first free frame of each lane
    linked = []
    for event in events:
        first, end = int(table.frame[event.rows[0]]), int(table.frame[event.rows[-1]]) + 1
        lane = next((number for number, free in enumerate(lanes) if free <= first), len(lanes))
        lanes[lane : lane + 1] = [end]
        times = round(first * table.frame_s, 6), round(end * table.frame_s, 6)
        linked.append(LinkedEvent(event.class_index, *times, lane, np.array(event.rows)))
    return linked


def events_as_json(
    events: Sequence[LinkedEvent],
    table: EventTable,
    classes: Sequence[str],
    extra: Sequence[Mapping[str, Any]] = (),
    **about: Any,
) -> dict[str, Any]:
    """Plain values of events.json: what `about` says, then the events, what `extra` says of each, and trajectories.

    Angles in degrees (0.01), distances in metres (0.01), times in seconds; the time of a trajectory point is the middle
    of its frame.
    """
    known = not np.isnan(table.distance_m).all()
    every = {
        "time_s": np.round((table.frame + 0.5) * table.frame_s, 4),
        "azimuth_deg": np.round(table.azimuth_deg, 2),
        "elevation_deg": np.round(table.elevation_deg, 2),
        **({"distance_m": np.round(table.distance_m, 2)} if known else {}),
    }
    out = []
    for number, event in enumerate(events):
        rows = event.rows
        columns = {name: values[rows] for name, values in every.items()}
        if known and np.isnan(columns["distance_m"]).any():
            del columns["distance_m"]
        one: dict[str, Any] = {
            "class": classes[event.class_index],
            "class_index": event.class_index,
            "start_s": event.start_s,
            "end_s": event.end_s,
            "track": event.track,
        }
        if not np.isnan(table.activity[rows]).all():
            one["activity"] = round(float(np.nanmean(table.activity[rows])), 4)
        one |= extra[number] if extra else {}
        out.append({**one, "trajectory": {name: values.tolist() for name, values in columns.items()}})
    return {**about, "frame_s": table.frame_s, "classes": list(classes), "events": out}


def write_events_json(
    path: str | os.PathLike[str],
    table: EventTable,
    classes: Sequence[str],
    *,
    events: Sequence[LinkedEvent] | None = None,
    extra: Sequence[Mapping[str, Any]] = (),
    recording: str = "",
    **about: Any,
) -> None:
    """Write events.json, whole or not at all, one event a line.

    Parameters
    ----------
    events : rows of the table linked already; None: they are linked here
    extra : what is said of each event besides
    """
    events = link_events(table) if events is None else events
    content = events_as_json(events, table, classes, extra, recording=recording, **about)
    lines = [json.dumps(one) for one in content.pop("events")]
    head = json.dumps(content, indent=1).removesuffix("\n}")
    write_text(path, head + ',\n "events": [\n' + ",\n".join(f"  {line}" for line in lines) + "\n ]\n}\n")


def write_audacity_labels(
    path: str | os.PathLike[str],
    table: EventTable,
    classes: Sequence[str],
    *,
    events: Sequence[LinkedEvent] | None = None,
    names: Sequence[str] | None = None,
) -> None:
    """Write a label track that Audacity imports (start, end, text; tab separated).

    The text is the class and the mean direction: "female speech  az +35 el -5".

    Parameters
    ----------
    events : rows of the table linked already; None: they are linked here
    names : of each event; None: those of the classes
    """
    direction = direction_from_degrees(table.azimuth_deg, table.elevation_deg).reshape(-1, 3)
    lines = []
    for number, event in enumerate(link_events(table) if events is None else events):
        azimuth_deg, elevation_deg = degrees_from_direction(direction[event.rows].mean(axis=0))
        name = (classes[event.class_index] if names is None else names[number]).replace("\t", " ").replace("\n", " ")
        text = f"{name}  az {float(azimuth_deg):+.0f} el {float(elevation_deg):+.0f}"
        lines.append(f"{event.start_s:.3f}\t{event.end_s:.3f}\t{text}\n")
    write_text(path, "".join(lines))
