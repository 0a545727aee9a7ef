"""Person boxes -> Gaussian-like vectors along both image axes, the visual input of the audio-visual network."""

from __future__ import annotations

import torch

POINTS = 37  # of each vector, over 0..1 of the image
SPREAD = POINTS // 2  # half the points, times the length of the box: the bell is 1/e at the borders of the box


def box_vectors(boxes: torch.Tensor) -> torch.Tensor:
    """Boxes as soft positions and extents: exp(-(k - 36 c)^2 / (18 l)^2) for k = 0..36, on the device of `boxes`.

    c is the centre and l the length of the box along the axis. As in the reference there is no factor 2 in the
    exponent, no normalisation and no wrap-around at the seam of a panorama. A row whose coordinates sum to 0 or less
    stays zero.

    Parameters
    ----------
    boxes : (..., 6, 4) x0, y0, x1, y1 as fractions of the image; a zero row is no box

    Returns
    -------
    (..., 2, 6, 37) float32; index 0 horizontal, 1 vertical. Computed in float64. A box of length 0 gives 1 where
    k = 36 c exactly and 0 elsewhere (the reference: NaN there).

    Source: sony/audio-visual-seld-dcase2023, the visual feature of its loader.
    """
    boxes = boxes.to(torch.float64)
    low, high = boxes[..., :2].mT, boxes[..., 2:].mT  # (..., 2, 6)
    k = torch.arange(POINTS, dtype=torch.float64, device=boxes.device)
    from_centre = k - ((low + high) / 2 * (POINTS - 1)).unsqueeze(-1)
    width = (SPREAD * (high - low)).unsqueeze(-1)
    bell = torch.exp(-(from_centre.square()) / width.square())
    bell = torch.where(from_centre == 0, 1.0, bell)  # 0 / 0 of a box without extent
    present = (boxes.sum(dim=-1) > 0)[..., None, :, None]
    return torch.where(present, bell, 0.0).to(torch.float32)
