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
# The same idea for dark backgrounds: light enough, and neighbours in the list far apart in hue or lightness.
_ON_DARK = (
    "#56B4E9 #F2A33A #2BC59B #F0E442 #EE6A4D #E59ACB #8C9BFF #B9E986 #C79B6D #7FE3E0 #B07BE8 #FFC7B0 #5E9E5A #D9D9E3"
).split()


def class_colours(count: int, *, dark: bool = False) -> list[str]:
    """One colour "#rrggbb" per class for a light or a dark background; beyond the fixed set, golden-ratio hues."""
    colours = list((_ON_DARK if dark else _CLASSES)[:count])
    for index in range(len(colours), count):
        lightness = (0.6 if dark else 0.35) + 0.2 * (index % 3) / 2
        red, green, blue = colorsys.hls_to_rgb((index * 0.618034) % 1.0, lightness, 0.55)
        colours.append(f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}")
    return colours


def rgb(colour: str) -> tuple[int, int, int]:
    """ "#rrggbb" -> (red, green, blue), 0..255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def bgr(colour: str) -> tuple[int, int, int]:
    """ "#rrggbb" -> (blue, green, red), 0..255, as OpenCV draws."""
    return rgb(colour)[::-1]


def pale(colour: str) -> str:
    """The same hue, mixed with white."""
    return "#" + "".join(f"{round(0.42 * value + 0.58 * 255):02x}" for value in rgb(colour))
