"""Arrays on their way to a browser: a JSON header, then float32 numbers, as one binary message.

4 bytes   length of the header, little-endian
header    JSON: `{"arrays": [{"name", "shape", "offset"}], ...}`, padded with spaces to a multiple of 4
numbers   little-endian float32, at `offset` bytes behind the header
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from darklens.files import plain

MEDIA_TYPE = "application/octet-stream"


def frame(arrays: Mapping[str, np.ndarray], **about: Any) -> bytes:
    """Return arrays and what is said about them as one message.

    Args:
        arrays: name -> array of any shape.
        about: JSON-ready; numbers that JSON lacks become null.
    """
    flat = {name: np.ascontiguousarray(array, "<f4") for name, array in arrays.items()}
    listed, offset = [], 0
    for name, array in flat.items():
        listed.append({"name": name, "shape": list(array.shape), "offset": offset})
        offset += array.nbytes
    header = json.dumps(plain(about | {"arrays": listed}), allow_nan=False).encode()
    header += b" " * (-len(header) % 4)
    return b"".join([len(header).to_bytes(4, "little"), header, *(array.tobytes() for array in flat.values())])


def unframed(message: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what `frame` packed: the header without its list of arrays, and the arrays."""
    start = 4 + int.from_bytes(message[:4], "little")
    header = json.loads(message[4:start])
    arrays = {}
    for one in header.pop("arrays"):
        count = int(np.prod(one["shape"], dtype=int))
        arrays[one["name"]] = np.frombuffer(message, "<f4", count, start + one["offset"]).reshape(one["shape"])
    return header, arrays
