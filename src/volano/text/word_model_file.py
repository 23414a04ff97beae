"""An n-gram model of words as one safetensors file, and as ARPA, which all other tools read.

The safetensors file keeps numbers as they are in memory: float16 for a model that was trained here,
float32 for one that was read from ARPA. ARPA is written with as many digits as float32 has.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volano.core.errors import DataError
from volano.core.files import atomic_path
from volano.core.recipe import require_file
from volano.text.kernels.word_models import MAX_ORDER, hash_of_word, lengthen
from volano.text.word_model import MARKS, NEVER, Grams, WordModel

Array = npt.NDArray[Any]
KEY, FORMAT = "volano_ngrams", 1
WORDS = 1  # raised whenever kernels/word_models.py reads a text otherwise
REMEDY = "Name a file that `volano ngrams` has written."
ARPA_REMEDY = "Name an ARPA file with <unk>, <s> and </s>, as lmplz writes it."


def save_words(model: WordModel, path: Path) -> None:
    """Write the file, whole or not at all."""
    from safetensors.numpy import save

    words = "\n".join(model.words).encode()  # no word holds white space
    tensors = {"words": np.frombuffer(words, np.uint8)}
    for length, grams in enumerate(model.grams, start=1):
        for name, array in grams._asdict().items():
            if length > 1 or name in ("log_prob", "back_off"):
                tensors[f"{name}.{length}"] = np.ascontiguousarray(array)
    about = {"format": FORMAT, "words": WORDS, "order": model.order, "about": model.about}
    data = save(tensors, metadata={KEY: json.dumps(about, sort_keys=True, ensure_ascii=True)})
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(data)


def load_words(path: Path) -> WordModel:
    """Read the file. Raises DataError where it is none, cut short, or of another version."""
    from safetensors import SafetensorError, safe_open

    where = str(require_file(path))
    try:
        with safe_open(where, framework="numpy") as stream:
            header = (stream.metadata() or {}).get(KEY)
            if header is None:
                raise DataError("this is no n-gram model", where, REMEDY)
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as problem:
        raise DataError(f"not readable as safetensors ({problem})", where, REMEDY) from None
    try:
        about = json.loads(header)
        version = (about["format"], about["words"])
        if version != (FORMAT, WORDS):
            what = f"format {version[0]}.{version[1]}, and this reads {FORMAT}.{WORDS}"
            raise DataError(what, where, "Train it again with this version.")
        words = tuple(tensors["words"].tobytes().decode().split("\n"))
        nothing = np.zeros(len(words), np.uint32)
        grams = []
        for length in range(1, int(about["order"]) + 1):
            first = tensors[f"first.{length}"] if length > 1 else nothing
            rest = tensors[f"rest.{length}"] if length > 1 else nothing
            numbers = (tensors[f"{name}.{length}"] for name in ("log_prob", "back_off"))
            grams.append(Grams(first, rest, *numbers))
        model = WordModel(words, tuple(grams), dict(about["about"]))
    except (KeyError, TypeError, ValueError) as problem:
        raise DataError(f"its content is damaged ({problem})", where, REMEDY) from None
    if not _fits(model):
        raise DataError("its parts do not fit together", where, REMEDY)
    return model


def _fits(model: WordModel) -> bool:
    # Numbers that say where to read are checked, or other memory would be read.
    if model.words[:3] != MARKS or not 1 <= model.order <= MAX_ORDER:
        return False
    below = len(model.words)
    for length, grams in enumerate(model.grams, start=1):
        size = len(grams.log_prob)
        if any(len(each) != size or each.ndim != 1 for each in grams):
            return False
        if length == 1 and size != len(model.words):
            return False
        if size and (int(grams.first.max()) >= len(model.words) or int(grams.rest.max()) >= below):
            return False
        if not (np.isfinite(grams.log_prob).all() and np.isfinite(grams.back_off).all()):
            return False
        below = size
    return True


def write_arpa(model: WordModel, path: Path) -> None:
    """Write the model as ARPA: log10 probability, words, log10 back-off."""
    with atomic_path(path) as unfinished, unfinished.open("w", encoding="utf-8") as stream:
        stream.write("\\data\\\n")
        for length, grams in enumerate(model.grams, start=1):
            stream.write(f"ngram {length}={len(grams.log_prob)}\n")
        texts: list[str] = []
        for length, grams in enumerate(model.grams, start=1):
            stream.write(f"\n\\{length}-grams:\n")
            texts = _texts(model.words, grams, texts) if length > 1 else list(model.words)
            numbers = zip(grams.log_prob.tolist(), texts, grams.back_off.tolist(), strict=True)
            for log_prob, text, back_off in numbers:
                tail = "" if length == model.order else f"\t{_number(back_off)}"
                stream.write(f"{_number(log_prob)}\t{text}{tail}\n")
        stream.write("\n\\end\\\n")


def _texts(words: tuple[str, ...], grams: Grams, shorter: list[str]) -> list[str]:
    pairs = zip(grams.first.tolist(), grams.rest.tolist(), strict=True)
    return [f"{words[first]} {shorter[rest]}" for first, rest in pairs]


def _number(value: float) -> str:
    return f"{value:.9g}"  # tells all float32 apart


def read_arpa(path: Path) -> WordModel:
    """Read an ARPA file. Raises DataError, with the line, where it is none.

    Words that this project parts otherwise ("don't" is three words) are never met in a text. An
    n-gram whose words without the first one are no n-gram is refused: it could not be found.
    """
    where = str(require_file(path))
    words: list[str] = []
    made: list[Grams] = []
    keys: list[Array] = []
    hashes = np.empty(0, np.uint64)
    places: dict[str, int] = {}
    for length, rows in _arpa_sections(path, where):
        log_probs, back_offs, parts = rows
        if length == 1:
            words = _marks_first([each[0] for each in parts], log_probs, back_offs, where)
            places = {word: place for place, word in enumerate(words)}
            hashes = np.array([hash_of_word(word) for word in words], np.uint64)
            first = rest = np.zeros(len(words), np.uint32)
            keys.append(hashes)
        else:
            first, rest, key = _placed(parts, places, hashes, keys[-1], where)
            keys.append(key)
        numbers = (np.array(each, np.float32) for each in (log_probs, back_offs))
        made.append(Grams(first, rest, *numbers))
    if not made:
        raise DataError("no n-grams", where, ARPA_REMEDY)
    if len(made) > MAX_ORDER:
        raise DataError(f"n-grams of {len(made)} words", where, f"Give one of up to {MAX_ORDER}.")
    return WordModel(tuple(words), tuple(made), {"order": len(made), "from": path.name})


Rows = tuple[list[float], list[float], list[list[str]]]


def _arpa_sections(path: Path, where: str) -> Iterator[tuple[int, Rows]]:
    # Number of words, and of each n-gram its log-probability, back-off and words.
    length, wanted = 0, {}
    rows: Rows = ([], [], [])
    with path.open(encoding="utf-8", newline="\n") as stream:
        for number, line in enumerate(_decoded(stream, where), start=1):
            text = line.rstrip("\r\n")
            if not text.strip():
                continue
            try:
                if text.startswith("ngram ") and not length:
                    size, _, count = text[6:].partition("=")
                    wanted[int(size)] = int(count)
                elif text.startswith("\\") and ("-grams:" in text or text.strip() == "\\end\\"):
                    if length:
                        if len(rows[0]) != wanted[length]:
                            raise ValueError(f"{len(rows[0])} {length}-grams, not {wanted[length]}")
                        yield length, rows
                    if text.strip() == "\\end\\":
                        return
                    if int(text[1:].partition("-")[0]) != length + 1:
                        raise ValueError(f"section {text} after {length}-grams")
                    length, rows = length + 1, ([], [], [])
                elif length:
                    parts = text.split("\t") if "\t" in text else text.split(" ")
                    named = parts[1].split(" ") if "\t" in text else parts[1 : length + 1]
                    behind = parts[2:] if "\t" in text else parts[length + 1 :]
                    if len(named) != length:
                        raise ValueError(f"{len(named)} words, not {length}")
                    rows[0].append(max(float(parts[0]), NEVER))
                    rows[1].append(float(behind[0]) if behind else 0.0)
                    rows[2].append(named)
                elif text.strip() != "\\data\\":
                    raise ValueError("not ARPA")
            except (ValueError, IndexError, KeyError) as problem:
                raise DataError(str(problem), f"{where}:{number}", ARPA_REMEDY) from None
    raise DataError("it stops before \\end\\", where, ARPA_REMEDY)


def _decoded(stream: Iterator[str], where: str) -> Iterator[str]:
    try:
        yield from stream
    except UnicodeDecodeError as problem:
        raise DataError(f"not UTF-8 ({problem.reason})", where, ARPA_REMEDY) from None


def _marks_first(
    words: list[str], log_probs: list[float], back_offs: list[float], where: str
) -> list[str]:
    # The vocabulary in its order, but for the three marks; numbers move along, in place.
    if len(set(words)) < len(words):
        raise DataError("a word stands twice", where, ARPA_REMEDY)
    absent = [mark for mark in MARKS if mark not in words]
    if absent:
        raise DataError(f"no {absent[0]} among the words", where, ARPA_REMEDY)
    order = [words.index(mark) for mark in MARKS]
    order += [place for place, word in enumerate(words) if word not in MARKS]
    for numbers in (log_probs, back_offs):
        numbers[:] = [numbers[place] for place in order]
    log_probs[1] = NEVER  # lmplz writes 0
    return [words[place] for place in order]


def _placed(
    parts: list[list[str]], places: dict[str, int], hashes: Array, shorter: Array, where: str
) -> tuple[Array, Array, Array]:
    try:
        ids = np.array([[places[word] for word in row] for row in parts], np.int64)
    except KeyError as problem:
        raise DataError(f"{problem} is no word of it", where, ARPA_REMEDY) from None
    ids = ids.reshape(len(parts), -1)
    if not len(ids):
        return np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.uint64)
    key = hashes[ids[:, -1]]
    for column in range(ids.shape[1] - 2, 0, -1):
        key = lengthen(key, hashes[ids[:, column]])
    by_key = np.argsort(shorter)
    found = np.searchsorted(shorter, key, sorter=by_key)
    rest = by_key[np.minimum(found, len(by_key) - 1)] if len(by_key) else np.zeros(len(key), int)
    if not len(shorter) or (shorter[rest] != key).any():
        raise DataError("an n-gram's last words are no n-gram of it", where, ARPA_REMEDY)
    first = ids[:, 0]
    return first.astype(np.uint32), rest.astype(np.uint32), lengthen(key, hashes[first])
