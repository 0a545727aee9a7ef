"""The 80 classes of COCO, in the order in which detectors number them."""

from __future__ import annotations

import math

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
COCO_PERSON = 0
_OTHER_NAMES = {  # of Pascal VOC and in everyday use
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
    "television": "tv",
    "telephone": "cell phone",
    "phone": "cell phone",
    "hair dryer": "hair drier",
    "fridge": "refrigerator",
}
USUAL_SIZES_M = {  # width and height, of what stands in rooms and around houses
    "person": (0.5, 1.7),
    "bicycle": (1.7, 1.0),
    "car": (3.0, 1.5),
    "motorcycle": (2.0, 1.1),
    "bird": (0.15, 0.15),
    "cat": (0.4, 0.3),
    "dog": (0.6, 0.55),
    "backpack": (0.35, 0.5),
    "suitcase": (0.45, 0.65),
    "bottle": (0.08, 0.27),
    "cup": (0.09, 0.1),
    "bowl": (0.18, 0.08),
    "chair": (0.5, 0.85),
    "couch": (1.8, 0.8),
    "potted plant": (0.45, 0.7),
    "bed": (1.6, 0.6),
    "dining table": (1.4, 0.75),
    "toilet": (0.4, 0.75),
    "tv": (1.1, 0.65),
    "laptop": (0.35, 0.25),
    "mouse": (0.07, 0.04),
    "remote": (0.06, 0.15),
    "keyboard": (0.45, 0.15),
    "cell phone": (0.08, 0.15),
    "microwave": (0.5, 0.3),
    "oven": (0.6, 0.6),
    "toaster": (0.3, 0.2),
    "sink": (0.6, 0.25),
    "refrigerator": (0.6, 1.7),
    "book": (0.2, 0.25),
    "clock": (0.3, 0.3),
    "vase": (0.2, 0.3),
    "teddy bear": (0.3, 0.35),
    "hair drier": (0.2, 0.22),
}
USUAL_HEIGHTS_M = tuple(USUAL_SIZES_M[name][1] if name in USUAL_SIZES_M else math.nan for name in COCO_CLASSES)
_NUMBERS = {name: number for number, name in enumerate(COCO_CLASSES)}


def coco_number(name: str) -> int | None:
    """Number of a class by its name, in any case; None: COCO has no such class.

    Examples
    --------
    >>> coco_number("TVmonitor"), coco_number("violin")
    (62, None)
    """
    name = name.strip().lower().replace("_", " ")
    return _NUMBERS.get(_OTHER_NAMES.get(name, name))
