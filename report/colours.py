"""Colours that people with any colour vision can tell apart; one place for figures, player and overlay."""

from __future__ import annotations

import colorsys

# How a prediction and the reference agree. Blue, yellow, vermilion and white of the Okabe-Ito set, which differ in hue
# and in lightness; each is drawn in a shape of its own too, so that none is told by colour alone.
STATUS = {
    "correct": "#56B4E9",
    "misplaced": "#F0E442",
    "false": "#F0703A",
    "missed": "#F4F6FA",
}

# Okabe and Ito (2008), then the 'muted' scheme of Tol (2021).
_CLASSES = (
    "#0072B2 #E69F00 #009E73 #D55E00 #CC79A7 #56B4E9 #882255 #999933 #44AA99 #332288 #AA4499 #DDCC77 #117733 #CC6677"
).split()


def class_colours(count: int) -> list[str]:
    """One colour "#rrggbb" per class, for light backgrounds; beyond the fixed set, hues at golden-ratio steps."""
    colours = list(_CLASSES[:count])
    for index in range(len(colours), count):
        red, green, blue = colorsys.hls_to_rgb((index * 0.618034) % 1.0, 0.35 + 0.2 * (index % 3) / 2, 0.55)
        colours.append(f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}")
    return colours


def on_dark(colour: str) -> str:
    """The same hue light enough (lightness at least 0.62) for a dark background."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in rgb(colour)))
    values = colorsys.hls_to_rgb(hue, max(lightness, 0.62), saturation)
    return "#" + "".join(f"{round(255 * value):02x}" for value in values)


def rgb(colour: str) -> tuple[int, int, int]:
    """ "#rrggbb" -> (red, green, blue), 0..255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def bgr(colour: str) -> tuple[int, int, int]:
    """ "#rrggbb" -> (blue, green, red), 0..255, as OpenCV draws."""
    return rgb(colour)[::-1]
