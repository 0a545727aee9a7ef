"""What a stereo pair and a camera make of a recording: sound, labels and picture of the DCASE2025 form.

The camera looks to the azimuth `yaw`; directions are then counted from there. The pair is mid-side: left W + Y', right
W - Y' of first-order Ambisonics, Y' the figure of eight that points to the left of the view. Front and back sound
alike, so azimuths are folded to the front, and there is no elevation (Shimada et al. 2025, arXiv 2507.12042).
"""

from __future__ import annotations

import numpy as np

from util.angles import direction_from_degrees, fold_azimuth_deg, wrap_azimuth_deg
from util.camera import Equirectangular, Perspective
from util.events import EventTable

WIDTH, HEIGHT, FOV_DEG = 640, 360, 100.0
CLIP_S = 5.0


def camera_at(yaw_deg: float = 0.0, width: int = WIDTH, height: int = HEIGHT, fov_deg: float = FOV_DEG) -> Perspective:
    """The camera of the data set, turned to an azimuth."""
    return Perspective(width, height, fov_deg, yaw_deg)


def stereo_sound(foa: np.ndarray, yaw_deg: float) -> np.ndarray:
    """First-order Ambisonics (4, samples), W, Y, Z, X -> left and right (2, samples): W + Y', W - Y'.

    Examples
    --------
    >>> left = np.array([[1.0], [1.0], [0.0], [0.0]])  # a plane wave from azimuth 90
    >>> stereo_sound(left, 0).ravel().round(6).tolist(), stereo_sound(left, 90).ravel().round(6).tolist()
    ([2.0, 0.0], [1.0, 1.0])
    """
    foa = np.asarray(foa)
    yaw = np.deg2rad(yaw_deg)
    side = np.cos(yaw) * foa[1] - np.sin(yaw) * foa[3]
    return np.stack([foa[0] + side, foa[0] - side])


def stereo_labels(table: EventTable, camera: Perspective) -> EventTable:
    """Labels of the sphere -> of a camera's view: azimuth in [-90, 90] from where it looks, whole degrees, on screen.

    A source is on screen (1) where its direction lies in the picture, else not (0). Distances stay.
    """
    _, visible = camera.project(direction_from_degrees(table.azimuth_deg, table.elevation_deg))
    turned = wrap_azimuth_deg(table.azimuth_deg - camera.yaw_deg)
    return table.replace(
        azimuth_deg=np.rint(fold_azimuth_deg(turned)),
        elevation_deg=np.full(len(table), np.nan),
        onscreen=visible.astype(np.float64),
    )


def view_map(sphere: Equirectangular, camera: Perspective) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of a camera's picture lie in one of the sphere: x and y (height, width) float32.

    In the coordinates of OpenCV's `remap`, in which the middle of the first pixel is 0. Columns may lie a little
    outside of the picture: it goes on round the sphere.
    """
    rows, columns = np.mgrid[0 : camera.height, 0 : camera.width] + 0.5
    pixel, _ = sphere.project(camera.direction(np.stack([columns, rows], axis=-1)))
    return (pixel[..., 0] - 0.5).astype(np.float32), (pixel[..., 1] - 0.5).astype(np.float32)
