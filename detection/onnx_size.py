"""The size that an onnx file declares for its pictures, changed: a network of convolutions takes any size.

onnxruntime refuses pictures of another size than the declared one, whatever the network could take. The declaration
is a few bytes of the file (protocol buffers), rewritten here without the package onnx, which running needs not.

Source: onnx.proto of ONNX; field numbers below are its.
"""

from __future__ import annotations

from collections.abc import Iterator

from util.errors import InputError

# ModelProto.graph, GraphProto.input, ValueInfoProto.type, TypeProto.tensor_type, Tensor.shape, TensorShapeProto.dim
_PATH = (7, 11, 2, 1, 2)
_DIM, _DIM_VALUE = 1, 1
_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}  # kind -> bytes


def with_size(content: bytes, width: int, height: int) -> bytes:
    """An onnx file whose first input is declared as (batch, channels, height, width); all else is as it was.

    Raises
    ------
    InputError : it is no onnx file that declares four dimensions
    """
    try:
        return _changed(content, _PATH, (height, width))
    except (IndexError, ValueError) as error:
        raise InputError(f"declares no size of pictures that could be changed ({error})") from None


def _changed(message: bytes, path: tuple[int, ...], size: tuple[int, int]) -> bytes:
    """A message with the size put in, behind a path of field numbers of which the first field counts each time."""
    if not path:
        return _with_last_dims(message, size)
    out, done = bytearray(), False
    for number, kind, value, whole in _fields(message):
        if number == path[0] and kind == _BYTES and not done:
            out += _field(number, _changed(value, path[1:], size))
            done = True
        else:
            out += whole
    if not done:
        raise ValueError(f"field {path[0]} is missing")
    return bytes(out)


def _with_last_dims(shape: bytes, size: tuple[int, int]) -> bytes:
    fields = list(_fields(shape))
    places = [place for place, (number, *_) in enumerate(fields) if number == _DIM]
    if len(places) != 4:
        raise ValueError(f"{len(places)} dimensions")
    out = [whole for *_, whole in fields]
    for place, pixels in zip(places[2:], size):
        out[place] = _field(_DIM, _varint(_DIM_VALUE << 3 | _VARINT) + _varint(pixels))
    return b"".join(out)


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Number, kind, content (of those with a length), and all bytes of each field."""
    place = 0
    while place < len(message):
        start = place
        tag, place = _read_varint(message, place)
        kind, value = tag & 7, b""
        if kind == _VARINT:
            _, place = _read_varint(message, place)
        elif kind == _BYTES:
            length, place = _read_varint(message, place)
            value = message[place : place + length]
            if len(value) < length:
                raise ValueError("it is cut off")
            place += length
        elif kind in _FIXED:
            place += _FIXED[kind]
        else:
            raise ValueError(f"field of kind {kind}")
        yield tag >> 3, kind, value, message[start:place]


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value, place, shift = value | (byte & 0x7F) << shift, place + 1, shift + 7
        if byte < 0x80:
            return value, place


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content
