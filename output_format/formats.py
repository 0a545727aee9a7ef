"""The output formats by name: the one table that npy2csv, report and checkpoints look them up in."""

from __future__ import annotations

from output_format.accdoa import Accdoa
from output_format.aligned import Aligned, AlignedTracks
from output_format.general_modules import Detection, Directions, Votes
from output_format.multi_accdoa import MultiAccdoa
from output_format.sed_doa import SedDoa
from output_format.sed_vector import SedVector
from output_format.two_stage import TwoStage

OUTPUT_FORMATS = {
    output_format.name: output_format
    for output_format in (
        MultiAccdoa,
        Accdoa,
        SedDoa,
        SedVector,
        TwoStage,
        Detection,
        Directions,
        Votes,
        Aligned,
        AlignedTracks,
    )
}
