"""One line about each recording that is predicted: what the doctor sees in some seconds of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from dataset.recordings import Recording
from doctor.check import SILENT_RMS, Finding, of_ambisonics, of_length, of_levels
from doctor.sound import Directions, Intensity, Levels, levels_of, scan
from util.channels import Channels
from util.microphone_arrays import Array

LOOKED_AT_S = 20.0  # of longer recordings, a second at a time: what it takes stays below a tenth of a second


def listen(path: Path, array: Array, channels: Channels) -> tuple[Levels, Directions | None]:
    """Levels, and of Ambisonics directions, of a recording, of some seconds of a long one.

    Raises
    ------
    InputError : as `util.audio.read_audio`
    """
    if array.kind != "ambisonics":  # delays between capsules take long, and say nothing here
        return levels_of(path, matrix=channels.matrix, most_s=LOOKED_AT_S), None
    return scan(path, array, matrix=channels.matrix, most_s=LOOKED_AT_S)


def health(
    recording: Recording,
    video: Path | None,
    heard: tuple[Levels, Directions | None],
    trained_dbfs: float | None,
    gain_db: float,
) -> str:
    """What is to be known of a recording, in a line.

    Parameters
    ----------
    heard : of `listen`, before any gain
    trained_dbfs : level of the training recordings of the checkpoint, None: unknown
    gain_db : that is applied
    """
    levels, evidence = heard
    findings: list[Finding] = list(
        of_levels(recording, levels, trained_dbfs=None if trained_dbfs is None else trained_dbfs - gain_db)
    )
    if isinstance(evidence, Intensity) and (levels.rms > SILENT_RMS).all():
        findings += of_ambisonics(recording.audio, evidence)
    if video is not None:
        findings += [
            replace(finding, rule=f"{video.name} {finding.rule}")
            for finding in of_length(replace(recording, video=video))
        ]
    peak_db = 20 * np.log10(max(float(levels.peak.max(initial=0.0)), 1e-10))
    parts = [f"level {levels.level_dbfs:.0f} dBFS, peak {peak_db:.0f} dBFS"]
    if gain_db:
        parts.append(f"{gain_db:+.1f} dB of gain applied")
    parts += [finding.rule + finding.in_brackets for finding in findings]
    return "; ".join(parts) + ("" if findings else ": nothing wrong seen")
