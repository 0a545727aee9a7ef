"""YOLOX's training loss: which anchors answer for which box (SimOTA), and what they are taught."""

from __future__ import annotations

import torch
from torch.nn import functional

RADIUS = 1.5  # cells around a box's centre that may answer for it
CANDIDATES = 10
IOU_WEIGHT = 3.0  # of the overlap against the class in the matching cost
BOX_WEIGHT = 5.0  # of the overlap in the loss


def decode(raw: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Raw (..., anchors, >= 4) -> boxes (..., anchors, 4) x0, y0, x1, y1 in input pixels.

    `anchors` (anchors, 3): column, row, stride.
    """
    centre = (raw[..., :2] + anchors[:, :2]) * anchors[:, 2:]
    half = raw[..., 2:4].exp() * anchors[:, 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def pair_iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union of boxes (..., 4), broadcast."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    common = (high - low).clamp(min=0).prod(-1)
    areas = (first[..., 2:] - first[..., :2]).prod(-1) + (second[..., 2:] - second[..., :2]).prod(-1)
    return common / (areas - common).clamp(min=1e-9)


@torch.no_grad()
def assign(
    raw: torch.Tensor, boxes: torch.Tensor, truth: torch.Tensor, anchors: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """SimOTA for one picture and one class: anchors that answer, the true box of each, and their overlap.

    Parameters
    ----------
    raw : (anchors, 6) logits
    boxes : (anchors, 4) decoded
    truth : (n, 4) true boxes, n > 0

    Returns
    -------
    index (k,) of anchors, matched (k,) rows of `truth`, iou (k,)
    """
    points = (anchors[:, :2] + 0.5) * anchors[:, 2:]
    centre = (truth[:, :2] + truth[:, 2:]) / 2
    near = ((points[None] - centre[:, None]).abs() < RADIUS * anchors[None, :, 2:]).all(-1)  # (n, anchors)
    inside = ((points[None] > truth[:, None, :2]) & (points[None] < truth[:, None, 2:])).all(-1)
    index = near.any(0).nonzero()[:, 0]
    iou = pair_iou(truth[:, None], boxes[index][None])  # (n, candidates)
    logits = raw[index]
    probability = (logits[:, 4].sigmoid() * logits[:, 5].sigmoid()).sqrt().clamp(1e-6, 1)
    allowed = near[:, index]
    cost = -probability.log()[None] - IOU_WEIGHT * (iou + 1e-8).log()
    cost = cost + 10.0 * ~inside[:, index] + 1e6 * ~allowed
    count = iou.masked_fill(~allowed, 0).topk(min(CANDIDATES, iou.shape[1]), dim=1).values.sum(1).int().clamp(min=1)
    chosen = torch.zeros_like(allowed)
    order = cost.argsort(dim=1)
    for row, k in enumerate(count.tolist()):
        chosen[row, order[row, :k]] = True
    chosen &= allowed
    contested = chosen.sum(0) > 1
    if contested.any():
        best = cost[:, contested].argmin(0)
        chosen[:, contested] = functional.one_hot(best, len(truth)).T.bool()
    answers = chosen.any(0)
    matched = chosen[:, answers].int().argmax(0)
    return index[answers], matched, iou[matched, answers.nonzero()[:, 0]]


def yolox_loss(raw: torch.Tensor, truths: list[torch.Tensor], anchors: torch.Tensor) -> dict[str, torch.Tensor]:
    """Losses of a batch, each a sum over its anchors divided by the number of anchors that answer for a box.

    Parameters
    ----------
    raw : (B, anchors, 6) logits, float32
    truths : per picture (n, 4) boxes in input pixels
    """
    boxes = decode(raw, anchors)
    objectness = torch.zeros_like(raw[..., 4])
    box_loss = raw.new_zeros(())
    class_loss = raw.new_zeros(())
    answering = 0
    for number, truth in enumerate(truths):
        if not len(truth):
            continue
        index, matched, overlap = assign(raw[number], boxes[number], truth, anchors)
        objectness[number, index] = 1.0
        answering += len(index)
        box_loss = box_loss + (1 - pair_iou(boxes[number, index], truth[matched]).square()).sum()
        class_loss = class_loss + functional.binary_cross_entropy_with_logits(
            raw[number, index, 5], overlap, reduction="sum"
        )
    answering = max(answering, 1)
    object_loss = functional.binary_cross_entropy_with_logits(raw[..., 4], objectness, reduction="sum") / answering
    return {"box": BOX_WEIGHT * box_loss / answering, "object": object_loss, "class": class_loss / answering}
