"""Drawn people: an articulated body of tubes, posed, shaded and painted quad by quad into a sprite.

Body frame: x forward, y left, z up, in units of the stature, the floor at z = 0. Proportions are adult averages
(Drillis & Contini's segment lengths, also in Winter, "Biomechanics and motor control of human movement").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulation.picture.sampling import bgr_from_hsv
from simulation.picture.sprites import Light, Sprite, draw_quads, quads_of, tube, unit

MOUTH_Z, HANDS_Z = 0.893, 0.70
HEAD_CENTRE = np.array([0.012, 0.0, 0.9335])
HEAD_RADII = np.array([0.0565, 0.0445, 0.0665])
UPPER_ARM, FOREARM, HAND = 0.172, 0.150, 0.098
THIGH, SHANK = 0.245, 0.246
HIP_Z, SHOULDER_Z = 0.525, 0.806
WALK_PHASES = 10

SKIN_BGR = np.array([[205, 224, 250], [175, 200, 238], [140, 172, 222], [100, 136, 192], [66, 96, 150], [42, 62, 104]])
HAIR_BGR = np.array([[22, 22, 26], [30, 38, 52], [36, 56, 88], [50, 84, 130], [96, 144, 190], [120, 124, 130]])


@dataclass(frozen=True)
class Pose:
    """What a body does, in steps coarse enough to keep sprites for reuse.

    Attributes
    ----------
    name : an idle pose of `sampling.IDLE_POSES`, "walk", "march" (on the spot), "clap", "talk" or "laugh"
    step : phase of the movement (walk: of WALK_PHASES; clap: 0 closed to 3 open; talk, laugh: of 8)
    mouth : 0 closed, 1 half open, 2 open
    """

    name: str = "relaxed"
    step: int = 0
    mouth: int = 0


def _arm(shoulder: np.ndarray, wrist: np.ndarray, hint: np.ndarray) -> np.ndarray:
    """Two-link inverse kinematics: (shoulder, elbow, wrist), the elbow bent towards `hint`; the reach is limited."""
    way = wrist - shoulder
    distance = min(float(np.linalg.norm(way)), (UPPER_ARM + FOREARM) * 0.999)
    way = unit(way)
    along = (UPPER_ARM**2 - FOREARM**2 + distance**2) / (2 * distance)
    out = np.sqrt(max(UPPER_ARM**2 - along**2, 0.0))
    bend = unit(hint - (hint @ way) * way)
    return np.stack([shoulder, shoulder + along * way + out * bend, shoulder + distance * way])


@dataclass
class _Joints:
    arms: list[np.ndarray]
    hands: list[np.ndarray]
    legs: list[np.ndarray]
    toes: list[np.ndarray]
    lean: float = 0.0


def _joints(pose: Pose, shoulder_y: float, hip_y: float) -> _Joints:
    """Pose -> joint positions, left limbs first."""
    arms, hands, legs, toes = [], [], [], []
    walking = pose.name in ("walk", "march")
    phase = 2 * np.pi * pose.step / WALK_PHASES
    swing = np.deg2rad(24.0 if pose.name == "walk" else 12.0)
    lowest = np.inf
    for side, sign in enumerate((1.0, -1.0)):
        leg_phase = phase + np.pi * side
        hip = np.array([0.0, sign * hip_y, HIP_Z])
        if walking:
            lift = np.maximum(np.cos(leg_phase), 0.0) ** 2
            thigh = swing * np.sin(leg_phase) + (0.06 if pose.name == "walk" else 0.55 * lift)
            shank = thigh - np.deg2rad(5 + (52 if pose.name == "walk" else 70) * lift)
            pitch = shank * 0.9 + 0.12 * np.sin(leg_phase)
            spread = 0.006
        else:
            thigh, shank, pitch, spread = 0.03 + 0.02 * sign, -0.02, 0.0, 0.02
        outward = np.array([0.0, sign * spread, 0.0])
        knee = hip + THIGH * np.array([np.sin(thigh), 0.0, -np.cos(thigh)]) + outward / 2
        ankle = knee + SHANK * np.array([np.sin(shank), 0.0, -np.cos(shank)]) + outward / 2
        legs.append(np.stack([hip, knee, ankle]))
        toes.append(np.array([np.cos(pitch), 0.12 * sign, np.sin(pitch)]))
        lowest = min(lowest, ankle[2])
    # The upper body keeps its height (the mouth is the label); legs are stretched by a few per cent to reach the floor.
    stretch = (HIP_Z - 0.036) / (HIP_Z - lowest)
    for leg in legs:
        leg[:, 2] = HIP_Z - (HIP_Z - leg[:, 2]) * stretch

    for side, sign in enumerate((1.0, -1.0)):
        shoulder = np.array([-0.004, sign * shoulder_y, SHOULDER_Z])
        hint = np.array([-1.0, sign * 0.5, -0.3])
        hand = None
        if walking:
            angle = -swing * 0.85 * np.sin(phase + np.pi * side)
            wrist = shoulder + np.array([0.32 * np.sin(angle) + 0.03, sign * 0.03, -0.31 * np.cos(angle)])
        elif pose.name == "clap":
            gap = (0.010, 0.035, 0.065, 0.10)[pose.step % 4]
            wrist = np.array([0.125, sign * (gap + 0.028), HANDS_Z - 0.036])
            hand = np.array([0.5, -sign * (0.05 + 0.9 * gap), 0.55])
            hint = np.array([-0.4, sign * 0.9, -0.8])
        elif pose.name in ("talk", "laugh"):
            beat = np.sin(2 * np.pi * (pose.step % 8) / 8 + side)
            reach = 1.0 if sign < 0 or pose.name == "laugh" else 0.25
            raised = np.array([0.15, sign * (0.12 + 0.02 * beat), 0.63 + 0.05 * beat])
            rest = shoulder + np.array([0.03, sign * 0.03, -0.315])
            wrist = reach * raised + (1 - reach) * rest
            hint = np.array([-0.8, sign * 0.7, -0.5])
            hand = np.array([0.7, -sign * 0.3, 0.45]) if reach == 1.0 else None
        elif pose.name == "hip":
            wrist, hint = np.array([0.035, sign * (hip_y + 0.052), 0.575]), np.array([-0.3, sign, 0.0])
            hand = np.array([0.5, -sign * 0.35, -0.5])
        elif pose.name == "folded":
            wrist, hint = np.array([0.10, -sign * 0.025, 0.675 + 0.022 * sign]), np.array([0.1, sign, -0.6])
            hand = np.array([0.0, -sign, 0.15])
        elif pose.name == "phone" and sign > 0:
            wrist, hint = np.array([0.045, 0.075, 0.872]), np.array([0.4, 0.8, -0.8])
            hand = np.array([-0.1, -0.2, 0.8])
        elif pose.name == "behind":
            wrist, hint = np.array([-0.085, sign * 0.025, 0.545]), np.array([-0.2, sign, 0.0])
            hand = np.array([0.0, -sign * 0.8, -0.3])
        elif pose.name == "pockets":
            wrist, hint = np.array([0.045, sign * (hip_y + 0.045), 0.535]), np.array([-0.8, sign, 0.0])
        else:
            wrist = shoulder + np.array([0.025, sign * 0.035, -0.316])
        arm = _arm(shoulder, wrist, hint)
        arms.append(arm)
        hands.append(unit(arm[2] - arm[1] if hand is None else hand))
    return _Joints(arms, hands, legs, toes, lean=0.0)


class Body:
    """A person's looks; makes sprites of poses.

    Parameters
    ----------
    appearance : of `sampling.sample_appearance`
    height_m : stature
    """

    def __init__(self, appearance: Mapping, height_m: float):
        self.look = dict(appearance)
        self.height_m = height_m
        rng = np.random.default_rng(int(self.look.get("seed", 0)))
        self.female = self.look.get("sex") == "female"
        self.build = float(self.look.get("build", 1.0))
        self.skin = _gradient(SKIN_BGR, float(self.look.get("skin", 0.3)))
        self.hair = _gradient(HAIR_BGR, float(self.look.get("hair", 0.3)))
        self.top = bgr_from_hsv(self.look.get("top_hsv", (0.6, 0.4, 0.5)))
        self.inner = bgr_from_hsv(self.look.get("inner_hsv", (0.1, 0.05, 0.9)))
        self.bottom = bgr_from_hsv(self.look.get("bottom_hsv", (0.62, 0.4, 0.35)))
        self.shoe = bgr_from_hsv(self.look.get("shoe_hsv", (0.1, 0.1, 0.2)))
        self.second = bgr_from_hsv(self.look.get("pattern_hsv", (0.1, 0.4, 0.8)))
        self.pattern = str(self.look.get("pattern", "plain"))
        self.pattern_step = float(self.look.get("pattern_m", 0.08)) / height_m
        self.garment = str(self.look.get("top", "tee"))
        self.lower = str(self.look.get("bottom", "trousers"))
        self.folds = rng.uniform(0, 2 * np.pi, (6, 3))
        self._poses: dict[Pose, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    # ------------------------------------------------------------------ surfaces with colours

    def _shade_folds(self, vertices: np.ndarray, strength: float) -> np.ndarray:
        """Cloth is not evenly lit: brightness factors (rings, segments + 1) from a few waves over the surface."""
        wave = sum(
            np.sin(vertices[..., 2] * (38 + 17 * k) + vertices[..., 1] * (31 - 23 * k) + vertices[..., 0] * 27 + p[0])
            for k, p in enumerate(self.folds[:3])
        )
        return 1.0 + strength * wave / 3

    def _torso(self) -> tuple[np.ndarray, np.ndarray]:
        b = self.build
        if self.female:
            rows = [
                (0.452, 0.050, 0.040), (0.475, 0.086, 0.060), (0.52, 0.099, 0.070), (0.56, 0.092, 0.064),
                (0.62, 0.074, 0.054), (0.68, 0.082, 0.060), (0.725, 0.091, 0.073), (0.765, 0.094, 0.063),
                (0.795, 0.097, 0.054), (0.817, 0.091, 0.049), (0.834, 0.068, 0.044), (0.850, 0.043, 0.040),
                (0.866, 0.031, 0.034),
            ]  # fmt: skip
        else:
            rows = [
                (0.452, 0.050, 0.040), (0.475, 0.082, 0.058), (0.52, 0.093, 0.066), (0.56, 0.089, 0.063),
                (0.62, 0.086, 0.060), (0.68, 0.094, 0.066), (0.725, 0.103, 0.070), (0.765, 0.108, 0.066),
                (0.795, 0.112, 0.059), (0.818, 0.104, 0.053), (0.836, 0.078, 0.047), (0.853, 0.050, 0.043),
                (0.870, 0.036, 0.038),
            ]  # fmt: skip
        table = np.array(rows)
        loose = {"jacket": 0.012, "hoodie": 0.010, "sweater": 0.006}.get(self.garment, 0.002)
        table[:, 1:] = table[:, 1:] * (1 + 0.7 * (b - 1)) + loose * np.clip((0.845 - table[:, :1]) / 0.03, 0, 1)
        low, high = table[0, 0], table[-1, 0]
        radii = np.column_stack([(table[:, 0] - low) / (high - low), table[:, 1:]])
        path = np.array([[0.0, 0, low], [-0.004, 0, 0.6], [0.006, 0, 0.72], [-0.006, 0, high]])
        skin = tube(path, radii, np.array([1.0, 0, 0]), 28, 24)
        height = skin[..., 2]
        angle = np.linspace(0, 2 * np.pi, 25)
        ahead = np.minimum(angle, 2 * np.pi - angle)[None]  # 0 at the front, pi at the back
        hem = {"jacket": 0.465, "hoodie": 0.485, "sweater": 0.495, "shirt": 0.53, "tee": 0.50, "tank": 0.51}
        colour = np.where((height > hem.get(self.garment, 0.5))[..., None], self.top, self.bottom)
        if self.lower == "dress":
            colour = np.broadcast_to(self.top, (*height.shape, 3)).copy()
        colour = self._patterned(colour, skin, height > hem.get(self.garment, 0.5))
        if self.garment == "jacket":
            opening = (ahead < 0.16 + 0.9 * np.clip(height - 0.66, 0, None)) & (height > 0.50)
            colour = np.where(opening[..., None], self.inner, colour)
        if self.garment == "shirt":
            colour = np.where(((ahead < 0.06) & (height > 0.53))[..., None], colour * 0.78, colour)
        if self.garment == "hoodie":
            pocket = (np.abs(height - 0.56) < 0.035) & (ahead < 0.9)
            colour = np.where(pocket[..., None], colour * 0.86, colour)
        neckline = {"tee": 0.846, "tank": 0.825, "shirt": 0.860, "sweater": 0.852, "jacket": 0.862, "hoodie": 0.858}
        cut = neckline.get(self.garment, 0.85) - (0.022 if self.female else 0.008) * np.cos(ahead)
        colour = np.where((height > cut)[..., None], self.skin, colour)
        belt = (np.abs(height - 0.527) < 0.008) & (self.garment in ("shirt", "tank")) & (self.lower == "trousers")
        colour = np.where(belt[..., None], np.array([30.0, 34.0, 40.0]), colour)
        return skin, colour * self._shade_folds(skin, 0.10)[..., None]

    def _patterned(self, colour: np.ndarray, skin: np.ndarray, where: np.ndarray) -> np.ndarray:
        step = self.pattern_step
        height, across = skin[..., 2], skin[..., 1]
        if self.pattern == "stripes":
            mask = np.mod(height, step) < step * 0.45
        elif self.pattern == "block":
            mask = height > 0.70
        elif self.pattern == "logo":
            mask = (np.abs(height - 0.725) < 0.030) & (np.abs(across) < 0.045) & (skin[..., 0] > 0.02)
        elif self.pattern == "plaid":
            mask = (np.mod(height, step) < step * 0.3) ^ (np.mod(across, step) < step * 0.3)
        else:
            return colour
        return np.where((mask & where)[..., None], 0.35 * colour + 0.65 * self.second, colour)

    def _limbs(self, joints: _Joints) -> list[tuple[np.ndarray, np.ndarray]]:
        parts = []
        front = np.array([1.0, 0.0, 0.0])
        b = self.build * (0.92 if self.female else 1.0)
        sleeve = {"tee": 0.42, "tank": 0.0, "shirt": 0.97, "sweater": 0.97, "jacket": 0.98, "hoodie": 0.98}[
            self.garment
        ]
        loose = {"jacket": 0.007, "hoodie": 0.008, "sweater": 0.004}.get(self.garment, 0.002)
        for arm, hand in zip(joints.arms, joints.hands):
            cloth = sleeve > 0
            radii = np.array(
                [
                    (0.0, 0.012, 0.014), (0.03, 0.024, 0.027), (0.09, 0.032, 0.034), (0.3, 0.029, 0.031),
                    (0.52, 0.0245, 0.0245), (0.62, 0.025, 0.026), (0.97, 0.0165, 0.0165), (1.0, 0.012, 0.012),
                ]
            )  # fmt: skip
            radii[:, 1:] = radii[:, 1:] * b + loose * (radii[:, :1] < sleeve) * cloth
            skin = tube(arm, radii, front, 18, 10, smooth=2)
            place = np.linspace(0, 1, 18)[:, None]
            colour = np.where((place < sleeve)[..., None], self.top, self.skin) * np.ones((18, 11, 1))
            if self.pattern == "stripes":
                step = self.pattern_step / 0.33
                colour = np.where(((np.mod(place, step) < step * 0.45) & (place < sleeve))[..., None],
                                  0.35 * colour + 0.65 * self.second, colour)  # fmt: skip
            parts.append((skin, colour * self._shade_folds(skin, 0.12)[..., None]))
            wrist = arm[2]
            palm = np.array(
                [
                    (0.0, 0.011, 0.015),
                    (0.3, 0.013, 0.022),
                    (0.6, 0.012, 0.022),
                    (0.9, 0.009, 0.015),
                    (1.0, 0.002, 0.003),
                ]
            )
            skin = tube(np.stack([wrist - 0.006 * hand, wrist + HAND * hand]), palm, front, 7, 8, smooth=0)
            parts.append((skin, np.broadcast_to(self.skin, (7, 9, 3))))
        skirt = self.lower in ("skirt", "dress")
        for leg, toe in zip(joints.legs, joints.toes):
            radii = np.array(
                [
                    (0.0, 0.030, 0.040), (0.13, 0.046, 0.057), (0.25, 0.048, 0.057), (0.48, 0.036, 0.039),
                    (0.55, 0.034, 0.036), (0.68, 0.034, 0.041), (0.85, 0.024, 0.027), (1.0, 0.020, 0.022),
                ]
            )  # fmt: skip
            radii[:, 1:] *= 1 + 0.6 * (self.build - 1)
            cover = {"trousers": 0.97, "shorts": 0.48, "skirt": 0.4, "dress": 0.4}[self.lower]
            fabric = self.top if self.lower == "dress" else self.bottom
            radii[:, 1:] += (0.005 + 0.008 * radii[:, :1]) * (radii[:, :1] <= cover + 0.05) * (not skirt)
            path = np.vstack([leg[0] + [0, 0, 0.01], leg[1], leg[2] + [0, 0, -0.008]])
            skin = tube(path, radii, front, 22, 12, smooth=2)
            place = np.linspace(0, 1, 22)[:, None]
            colour = np.where((place < cover)[..., None], fabric, self.skin) * np.ones((22, 13, 1))
            parts.append((skin, colour * self._shade_folds(skin, 0.0 if skirt else 0.13)[..., None]))
            toe = unit(toe)
            heel = leg[2] + np.array([0, 0, -0.016]) - 0.042 * toe
            sole = np.array(
                [
                    (0.0, 0.010, 0.010), (0.06, 0.021, 0.020), (0.25, 0.024, 0.031), (0.45, 0.026, 0.024),
                    (0.75, 0.030, 0.018), (0.93, 0.022, 0.013), (1.0, 0.005, 0.005),
                ]
            )  # fmt: skip
            skin = tube(np.stack([heel, heel + 0.158 * toe]), sole, np.array([0.0, 0.0, 1.0]), 10, 12, smooth=0)
            skin[..., 2] = np.maximum(skin[..., 2], min(float(leg[2, 2]) - 0.036, 0.04))
            shoe = np.broadcast_to(self.shoe, (10, 13, 3)).copy()
            shoe[:, 5:8] = (self.shoe * 0.4 + 110) * 0.8
            parts.append((skin, shoe))
        if skirt:
            span = max(abs(joints.legs[0][1, 0] - joints.legs[1][1, 0]), 0.0) / 2
            knee = np.array([(joints.legs[0][1, 0] + joints.legs[1][1, 0]) / 2, 0.0, 0.275])
            hips = 0.100 * (1 + 0.7 * (self.build - 1))
            radii = np.array(
                [
                    (0.0, 0.082, 0.062), (0.2, hips + 0.004, 0.078), (0.6, hips + 0.012, 0.078 + span / 2),
                    (1.0, hips + 0.024, 0.078 + span),
                ]
            )  # fmt: skip
            skin = tube(np.array([[0, 0, 0.585], [0, 0, 0.5], knee]), radii, front, 14, 28, smooth=1)
            colour = np.broadcast_to(self.top if self.lower == "dress" else self.bottom, (14, 29, 3))
            pleats = 1 + 0.10 * np.sin(np.linspace(0, 2 * np.pi * 9, 29))[None] * np.linspace(0, 1, 14)[:, None]
            parts.append((skin, colour * pleats[..., None]))
        return parts

    def _head(self, mouth: int) -> list[tuple[np.ndarray, np.ndarray]]:
        polar = np.linspace(0.02, np.pi - 0.02, 34)[:, None]
        # Columns are closer at the face than at the back of the head.
        turn = np.linspace(-np.pi, np.pi, 41)[None]
        around = np.mod(turn - 0.45 * np.sin(turn), 2 * np.pi)
        ahead = np.sin(polar) * np.cos(around)
        left = np.sin(polar) * np.sin(around)
        up = np.cos(polar) * np.ones_like(around)
        low = np.clip(-up, 0, 1)
        direction = np.stack([ahead, left, up], axis=-1)
        shape = direction.copy()
        shape[..., 1] *= 1 - 0.34 * low**2
        shape[..., 0] *= np.where(ahead > 0, 1 - 0.10 * low**2, 1 - 0.30 * low**1.5)
        # The face is flatter than an ellipsoid; the nose stands out.
        nose = np.exp(-((left / 0.13) ** 2)) * np.clip(1 - np.abs(up + 0.22) / 0.26, 0, 1) * (ahead > 0)
        shape[..., 0] += 0.24 * nose - 0.05 * np.clip(ahead, 0, 1) ** 3
        face = HEAD_CENTRE + shape * HEAD_RADII
        colour = np.broadcast_to(self.skin, (*up.shape, 3)).copy()

        def paint(mask: np.ndarray, bgr: np.ndarray | tuple[int, int, int], share: float | np.ndarray = 1.0) -> None:
            weight = np.clip(mask * share, 0, 1)[..., None]
            colour[...] = colour * (1 - weight) + np.asarray(bgr, dtype=float) * weight

        front = ahead > 0.2
        red = self.skin * np.array([0.80, 0.82, 1.0])
        paint(np.exp(-(((np.abs(left) - 0.52) / 0.2) ** 2) - ((up + 0.3) / 0.2) ** 2) * front, red, 0.5)  # cheeks
        for sign in (1.0, -1.0):
            offset = left - sign * 0.37
            paint((np.exp(-((offset / 0.2) ** 2) - ((up - 0.06) / 0.13) ** 2) * front), self.skin * 0.72, 0.8)
            paint(((offset / 0.17) ** 2 + ((up - 0.03) / 0.075) ** 2 < 1) & front, (232, 236, 238))
            paint(((offset / 0.085) ** 2 + ((up - 0.03) / 0.075) ** 2 < 1) & front, (28, 30, 34))
            paint((np.abs(offset) < 0.21) & (np.abs(up - 0.20 + 0.3 * offset**2) < 0.035) & front, self.hair * 0.8, 0.9)
        paint(np.exp(-((left / 0.16) ** 2) - ((up + 0.43) / 0.05) ** 2) * front, self.skin * 0.6, 0.7)  # under the nose
        centre = (MOUTH_Z - HEAD_CENTRE[2]) / HEAD_RADII[2]
        height = (0.045, 0.09, 0.15)[mouth]
        width = (0.27, 0.25, 0.24)[mouth]
        lips = ((left / (width + 0.05)) ** 2 + ((up - centre) / (height + 0.045)) ** 2 < 1) & front
        lip_bgr = self.skin * (np.array([0.62, 0.58, 0.86]) if self.female else np.array([0.72, 0.70, 0.86]))
        if self.look.get("beard"):
            jaw = (up < -0.42 + 0.5 * np.clip(np.abs(left) - 0.25, 0, 1)) & (ahead > -0.15) & ~lips
            paint(jaw, self.hair, 0.8)
        paint(lips, lip_bgr)
        inside = ((left / width) ** 2 + ((up - centre) / height) ** 2 < 1) & front
        paint(inside, (36, 28, 70) if mouth else lip_bgr * 0.6)
        if mouth:
            paint(inside & (up > centre + 0.35 * height), (222, 230, 235))
        if self.look.get("glasses"):
            for sign in (1.0, -1.0):
                ring = ((left - sign * 0.37) / 0.25) ** 2 + ((up - 0.03) / 0.15) ** 2
                paint((np.abs(ring - 1) < 0.33) & front, (30, 30, 34))
            paint((np.abs(left) < 0.14) & (np.abs(up - 0.06) < 0.03) & front, (30, 30, 34))
        parts = [(face, colour)]

        style = str(self.look.get("hair_style", "short"))
        if style != "bald":
            azimuth = np.abs(np.arctan2(left, ahead))
            full = style in ("long", "bob", "ponytail", "bun")
            line = np.interp(
                azimuth, [0, 0.5, 1.0, 1.35, 1.7, 2.4, np.pi],
                [0.58, 0.55, 0.34, -0.1 if not full else -0.45, -0.15 if not full else -0.8, -0.62, -0.7],
            )  # fmt: skip
            if style == "side":
                line = line - 0.16 * np.clip(left * 2, 0, 1) * (azimuth < 1.0)
            thick = {
                "crop": 0.045,
                "short": 0.10,
                "side": 0.12,
                "bob": 0.20,
                "long": 0.16,
                "ponytail": 0.09,
                "bun": 0.09,
            }[style]
            # The skull below takes the hair's colour too: no skin shows through where the shell is thin.
            paint(np.clip((up - line) / 0.04, 0, 1), self.hair * 0.9)
            grow = 1.004 + thick * np.clip((up - line) / 0.25, 0, 1) ** 0.5
            shell = HEAD_CENTRE + shape * HEAD_RADII * grow[..., None]
            strands = 1 + 0.16 * np.sin(around * 23 + self.folds[3, 0]) * np.ones_like(up) + 0.10 * np.sin(up * 19)
            face[up > line + 0.5] = np.nan
            parts.append((np.where((up > line - 0.10)[..., None], shell, np.nan), self.hair * strands[..., None]))
        curtains = {"long": (0.80, 0.060), "bob": (0.868, 0.056), "ponytail": (0.80, 0.018)}.get(style)
        if curtains:
            end, width = curtains
            start = np.array([-0.030, 0, 0.965]) if style != "ponytail" else np.array([-0.062, 0, 0.955])
            path = np.stack([start, start + [-0.008, 0, -0.05], [-0.045 if style != "ponytail" else -0.07, 0, end]])
            depth = 0.034 if style != "ponytail" else 0.016
            radii = np.array(
                [
                    (0, width * 0.5, depth * 0.5),
                    (0.3, width, depth),
                    (0.8, width, depth * 0.9),
                    (1, width * 0.7, depth * 0.4),
                ]
            )
            skin = tube(path, radii, np.array([1.0, 0, 0]), 14, 20)
            strands = 1 + 0.2 * np.sin(np.linspace(0, 2 * np.pi * 7, 21) + self.folds[3, 1])[None] * np.ones((14, 1))
            parts.append((skin, self.hair * strands[..., None]))
        if style == "bun":
            skin = tube(np.array([[-0.035, 0, 0.968], [-0.075, 0, 0.982]]),
                        np.array([(0, 0.01, 0.01), (0.3, 0.026, 0.026), (0.7, 0.026, 0.026), (1, 0.004, 0.004)]),
                        np.array([0.0, 0, 1]), 9, 12, smooth=0)  # fmt: skip
            parts.append((skin, np.broadcast_to(self.hair, (9, 13, 3))))
        neck_radii = np.array([(0, 0.030, 0.030), (0.3, 0.034, 0.036), (1, 0.033, 0.036)])
        neck_radii[:, 1:] *= 0.88 if self.female else 1.02
        neck = tube(np.array([[-0.012, 0, 0.822], [0.0, 0, 0.90]]), neck_radii, np.array([1.0, 0, 0]), 8, 16, smooth=0)
        parts.append((neck, np.broadcast_to(self.skin * 0.80, (8, 17, 3))))
        for sign in (1.0, -1.0):
            if style in ("long", "bob"):
                break
            ear = tube(
                np.array([[0.004, sign * 0.0435, 0.918], [0.0, sign * 0.048, 0.945]]),
                np.array([(0, 0.002, 0.003), (0.3, 0.006, 0.010), (0.8, 0.007, 0.013), (1, 0.002, 0.003)]),
                np.array([1.0, 0, 0]), 6, 8, smooth=0,
            )  # fmt: skip
            parts.append((ear, np.broadcast_to(self.skin * 0.92, (6, 9, 3))))
        return parts

    def quads(self, pose: Pose) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Corners (n, 4, 3) in body units, colours (n, 3), BGR, unlit, and layers (n,) of a posed body."""
        if pose in self._poses:
            return self._poses[pose]
        wide = 1 + 0.5 * (self.build - 1)
        joints = _joints(pose, (0.090 if self.female else 0.103) * wide, (0.050 if self.female else 0.048) * wide)
        parts = [self._torso(), *self._limbs(joints), *self._head(pose.mouth)]
        if len(self._poses) > 64:
            self._poses.clear()
        self._poses[pose] = quads_of(parts)
        return self._poses[pose]

    def sprite(self, pose: Pose, view_deg: float, scale: float, light: Light) -> Sprite:
        """The posed body seen from the listener.

        Parameters
        ----------
        view_deg : angle from the way to the listener to the body's front, counter-clockwise from above
        scale : pixels per metre
        """
        quads, colour, _ = self.quads(pose)
        return draw_quads(quads * self.height_m, colour, view_deg, scale, light)


def _gradient(table: np.ndarray, place: float) -> np.ndarray:
    return np.array([np.interp(place * (len(table) - 1), np.arange(len(table)), table[:, c]) for c in range(3)])
