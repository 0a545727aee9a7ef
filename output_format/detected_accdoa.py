"""Multi-ACCDOA trained as detection and direction: the same output, another loss."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from output_format.multi_accdoa import VECTOR, MultiAccdoa, nearest_assignment

THRESHOLD = 0.6  # activities of active cells count twice in training, so that they lie high
AXES = len(VECTOR)
_NEAREST_M = 0.3  # errors of nearer sources count as if they were there
_NEAR = 1e-6  # logarithms of activities nearer to 0 and 1 than this are cut


def detection_direction_loss(
    output: Tensor,
    target: Tensor,
    *,
    direction_weight: float = 1.0,
    distance_weight: float = 0.3,
    positive: float = 2.0,
    reduction: str = "mean",
) -> Tensor:
    """Cross entropy of the vectors' lengths, and the squared chord of the directions where something sounds.

    Where tracks have a distance, its relative error there is added.

    The mean squared error of Multi-ACCDOA has a plateau at zero: where a direction is unknown, the best vector is a
    short one, whose gradient is short. Here what sounds is learnt without knowing where from, and directions count in
    active cells only, however few. Tracks are assigned as in ADPIT.

    Parameters
    ----------
    output : (batch, 3 tracks, 3 axes and perhaps the distance in metres, classes, frames), vectors no longer than 1
    target : (batch, 6 slots, as many, classes, frames)
    direction_weight, distance_weight : of the directions, of the distances
    positive : weight of active cells in the cross entropy
    reduction : "mean", or "window" for one value per item
    """
    if reduction not in ("mean", "window"):
        raise ValueError(f"reduction must be 'mean' or 'window', found '{reduction}'")
    output, target = output.float(), target.float()
    with torch.no_grad():
        chosen = nearest_assignment(output.detach(), target, AXES)
        active = (chosen[:, :, :AXES].square().sum(dim=2) > 0.25).float()
    made, output = output, output[:, :, :AXES]
    length = output.square().sum(dim=2).clamp(min=1e-10).sqrt()
    entropy = functional.binary_cross_entropy(length.clamp(_NEAR, 1 - _NEAR), active, reduction="none")
    entropy = entropy * (1 + (positive - 1) * active)
    off = (output / length.clamp(min=1e-5).unsqueeze(2) - chosen[:, :, :AXES]).square().sum(dim=2)
    off = direction_weight * off
    if made.shape[2] > AXES:
        off = off + distance_weight * (made[:, :, AXES] / chosen[:, :, AXES].clamp(min=_NEAREST_M) - 1).abs()
    off = off * active
    if reduction == "mean":
        return 10 * entropy.mean() + off.sum() / active.sum().clamp(min=1.0)
    found = off.flatten(1).sum(dim=1) / active.flatten(1).sum(dim=1).clamp(min=1.0)
    return 10 * entropy.flatten(1).mean(dim=1) + found


class DetectedAccdoa(MultiAccdoa):
    """Three tracks of vectors per class, perhaps with distances; trained by `detection_direction_loss`."""

    def __init__(self, classes: int, *, frame_s: float = 0.1, distance: bool = False):
        super().__init__(classes, frame_s=frame_s, elements=(*VECTOR, "distance") if distance else VECTOR)
        self.threshold = THRESHOLD

    def loss(self, output: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
        """Loss of a batch; reduction "mean", or "window" for one value per item."""
        return detection_direction_loss(output, target, reduction=reduction)
