"""People in a picture over time, and which of them a sound comes from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from report.tracks import LinkedEvent, link_events
from util.angles import angle_between_deg, direction_from_degrees
from util.boxes import BoxTrack
from util.events import EventTable
from util.placement import Placement

NEAR_DEG = 20.0  # a voice is so near to where the upper part of the box is
_LEAST_SHARE = 0.5  # of a track's frames
_GAP_S, _JUMP_DEG = 1.0, 20.0
_SHORTEST_S = 0.5  # a box that is seen for less is nobody


@dataclass(frozen=True)
class People:
    """Boxes linked into people: rows of `table` are boxes, `box` (n, 4) their places in the picture."""

    table: EventTable
    box: np.ndarray
    events: list[LinkedEvent]

    @classmethod
    def of(cls, track: BoxTrack, placement: Placement, frames: int, frame_s: float) -> People:
        """People of a video, at the middles of the frames of its sound."""
        video_s = placement.video_times_s((np.arange(frames) + 0.5) * frame_s)
        seen = track.held().at(np.maximum(video_s, 0))
        turned = placement.turned(seen).astype(np.float64)
        frame, place = np.nonzero(seen.any(axis=-1) & (video_s >= 0)[:, None])
        x0, y0, x1, y1 = np.moveaxis(turned[frame, place], -1, 0)
        table = EventTable.make(
            frame=frame,
            class_index=np.zeros(len(frame)),
            azimuth_deg=180 - 180 * (x0 + x1),
            elevation_deg=90 - 180 * (0.8 * y0 + 0.2 * y1),
            frame_s=frame_s,
        )
        events = link_events(table, max_gap_s=_GAP_S, max_jump_deg=_JUMP_DEG)
        events = [event for event in events if event.end_s - event.start_s >= _SHORTEST_S]
        return cls(table, seen[frame, place], events)

    def nearest(self, heard: EventTable) -> dict[str, Any] | None:
        """The person whom the rows of a track come from; None where nobody is near for half of them.

        Returns
        -------
        name ("person 1": in the order in which they are first seen), share of the rows, median angle in degrees, and
        the median box there: x0, y0, x1, y1 as fractions of the picture
        """
        place = {
            (number, int(self.table.frame[row])): row for number, one in enumerate(self.events) for row in one.rows
        }
        found: list[tuple[int, float, int]] = []
        direction = direction_from_degrees(heard.azimuth_deg, heard.elevation_deg).reshape(-1, 3)
        where = direction_from_degrees(self.table.azimuth_deg, self.table.elevation_deg).reshape(-1, 3)
        for one, frame in zip(direction, heard.frame.tolist()):
            rows = [(number, place[number, frame]) for number in range(len(self.events)) if (number, frame) in place]
            if rows:
                angles = angle_between_deg(one, where[[row for _, row in rows]])
                best = int(np.argmin(angles))
                if angles[best] <= NEAR_DEG:
                    found.append((rows[best][0], float(angles[best]), rows[best][1]))
        if not found:
            return None
        person, count = Counter(number for number, _, _ in found).most_common(1)[0]
        if count < _LEAST_SHARE * len(heard):
            return None
        mine = [(angle, row) for number, angle, row in found if number == person]
        box = np.median(self.box[[row for _, row in mine]], axis=0)
        return {
            "name": f"person {person + 1}",
            "share": round(count / len(heard), 3),
            "angle_deg": round(float(np.median([angle for angle, _ in mine])), 1),
            "box": [round(float(value), 4) for value in box],
        }
