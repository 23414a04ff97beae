"""An Arrow column of text as the three plain arrays that a kernel reads."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.core.errors import DataError

Array = npt.NDArray[Any]
Texts: TypeAlias = pa.StringArray | pa.LargeStringArray | pa.ChunkedArray


class TextBuffers(NamedTuple):
    """Row i is `utf8[bounds[i] : bounds[i + 1]]`; a missing text has no bytes."""

    bounds: Array  # int64, one more than there are rows
    utf8: Array  # uint8
    missing: Array  # bool

    def __len__(self) -> int:  # rows, not fields
        return len(self.missing)


def text_buffers(texts: Texts) -> TextBuffers:
    """The buffers of a column, uncopied where it is one chunk of large_string, slices included.

    Raises DataError if `texts` holds no strings.
    """
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks() if texts.num_chunks != 1 else texts.chunk(0)
    if not isinstance(texts, pa.StringArray | pa.LargeStringArray):
        kind = getattr(texts, "type", type(texts).__name__)
        raise DataError("expected text", f"column of {kind}", "Cast it to pyarrow.large_string().")
    missing = texts.is_null().to_numpy(zero_copy_only=False)
    if texts.null_count:
        texts = texts.fill_null("")  # Arrow lets a null row hold bytes
    texts = texts.cast(pa.large_string())  # which may begin at another offset than before
    _, offsets, utf8 = texts.buffers()
    bounds = np.zeros(1, np.int64)  # an empty column need not have offsets at all
    if len(texts):
        bounds = np.frombuffer(offsets, np.int64)[texts.offset :][: len(texts) + 1]
    return TextBuffers(
        _read_only(bounds), _read_only(np.frombuffer(utf8 or b"", np.uint8)), missing
    )


def _read_only(array: Array) -> Array:
    # numba compiles once for read-only arrays and once more for others; Arrow gives both kinds.
    array.flags.writeable = False
    return array
