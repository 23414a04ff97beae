"""Our side of benchmarks/train.py: the loop that recipes run, on the rows of the benchmark."""

import resource
import tempfile
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

STARTED = time.monotonic()
WARM_UP = 3  # steps: buffers are taken, and what is compiled is compiled


class Rows(NamedTuple):
    tokens_BT: Any
    labels_BT: Any
    document_BT: Any


class RowStream:
    """Consecutive rows, and when each batch was asked for."""

    def __init__(self, path: Path, rows: int, steps: int, first_row: int) -> None:
        with np.load(path) as kept:
            self._fields = [np.roll(kept[name], -first_row, axis=0) for name in Rows._fields]
        self.rows, self.steps = rows, steps
        self.asked: list[float] = []

    def batch(self, step: int) -> Rows:
        self.asked.append(time.monotonic())
        places = np.arange(step * self.rows, (step + 1) * self.rows) % len(self._fields[0])
        return Rows(*(field[places] for field in self._fields))

    def documents(self, until_step: int, *, without: Collection[int] = ()) -> Mapping[str, int]:
        return {}

    def documents_at(self, step: int) -> list[str]:
        return []


def run_ours(task: dict[str, Any]) -> dict[str, Any]:
    """Train for the warm-up and the steps that are counted; the figures of benchmarks/train.py."""
    from volano.model.huggingface import load_checkpoint
    from volano.pretrain.objective import LanguageModelling
    from volano.pretrain.section import PretrainSection
    from volano.train.loop import train

    folder = Path(task["data"])
    model = load_checkpoint(Path(task.get("init", folder)))
    steps = WARM_UP + task["steps"] + 1
    stream = RowStream(folder / "rows.npz", task["rows"], steps, task.get("first_row", 0))
    section = PretrainSection(batch_rows=task["rows"], **task["settings"])
    with tempfile.TemporaryDirectory() as scratch:
        result = train(
            model, LanguageModelling(), stream, section, seed=task["seed"], scratch=Path(scratch)
        )
    size = task["rows"] * stream.batch(0).tokens_BT.shape[1]
    return figures(stream.asked[:-1], [size] * stream.steps, result.metrics["loss"].to_pylist())


def tune_ours(task: dict[str, Any]) -> dict[str, Any]:
    """Teach conversations as `volano finetune` does, packed."""
    from volano.core.jsonlines import read_records
    from volano.finetune.conversations import conversation_of
    from volano.finetune.section import FinetuneSection
    from volano.finetune.sft import AnswerObjective, AnswerStream
    from volano.model.huggingface import load_checkpoint
    from volano.text.chat import encode_conversation
    from volano.text.examples import fitting, positions
    from volano.text.tokenizer import Tokenizer
    from volano.train.adapting import begin_adapter
    from volano.train.loop import train

    folder = Path(task["data"])
    model, tokenizer = load_checkpoint(folder), Tokenizer.load(folder)
    lines, _ = read_records([Path(task["conversations"])], conversation_of)
    encoded = [encode_conversation(tokenizer, each.messages) for each in lines]
    found = fitting(encoded, context=task["context"], where="--conversations")
    examples = [encoded[place] for place in found.places]
    a_step = task["rows"] * sum(map(positions, examples)) / len(examples)
    settings = dict(task["settings"])
    rows = max(1, round(a_step / task["context"]))
    one_row = settings.pop("one_row", False)
    section = FinetuneSection(
        batch_rows=rows,
        accumulate=rows if one_row else 1,
        context=task["context"],
        **({"lora": {"rank": 16, "alpha": 32.0}} if task["adapter"] else {}),
        **settings,
    )
    steps = WARM_UP + task["steps"] + 1

    class Asked(AnswerStream):
        """Also says when a batch was asked for, and how many of its positions hold data."""

        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            self.asked: list[float] = []
            self.sizes: list[int] = []

        def batch(self, step: int) -> Any:
            self.asked.append(time.monotonic())
            batch = super().batch(step)
            self.sizes.append(int((batch.document_BT < len(examples)).sum()))
            return batch

    stream = Asked(
        examples,
        [[str(place)] for place in range(len(examples))],
        context=task["context"],
        padding_id=tokenizer.end_of_text_id,
        batch_rows=rows,
        epochs=float(steps * rows),  # enough for any number of rows
        seed=1,
    )
    stream.steps = steps
    begin_adapter(model, section, 1, tokenizer)
    with tempfile.TemporaryDirectory() as scratch:
        result = train(model, AnswerObjective(), stream, section, seed=1, scratch=Path(scratch))
    return figures(stream.asked, stream.sizes, result.metrics["loss"].to_pylist())


def figures(asked: list[float], tokens: list[int], losses: list[float]) -> dict[str, Any]:
    """From when each step began; the first few are left out."""
    seconds = np.diff(asked)[WARM_UP:]
    sizes = tokens[WARM_UP : WARM_UP + len(seconds)]
    return {
        "tokens_per_second": median(size / each for size, each in zip(sizes, seconds, strict=True)),
        "startup_seconds": asked[WARM_UP] - STARTED,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "losses": losses,
    }
