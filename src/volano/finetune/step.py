"""The steps of this room: `conversations` makes what is learnt, `finetune` the model that has.

No torch here: the data side of the product loads this file without it.
"""

from typing import Any

from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.jsonlines import list_files, quarantine_table, read_records
from volano.core.records import Conversation, table_of
from volano.core.step import Context, Inputs, Listing, Step
from volano.finetune.conversations import ask_about_functions, conversation_of
from volano.finetune.hold_out import HELD_OUT, with_held_out, without_questions_of
from volano.finetune.section import (
    FUNCTIONS,
    ConversationsSection,
    FinetuneSection,
    MixtureSection,
)
from volano.model.families import read_config
from volano.text.functions import place_in_draw
from volano.text.held_out import load_held_out_questions
from volano.text.tokenizer import Tokenizer


def scan_conversations(section: ConversationsSection) -> Listing:
    """The users' files."""
    return list_files(section.paths)


def run_conversations(section: ConversationsSection, inputs: Inputs, context: Context) -> None:
    """Write the conversations to learn from. Raises DataError where there are none."""
    conversations: list[Conversation] = []
    manifest: dict[str, Any] = {}
    if FUNCTIONS in section.names:
        documents = inputs["documents"].corpus().records()
        conversations, left_out = ask_about_functions(documents, section)
        manifest["left_out"] = dict(sorted(left_out.items()))
    if section.paths:
        listing = context.listing or scan_conversations(section)
        own, problems = read_records([entry.path for entry in listing.entries], conversation_of)
        if section.held_out:
            own, leaking = with_held_out(own, section.held_out)
            manifest["left_out"] = manifest.get("left_out", {}) | dict(leaking)
            context.bill["conversations_held_out"] = sum(each.split == HELD_OUT for each in own)
        conversations += own
        if problems:
            write_shard(shard_path(context.folder, "quarantine", 0), quarantine_table(problems))
    if not conversations:
        remedy = "Collect functions with documentation, or name JSONL files of messages."
        raise DataError("no conversations to learn from", "finetune.data", remedy)
    write_shard(shard_path(context.folder, "data", 0), table_of(conversations, Conversation))
    finish_corpus(context.folder, "conversation", manifest)
    context.bill["conversations"] = len(conversations)


def run_mixture(section: MixtureSection, inputs: Inputs, context: Context) -> None:
    """Write the requested conversations and those of the former version that come again.

    Of these, what the held-out half asks or is about is left out. The held-out conversations of the
    former version stay held out, and what is requested may not ask what they ask. Raises DataError
    where nothing was requested: there would be nothing new to learn.
    """
    known = list(inputs["former"].corpus().records())
    held_out = [each for each in known if each.split == HELD_OUT]
    requested = without_questions_of(held_out, list(inputs["requested"].corpus().records()))
    if not requested:
        remedy = "Gather more feedback, or lower diagnose.min_cases."
        raise DataError("no new conversations to learn from", "turn", remedy)
    new = {each.id for each in requested}
    former = [each for each in known if each.split != HELD_OUT and each.id not in new]
    half = load_held_out_questions(inputs["findings"].folder)
    fit = [each for each in former if not half.holds(each.messages, each.source_ids)]
    fit.sort(key=lambda each: place_in_draw(f"replay:{each.id}"))
    replayed = fit[: section.replay]
    together = [*requested, *replayed, *held_out]
    write_shard(shard_path(context.folder, "data", 0), table_of(together, Conversation))
    counts = {"requested": len(requested), "replayed": len(replayed)}
    left_out = {"held_out": len(former) - len(fit)}
    finish_corpus(context.folder, "conversation", counts | left_out)


def run_finetune(section: FinetuneSection, inputs: Inputs, context: Context) -> None:
    """Fine-tune the base model on the conversations of the training split."""
    from volano.finetune.run import finetune
    from volano.train.start import processes_for

    conversations = [
        each for each in inputs["conversations"].corpus().records() if each.split == "train"
    ]
    base = inputs["base"].folder
    config = read_config(base)
    with processes_for("volano.finetune.step:FINETUNE", section, inputs, context, config=config):
        finetune(
            section,
            conversations=conversations,
            base=base,
            tokenizer=Tokenizer.load(
                inputs["tokenizer" if "tokenizer" in inputs else "base"].folder
            ),
            context=context,
        )


CONVERSATIONS = Step(
    name="conversations",
    kind="corpus",
    version=2,  # a part of the files' is held out
    section=ConversationsSection,
    run=run_conversations,
    scan=scan_conversations,
)
MIXTURE = Step(
    name="mixture",
    kind="corpus",
    version=2,
    section=MixtureSection,
    run=run_mixture,
)
FINETUNE = Step(
    name="finetune",
    kind="checkpoint",
    version=3,  # seen.parquet names the conversations of users' own files
    section=FinetuneSection,
    run=run_finetune,
    seeded=True,
    on_device=True,
)
