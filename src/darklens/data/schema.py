"""The columns of a table and their Arrow types.

id       string
image    arrow.fixed_shape_tensor<float32>[bands, y, x]
label    dictionary<string>, null where unknown
split    string, null where there is none
...      truth columns, float64, NaN where unknown, the unit in the field's metadata
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from darklens.errors import InputError, unknown

SCHEMA_VERSION = 1
RESERVED = ("id", "image", "label", "split")


def column_schema(truth: Sequence[str], units: Mapping[str, str]) -> pa.Schema:
    """Return the schema of all columns but the image."""
    for name in truth:
        if name in RESERVED:
            raise InputError(f"a truth column cannot be called {name!r}: the table has a column of that name; rename it")
    fields = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.dictionary(pa.int32(), pa.string())),
        pa.field("split", pa.string()),
        *(pa.field(name, pa.float64(), metadata={"unit": units.get(name, "")}) for name in truth),
    ]
    return pa.schema(fields)


def image_type(shape: Sequence[int]) -> pa.ExtensionType:
    """Return the Arrow type of an image `(bands, y, x)`."""
    return pa.fixed_shape_tensor(pa.float32(), list(shape), dim_names=["band", "y", "x"])


def image_column(images: np.ndarray) -> pa.ExtensionArray:
    """Wrap images `(n, bands, y, x)` as an Arrow column, without copying."""
    pixels = int(np.prod(images.shape[1:]))
    storage = pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(-1)), pixels)
    return pa.ExtensionArray.from_storage(image_type(images.shape[1:]), storage)


def columns(
    schema: pa.Schema,
    classes: Sequence[str],
    ids: Sequence[str],
    labels: Sequence[str | None],
    truth: Mapping[str, np.ndarray],
    splits: Sequence[str | None] | None,
) -> pa.Table:
    """Build all columns but the image.

    Raises:
        InputError: lengths differ, a label is not among the classes, or the truth columns are not those of the schema.
    """
    n = len(ids)
    names = schema.names[3:]
    if set(truth) - set(names):
        extra = sorted(set(truth) - set(names))
        raise InputError(f"truth columns {extra} are not among the table's {names}: name all of them in the first rows")
    missing = np.full(n, np.nan)
    arrays = [
        pa.array(list(ids), pa.string()),
        _dictionary(labels, classes),
        pa.array([None] * n if splits is None else list(splits), pa.string()),
        *(pa.array(np.asarray(truth.get(name, missing), dtype=np.float64)) for name in names),
    ]
    for name, array in zip(schema.names, arrays, strict=True):
        if len(array) != n:
            raise InputError(f"column {name!r} has {len(array)} rows where there are {n} ids: give one value a row")
    return pa.Table.from_arrays(arrays, schema=schema)


def _dictionary(labels: Sequence[str | None], classes: Sequence[str]) -> pa.DictionaryArray:
    index = {name: i for i, name in enumerate(classes)}
    try:
        codes = [None if label is None else index[label] for label in labels]
    except KeyError as error:
        raise unknown("class", str(error.args[0]), classes) from error
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(list(classes), pa.string()))
