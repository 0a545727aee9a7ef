"""What a csv file of a raw output says, which is also what is scored."""

from __future__ import annotations

import numpy as np

from output_format.contract import OutputFormat, VectorRows
from util.dialects import Dialect, as_written
from util.events import EventTable


def events_in_file(
    events: EventTable, dialect: Dialect, output_format: OutputFormat, raw: np.ndarray, thresholds: np.ndarray | float
) -> EventTable:
    """The events of a raw output as a reader of their csv file gets them.

    Dialect `dcase2019` has whole degrees and, of a network that regresses angles, those beyond 180 and 90 degrees too:
    the official scores differ between 207 and -153 degrees. Everywhere else events lie in [-180, 180) and [-90, 90].

    Parameters
    ----------
    events : those of the output, merged
    output_format : of the output, see `output_format.formats`
    thresholds : (classes,) or one number
    """
    rows = output_format.published_rows(raw, thresholds, frame_s=events.frame_s) if dialect.truncated else None
    return as_written(events if rows is None else rows, dialect)


def vector_text(rows: VectorRows) -> str:
    """The csv text `frame,class,0,x,y,z` that the DCASE baselines of 2020 to 2022 write; nothing active: empty.

    Numbers have the shortest decimal form of the double that holds the value of the network.
    """
    lines = zip(rows.frame.tolist(), rows.class_index.tolist(), rows.vector.astype(np.float64).tolist())
    return "".join(f"{frame},{index},0,{','.join(map(repr, vector))}\n" for frame, index, vector in lines)
