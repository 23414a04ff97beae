"""One evaluation: all stages on the same held-out items, into one report.

What a stage did in a task is kept when it is measured, so that an interrupted evaluation goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from volano.core.corpus import write_shard
from volano.core.engine import available_cores
from volano.core.errors import DataError
from volano.core.progress import Bar
from volano.core.records import Conversation, Document
from volano.core.report import Measurement, Report
from volano.core.step import Context
from volano.evaluate.choice import matched_items
from volano.evaluate.comparisons import compare_stages, win_rates
from volano.evaluate.conversations import (
    asked_that_fit,
    held_out_conversations,
    measure_conversations,
    measure_nearest_answers,
)
from volano.evaluate.efficiency import measure_efficiency
from volano.evaluate.functions import (
    functions_that_fit,
    items_that_fit,
    measure_answers,
    measure_bits,
    measure_choice,
    measure_choice_without_model,
    sampled_answers,
)
from volano.evaluate.held_out import askable
from volano.evaluate.safety import held_out_prompts, measure_bag_of_words, measure_safety
from volano.evaluate.section import EvaluateSection
from volano.evaluate.stage import RANDOM, Found, Item, Stage, kept
from volano.model.decoder import Decoder, initialise
from volano.model.device import device_for
from volano.model.huggingface import load_checkpoint
from volano.text.functions import FunctionDocument, place_in_draw
from volano.text.tokenizer import Tokenizer

# Of each stage, for the bar.
PARTS = {"bits_per_byte": 1, "held_out_functions": 2, "conversations": 1, "safety": 1}
REPORT_FILE, ITEMS_FILE = "report.json", "items.parquet"
ITEM_SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("id", pa.string()),
        ("stage", pa.string()),
        ("answer", pa.large_string()),
        ("score", pa.float64()),
        ("correct", pa.bool_()),
        ("weight", pa.float64()),
    ]
)


def evaluate(
    section: EvaluateSection,
    *,
    held_out: Sequence[Document],
    safety: Sequence[Conversation],
    conversations: Sequence[Conversation] = (),
    checkpoints: Mapping[str, Path],
    context: Context,
) -> None:
    """Write the report and every single result. `checkpoints` maps base, sft, aligned to folders.

    Raises DataError where there is nothing to measure or nothing to measure it on.
    """
    if not checkpoints:
        raise DataError("no checkpoint to evaluate", "evaluate", "Give base, sft or aligned.")
    threads = torch.get_num_threads()
    torch.set_num_threads(context.workers or available_cores())
    device = device_for(context)
    try:
        stages = [
            Stage(name, load_checkpoint(folder).to(device).eval(), Tokenizer.load(folder))
            for name, folder in checkpoints.items()
        ]
        functions = askable(held_out)
        if len(functions) < 2 and {"held_out_functions", "efficiency"} & set(section.tasks):
            what = f"{len(functions)} held-out functions to ask about"
            remedy = (
                "Hold out more: collect.held_out_functions. Or leave the tasks: evaluate.tasks."
            )
            raise DataError(what, "evaluate", remedy)
        works = sum(PARTS.get(task, 0) for task in set(section.tasks))
        with context.progress("evaluate", len(stages) * works + 1, "parts") as bar:
            evaluation = _Evaluation(section, stages, context, bar)
            if "bits_per_byte" in section.tasks:
                evaluation.bits(held_out)
            if "held_out_functions" in section.tasks:
                evaluation.choice(functions)
                evaluation.answers(functions)
            if "conversations" in section.tasks:
                evaluation.conversations(conversations, functions)
            if "safety" in section.tasks:
                evaluation.safety(safety)
            if "efficiency" in section.tasks:
                context.bill |= measure_efficiency(stages, functions)
            evaluation.write()
    finally:
        torch.set_num_threads(threads)


class _Evaluation:
    """Collects what the tasks find."""

    def __init__(
        self, section: EvaluateSection, stages: list[Stage], context: Context, bar: Bar
    ) -> None:
        self.section, self.stages, self.context, self.bar = section, stages, context, bar
        self.measurements: list[Measurement] = []
        self.items: list[Item] = []
        self.extra: dict[str, int] = {}
        done = sum(1 for _ in context.scratch.glob("*.json"))
        if done:
            bar.resume(done)

    def choice(self, functions: Sequence[FunctionDocument]) -> None:
        """Four-way choice of every stage, of the random model, of chance and word overlap."""
        items = matched_items(functions, self.section.choice_items)
        first = self.stages[0]
        fitting = items_that_fit(first.tokenizer, items, first.model.config.context)
        self.extra |= {
            "choice_items": len(fitting),
            "choice_items_too_long": len(items) - len(fitting),
        }
        if len(fitting) < 2:
            what = f"{len(fitting)} items for the four-way choice"
            raise DataError(what, "evaluate", "Hold out more: collect.held_out_functions.")
        self._add(measure_choice_without_model(fitting))
        for stage in [_random_like(first, self.context.seed), *self.stages]:
            self._part(f"choice-{stage.name}", partial(_choice, stage, fitting))

    def bits(self, held_out: Sequence[Document]) -> None:
        """Bits per byte of every stage on held-out documents, whatever they are."""
        drawn = sorted(held_out, key=lambda each: place_in_draw(each.id))
        texts = [(each.id, each.text) for each in drawn[: self.section.bits_documents]]
        if len(texts) < 2:
            what = f"{len(texts)} held-out documents"
            remedy = "Hold out more: collect.held_out_fraction, or collect.held_out_functions."
            raise DataError(what, "evaluate", remedy)
        for stage in self.stages:
            measure = partial(measure_bits, stage, texts, self.context.seed)
            self._part(f"bits-{stage.name}", measure)

    def answers(self, functions: Sequence[FunctionDocument]) -> None:
        """Greedy and sampled answers of every stage."""
        section, seed = self.section, self.context.seed
        first = self.stages[0]
        room = first.model.config.context - section.max_answer_tokens
        fitting = functions_that_fit(first.tokenizer, functions, room)
        asked = sorted(fitting, key=lambda each: place_in_draw(each.id))[: section.answers]
        self.extra["functions_asked"] = len(asked)
        if len(asked) < 2:
            what = f"{len(asked)} questions leave room for an answer of {section.max_answer_tokens}"
            remedy = "Lower evaluate.max_answer_tokens, or hold out more functions."
            raise DataError(f"{what} tokens", "evaluate", remedy)
        for stage in self.stages:
            self._part(f"answers-{stage.name}", partial(_answers, stage, asked, section, seed))

    def conversations(
        self, conversations: Sequence[Conversation], functions: Sequence[FunctionDocument]
    ) -> None:
        """The held-out conversations of every stage, beside the most alike answer learnt."""
        section, seed, first = self.section, self.context.seed, self.stages[0]
        # Questions about functions count where functions were learnt.
        learnt = any(each.kind == "function" for each in conversations)
        drawn = held_out_conversations(
            conversations, functions if learnt else (), section.conversations
        )
        limit = section.conversation_tokens
        asked = asked_that_fit(first.tokenizer, drawn, first.model.config.context, limit)
        self.extra |= {
            "conversations_asked": len(asked),
            "conversations_too_long": len(drawn) - len(asked),
        }
        if len(asked) < 2:
            what = f"{len(asked)} of {len(drawn)} held-out conversations leave room for an answer"
            remedy = "Lower evaluate.conversation_tokens, or give shorter conversations."
            raise DataError(what, "evaluate", remedy)
        self._add(measure_nearest_answers(asked, conversations, seed))
        for stage in self.stages:
            measure = partial(measure_conversations, stage, asked, max_tokens=limit, seed=seed)
            self._part(f"conversations-{stage.name}", measure)

    def safety(self, conversations: Sequence[Conversation]) -> None:
        """Refusals and answers of every stage, beside the bag of words."""
        prompts = held_out_prompts(conversations, self.section.safety_prompts)
        self._add(measure_bag_of_words(conversations, prompts))
        for stage in self.stages:
            self._part(f"safety-{stage.name}", partial(measure_safety, stage, prompts))

    def write(self) -> None:
        """Write the report and the items."""
        seed, folder = self.context.seed, self.context.folder
        rows = [item._asdict() for item in self.items]
        write_shard(folder / ITEMS_FILE, pa.Table.from_pylist(rows, schema=ITEM_SCHEMA))
        Report(
            (*self.measurements, *win_rates(self.items, seed)),
            tuple(compare_stages(self.items, seed)),
            dict(self.extra),
        ).save(folder / REPORT_FILE)

    def _part(self, name: str, measure: Callable[[], Found]) -> None:
        path = self.context.scratch / f"{name}.json"
        new = not path.is_file()
        self._add(kept(path, measure))
        if new:
            self.bar.advance()

    def _add(self, found: Found) -> None:
        self.measurements += found.measurements
        self.items += found.items


def _choice(stage: Stage, items: Sequence[Any]) -> Found:
    found = measure_choice(stage, items)
    if stage.name == "base":
        found = _joined(found, measure_choice(stage, items, as_document=True))
    return found


def _answers(
    stage: Stage, asked: Sequence[FunctionDocument], section: EvaluateSection, seed: int
) -> Found:
    limit = section.max_answer_tokens
    found = measure_answers(stage, asked, max_tokens=limit, seed=seed)
    if stage.name == "base":
        as_document = measure_answers(stage, asked, max_tokens=limit, seed=seed, as_document=True)
        return _joined(found, as_document)
    sampled = sampled_answers(
        stage,
        asked,
        max_tokens=limit,
        temperature=section.sample_temperature,
        seeds=range(seed, seed + section.seeds),
    )
    return _joined(found, Found([], sampled))


def _joined(first: Found, second: Found) -> Found:
    return Found(first.measurements + second.measurements, first.items + second.items)


def _random_like(stage: Stage, seed: int) -> Stage:
    model = Decoder(stage.model.config)
    initialise(model, seed)
    model.to(stage.model.head_weight.device)
    return Stage(RANDOM, model.eval(), stage.tokenizer)
