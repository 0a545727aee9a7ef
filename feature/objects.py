"""What is seen, as tokens: the direction, extent, score and class of every detected object at every look."""

from __future__ import annotations

import math

import torch
from torch import Tensor

AZIMUTH, ELEVATION, WIDTH, HEIGHT, SCORE, CLASS = range(6)  # angles in radians; class 0: no object, 1: person
TOKEN = 6


def object_tokens(boxes: Tensor) -> Tensor:
    """Boxes of people, or rows of objects, in a panorama as tokens.

    Parameters
    ----------
    boxes : (..., 4) x0, y0, x1, y1 as fractions of an equirectangular picture, of people; or (..., 6) with score and
        class besides (`util.objects`); rows of zeros are nothing. y0 is the side of the head: y0 > y1 of what stands
        on it, whose height is below 0

    Returns
    -------
    (..., 6) float32: azimuth, elevation, width, height in radians, score, class; rows of zeros are no object
    """
    x0, y0, x1, y1, *more = boxes.float().unbind(-1)
    there = (boxes != 0).any(dim=-1)
    azimuth, elevation = (0.5 - (x0 + x1) / 2) * 2 * math.pi, (0.5 - (y0 + y1) / 2) * math.pi
    width, height = (x1 - x0) * 2 * math.pi, (y1 - y0) * math.pi
    score, kind = more or (torch.ones_like(x0), torch.ones_like(x0))
    tokens = torch.stack((azimuth, elevation, width, height, score, kind), dim=-1)
    return torch.where(there[..., None], tokens, 0.0)
