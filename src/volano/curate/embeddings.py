"""Documents as vectors whose cosine says how alike they are: what semantic deduplication reads.

Three sources: latent semantic analysis, fitted on the corpus itself; a static model, which is a
table of token vectors; and sentence-transformers, where that is installed. It is no extra, because
it asks for torch, whose build is chosen apart.

Shapes: N documents, W buckets of words, D dimensions.
"""

import functools
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from volano.core.errors import DataError, MissingExtra
from volano.core.files import atomic_path
from volano.text.kernels.hashing import word_hashes

Array = npt.NDArray[Any]
WORD_BUCKETS = 1 << 17
STATIC = ("model.safetensors", "tokenizer.json")
SENTENCE_TRANSFORMERS = "modules.json"
_SETTING = "curate.dedup.semantic.model"
_AT_ONCE = 256  # texts that a static model tokenizes together


class Embedder(Protocol):
    """Makes vectors of length 1; of a text without words, zeros."""

    def embed(self, texts: pa.LargeStringArray) -> Array:
        """float32, N × D."""


def word_counts(texts: pa.LargeStringArray) -> Any:
    """A sparse matrix, N × W, of 1 + log(occurrences) of words by the bucket of their hash."""
    sparse = _scipy_sparse()
    words, bounds = word_hashes(texts)
    buckets = (words % np.uint64(WORD_BUCKETS)).astype(np.int32)
    shape = (len(texts), WORD_BUCKETS)
    counts = sparse.csr_matrix((np.ones(len(buckets), np.float32), buckets, bounds), shape=shape)
    counts.sum_duplicates()
    counts.data = 1 + np.log(counts.data)
    return counts


class Latent:
    """Latent semantic analysis: words weighed by their rarity, projected to what varies most."""

    def __init__(self, rarity: Array, directions: Array) -> None:
        self.rarity, self.directions = rarity, directions  # W; W × D

    @classmethod
    def fit(cls, counts: Any, *, dimensions: int, seed: int) -> "Latent":
        """From the `word_counts` of N documents, two or more, which have N - 1 dimensions."""
        from sklearn.utils.extmath import randomized_svd

        documents = counts.shape[0]
        holding = np.bincount(counts.indices, minlength=WORD_BUCKETS)
        rarity = (np.log((1 + documents) / (1 + holding)) + 1).astype(np.float32)
        # A word of one document says nothing about others, and most words are such.
        rarity[holding < 2] = 0
        weighed = _unit_rows(counts.multiply(rarity).tocsr())
        _, _, directions = randomized_svd(
            weighed, n_components=min(dimensions, documents - 1), n_iter=4, random_state=seed
        )
        return cls(rarity, np.ascontiguousarray(directions.T.astype(np.float32)))

    def embed(self, texts: pa.LargeStringArray) -> Array:
        weighed = _unit_rows(word_counts(texts).multiply(self.rarity).tocsr())
        return _of_length_one(np.asarray(weighed @ self.directions, np.float32))

    def save(self, path: Path) -> None:
        """Written at once or not at all."""
        with atomic_path(path) as unfinished, unfinished.open("wb") as stream:
            np.savez(stream, rarity=self.rarity, directions=self.directions)

    @classmethod
    def load(cls, path: Path) -> "Latent":
        with np.load(path) as arrays:
            return cls(arrays["rarity"], arrays["directions"])


class Static:
    """The mean of the vectors of a text's tokens, from a table."""

    def __init__(self, folder: Path) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        path, told = folder / STATIC[0], folder / STATIC[1]
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as problem:
            raise DataError(f"cannot be read ({problem})", str(path), _what_fits()) from None
        try:
            self.tokenizer = Tokenizer.from_file(str(told))
        except Exception as problem:  # the library raises no class of its own
            raise DataError(f"cannot be read ({problem})", str(told), _what_fits()) from None
        tables = [tensor for tensor in tensors.values() if tensor.ndim == 2]
        if len(tables) != 1 or len(tables[0]) < self.tokenizer.get_vocab_size():
            what = f"{len(tables)} tables for {self.tokenizer.get_vocab_size():,} tokens"
            raise DataError(what, str(path), _what_fits())
        self.vectors: Array = tables[0].astype(np.float32)

    def embed(self, texts: pa.LargeStringArray) -> Array:
        found = np.zeros((len(texts), self.vectors.shape[1]), np.float32)
        for begin in range(0, len(texts), _AT_ONCE):
            part = [text or "" for text in texts[begin : begin + _AT_ONCE].to_pylist()]
            for row, each in enumerate(
                self.tokenizer.encode_batch(part, add_special_tokens=False), begin
            ):
                if each.ids:
                    found[row] = self.vectors[each.ids].mean(axis=0)
        return _of_length_one(found)


class SentenceTransformers:
    """A model of the library of that name."""

    def __init__(self, folder: Path) -> None:
        try:
            library = import_module("sentence_transformers")
        except ModuleNotFoundError:
            raise MissingExtra(
                "sentence-transformers is not installed",
                _SETTING,
                "Run `pip install sentence-transformers`.",
            ) from None
        self.model = library.SentenceTransformer(str(folder), device="cpu", local_files_only=True)

    def embed(self, texts: pa.LargeStringArray) -> Array:
        whole = [text or "" for text in texts.to_pylist()]
        found = self.model.encode(whole, convert_to_numpy=True, show_progress_bar=False)
        found = np.asarray(found, np.float32)
        found[[not text.strip() for text in whole]] = 0
        return _of_length_one(found)


def model_files(folder: Path) -> list[Path]:
    """The files of a model, sorted. Raises DataError where the folder holds none that is known."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix() for path in files}
    if SENTENCE_TRANSFORMERS not in names and not names.issuperset(STATIC):
        what = "no model of embeddings" if folder.is_dir() else "no such folder"
        raise DataError(what, f"{_SETTING}: {folder}", _what_fits())
    return files


def load_embedder(path: Path) -> Embedder:
    """A fitted Latent (a file), or the model of a folder; the last one is kept until it changes."""
    files = [path] if path.is_file() else model_files(path)
    return _loaded(path, tuple(each.stat().st_mtime_ns for each in files))


@functools.lru_cache(maxsize=1)
def _loaded(path: Path, changed: tuple[int, ...]) -> Embedder:
    if path.is_file():
        return Latent.load(path)
    if (path / SENTENCE_TRANSFORMERS).is_file():
        return SentenceTransformers(path)
    return Static(path)


def _what_fits() -> str:
    return "Name a folder of model2vec or sentence-transformers, or `latent`."


def _unit_rows(matrix: Any) -> Any:
    from sklearn.preprocessing import normalize

    return normalize(matrix, copy=False) if matrix.shape[0] else matrix  # which it refuses


def _of_length_one(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    # Of what is left of a text whose words are all unknown, the direction is chance.
    return np.where(lengths > 1e-6, vectors / np.maximum(lengths, 1e-6), 0).astype(np.float32)


def _scipy_sparse() -> Any:
    try:
        import sklearn  # noqa: F401
        from scipy import sparse
    except ModuleNotFoundError:
        raise MissingExtra(
            "scikit-learn is not installed",
            "curate.dedup.semantic",
            'Install it: `pip install "volano[semantic]"`.',
        ) from None
    return sparse
