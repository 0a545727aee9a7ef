"""Cameras: how a direction lands in the picture. x grows to the right, y downwards, both in pixels from the corner."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from util.angles import degrees_from_direction, direction_from_degrees, wrap_azimuth_deg


@dataclass(frozen=True)
class Equirectangular:
    """The whole sphere: front in the centre, left edge azimuth +180, top edge elevation +90.

    Conventions of the STARSS23 videos (and of the DCASE2025 stereo data generator).
    """

    width: int
    height: int

    def project(self, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors (..., 3) -> pixels (..., 2) with x in (0, width] before wrapping at the seam, and visible (...)."""
        azimuth_deg, elevation_deg = degrees_from_direction(direction)
        x = np.mod((180.0 - azimuth_deg) / 360.0 * self.width, self.width)
        y = (90.0 - elevation_deg) / 180.0 * self.height
        return np.stack([x, y], axis=-1), np.ones(x.shape, dtype=bool)

    def direction(self, pixel: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) -> unit vectors (..., 3)."""
        pixel = np.asarray(pixel, dtype=np.float64)
        return direction_from_degrees(
            180.0 - pixel[..., 0] / self.width * 360.0, 90.0 - pixel[..., 1] / self.height * 180.0
        )


@dataclass(frozen=True)
class Perspective:
    """A pinhole camera in the horizontal plane.

    Attributes
    ----------
    fov_deg : horizontal field of view
    yaw_deg : azimuth of the optical axis
    """

    width: int
    height: int
    fov_deg: float = 100.0
    yaw_deg: float = 0.0

    @property
    def focal_px(self) -> float:
        """Focal length in pixels."""
        return self.width / 2 / np.tan(np.deg2rad(self.fov_deg) / 2)

    def _axes(self) -> np.ndarray:
        """Rows: forward, left, up."""
        forward = direction_from_degrees(self.yaw_deg, 0.0)
        left = direction_from_degrees(self.yaw_deg + 90.0, 0.0)
        return np.stack([forward, left, np.array([0.0, 0.0, 1.0])])

    def project(self, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors (..., 3) -> pixels (..., 2) and visible (...): in front of the camera and inside the picture.

        Pixels of directions behind the camera are NaN.
        """
        forward, left, up = np.moveaxis(np.asarray(direction, dtype=np.float64) @ self._axes().T, -1, 0)
        depth = np.where(forward > 1e-9, forward, np.nan)
        x = self.width / 2 - self.focal_px * left / depth
        y = self.height / 2 - self.focal_px * up / depth
        visible = (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)
        return np.stack([x, y], axis=-1), visible

    def direction(self, pixel: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) -> unit vectors (..., 3)."""
        pixel = np.asarray(pixel, dtype=np.float64)
        local = np.stack(
            [
                np.full(pixel.shape[:-1], self.focal_px),
                self.width / 2 - pixel[..., 0],
                self.height / 2 - pixel[..., 1],
            ],
            axis=-1,
        )
        world = local @ self._axes()
        return world / np.linalg.norm(world, axis=-1, keepdims=True)


Camera = Equirectangular | Perspective


def boxes_on_sphere(boxes: np.ndarray, camera: Perspective) -> np.ndarray:
    """Boxes in a camera's picture -> those of the same things in an equirectangular picture of the whole sphere.

    Parameters
    ----------
    boxes : (..., 4) x0, y0, x1, y1 as fractions of the picture; rows of zeros are no box and stay

    Returns
    -------
    (..., 4) float32: what the corners and the middles of the sides span in azimuth and elevation
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    x0, y0, x1, y1 = np.moveaxis(boxes, -1, 0)
    across, down = np.stack([x0, (x0 + x1) / 2, x1], axis=-1), np.stack([y0, (y0 + y1) / 2, y1], axis=-1)
    pixel = np.stack([np.repeat(across, 3, axis=-1) * camera.width, np.tile(down, 3) * camera.height], axis=-1)
    azimuth_deg, elevation_deg = degrees_from_direction(camera.direction(pixel))
    turned = wrap_azimuth_deg(azimuth_deg - camera.yaw_deg)  # from the middle of the view, so that no box is at a seam
    sides = [
        0.5 - (turned.max(axis=-1) + camera.yaw_deg) / 360,
        0.5 - elevation_deg.max(axis=-1) / 180,
        0.5 - (turned.min(axis=-1) + camera.yaw_deg) / 360,
        0.5 - elevation_deg.min(axis=-1) / 180,
    ]
    made = np.stack(sides, axis=-1)
    return np.where(boxes.any(axis=-1, keepdims=True), made, 0.0).astype(np.float32)
