"""The 80 classes of COCO, in the order in which detectors number them."""

from __future__ import annotations

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
