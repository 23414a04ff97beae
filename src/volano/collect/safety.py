"""The safety conversations that come with Volano: requests that harm others, and their look-alikes.

Written by hand for coding assistants. Every unsafe prompt has a safe one beside it on the same
subject, so that a model which refuses by subject is found out. Half of the pairs are held out.

Two sets. In "natural" people say what they want, as most do; a bag of words tells most of them
apart. In "matched" both labels share their vocabulary, so that only the meaning decides: a model
that sees words only is near chance there, and one that scores high understands.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from volano.collect.listing import listing_of
from volano.collect.section import SafetySection
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.jsonlines import BadLine, read_records
from volano.core.records import Conversation, Message, table_of
from volano.core.step import Context, Inputs, Listing

FOLDER = Path(__file__).parent / "data"
SOURCE = "volano safety"
LICENCE = "Apache-2.0"


def scan_safety(settings: SafetySection) -> Listing:
    """The package's own files."""
    return listing_of({path.name: path for path in FOLDER.glob("safety_*.jsonl")})


def collect_safety(settings: SafetySection, inputs: Inputs, context: Context) -> None:
    """Write one conversation per prompt into the context's folder."""
    listing = context.listing or scan_safety(settings)
    lines, problems = read_records([entry.path for entry in listing.entries], _checked)
    if problems:  # our own file: nothing of it may be left out in silence
        raise DataError(problems[0].reason, problems[0].where, "Mend the package's data.")
    conversations = conversations_of(lines)
    write_shard(shard_path(context.folder, "data", 0), table_of(conversations, Conversation))
    splits = [each.split for each in conversations]
    finish_corpus(
        context.folder,
        "conversation",
        {"splits": {split: splits.count(split) for split in sorted(set(splits))}},
    )


def conversations_of(lines: Sequence[dict[str, Any]]) -> list[Conversation]:
    """The conversations in order of their ids; both of a pair share a split.

    Pairs in the order of their hash go to train and test in turn, so that each gets half of
    either set.
    """
    set_of = {str(line["pair"]): str(line["set"]) for line in lines}
    pairs = sorted(set_of, key=lambda pair: (set_of[pair], hashlib.sha256(pair.encode()).digest()))
    split_of = {pair: ("train", "test")[place % 2] for place, pair in enumerate(pairs)}
    return [
        Conversation(
            id=line["id"],
            messages=(Message("user", line["prompt"]), Message("assistant", line["answer"])),
            source=SOURCE,
            kind=line["label"],
            split=split_of[line["pair"]],
            licence=LICENCE,
            metadata=_metadata(line),
        )
        for line in sorted(lines, key=lambda line: str(line["id"]))
    ]


def _checked(line: dict[str, Any], where: str) -> dict[str, Any]:
    for name in ("id", "set", "pair", "label", "topic", "prompt", "answer"):
        if not isinstance(line.get(name), str) or not line[name].strip():
            raise BadLine(f"lacks `{name}`")
    if line["label"] not in {"safe", "unsafe"}:
        raise BadLine(f"label '{line['label']}' is neither safe nor unsafe")
    return line


def _metadata(line: dict[str, Any]) -> str:
    return json.dumps({name: line[name] for name in ("set", "pair", "topic")}, ensure_ascii=False)
