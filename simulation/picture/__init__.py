"""Pictures of a scene: room, people and things, drawn where sound and labels have them."""

from simulation.picture.painter import Painter, anchor_offset_m, frames, label_overlay, person_boxes, render_video
from simulation.picture.sampling import sample_appearance, sample_background, sample_thing_appearance, thing_place

__all__ = [
    "Painter", "anchor_offset_m", "frames", "label_overlay", "person_boxes", "render_video", "sample_appearance",
    "sample_background", "sample_thing_appearance", "thing_place",
]  # fmt: skip
