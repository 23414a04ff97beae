"""Writes src/volano/text/data/letters.safetensors: what a letter costs behind two others.

    python scripts/train_gibberish.py UDHR.jsonl.gz BOOKS.jsonl.gz

The first file holds the Universal Declaration of Human Rights, a language a row; the second English
prose, of which as much is read as of all languages together. Every fifth row of each is left out
and only measured. Equal files give equal bytes.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors.numpy import save

from volano.core.jsonlines import read_records
from volano.text.kernels.buffers import text_buffers
from volano.text.kernels.gibberish import (
    BITS_SCALE,
    LETTERS,
    count_letters,
    fill_letter_bits,
    folded_letters,
)

OUT = Path(__file__).resolve().parent.parent / "src/volano/text/data/letters.safetensors"
HELD_OUT_EVERY = 5
MIN_LATIN_FRACTION = 0.5  # of the characters of a row that is a text in Latin script


def texts_of(path: str) -> list[str]:
    """The texts of a file that are mostly letters of Latin script."""
    rows, _ = read_records([Path(path)], lambda values, where: str(values["text"]))
    return [text for text in rows if _latin(text) >= MIN_LATIN_FRACTION]


def _latin(text: str) -> float:
    folded = folded_letters()
    return sum(ord(c) < len(folded) and 0 < folded[ord(c)] < 27 for c in text) / max(len(text), 1)


def counts_of(texts: list[str]) -> np.ndarray:
    """How often each letter stands behind two others."""
    bounds, utf8, _ = text_buffers(pa.array(texts, pa.large_string()))
    counts = np.zeros((LETTERS,) * 3, np.int64)
    count_letters(bounds, utf8, folded_letters(), counts)
    return counts


def bits_of(texts: list[str], table: np.ndarray) -> np.ndarray:
    """The statistic of each text."""
    bounds, utf8, _ = text_buffers(pa.array(texts, pa.large_string()))
    values = np.zeros((len(texts), 1))
    fill_letter_bits(bounds, utf8, folded_letters(), table, 100, values)
    return values[:, 0]


def main() -> None:
    """Train, write and measure."""
    languages, books = map(texts_of, sys.argv[1:3])
    size = sum(map(len, languages))
    taken: list[str] = []
    for text in books:
        if sum(map(len, taken)) < size * HELD_OUT_EVERY / (HELD_OUT_EVERY - 1):
            taken.append(text)
    held_out = languages[::HELD_OUT_EVERY], taken[::HELD_OUT_EVERY]
    learnt = [
        text
        for texts in (languages, taken)
        for place, text in enumerate(texts)
        if place % HELD_OUT_EVERY
    ]
    counts = counts_of(learnt).astype(np.float64)
    pairs = counts.sum(axis=0)  # interpolated with shorter contexts, so that nothing is impossible
    single = pairs.sum(axis=0)
    third = (single + 1) / (single.sum() + LETTERS)
    second = (pairs + 20 * third) / (pairs.sum(axis=1, keepdims=True) + 20)
    first = (counts + 20 * second) / (counts.sum(axis=2, keepdims=True) + 20)
    bits = np.clip(np.round(-np.log2(first) * BITS_SCALE), 0, 255).astype(np.uint8)
    OUT.write_bytes(save({"bits": np.ascontiguousarray(bits)}))
    print(f"{OUT}: {OUT.stat().st_size:,} bytes, from {len(learnt):,} texts")
    draw = np.random.default_rng(0)
    keys = ["".join(draw.choice(list("abcdefghijklmnopqrstuvwxyz "), 600)) for _ in range(200)]
    for name, texts in (
        ("languages held out", held_out[0]),
        ("books held out", held_out[1]),
        ("random letters", keys),
    ):
        values = bits_of(texts, bits)
        quantiles = np.quantile(values[values > 0], [0, 0.5, 0.95, 0.99, 1]).round(2)
        print(f"{name}: {(values > 0).sum()} texts, bits at 0, 50, 95, 99, 100 %: {quantiles}")


if __name__ == "__main__":
    main()
