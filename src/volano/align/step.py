"""The steps of this room: `preferences` makes pairs, `align` the model that follows them.

No torch here: the data side of the product loads this file without it.
"""

from volano.align.function_pairs import function_preferences
from volano.align.preferences import (
    preference_of,
    reminders_of_conversations,
    safety_preferences,
)
from volano.align.section import FUNCTIONS, SAFETY, AlignSection, PreferencesSection
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.errors import DataError
from volano.core.jsonlines import list_files, quarantine_table, read_records
from volano.core.records import Preference, table_of
from volano.core.step import Context, Inputs, Listing, Step
from volano.model.families import read_config
from volano.text.held_out import load_held_out_questions
from volano.text.near_questions import ask_one_of, questions_of
from volano.text.tokenizer import Tokenizer


def scan_preferences(section: PreferencesSection) -> Listing:
    """The users' files."""
    return list_files(section.paths)


def run_preferences(section: PreferencesSection, inputs: Inputs, context: Context) -> None:
    """Write the pairs to align on. Raises DataError where there are none."""
    preferences: list[Preference] = []
    if FUNCTIONS in section.names:
        documents = inputs["documents"].corpus().records()
        preferences += function_preferences(documents, section.function_pairs)
    if SAFETY in section.names:
        safety = safety_preferences(
            inputs["safety"].corpus().records(),
            section.safety_sets,
            section.safe_fraction,
            section.safety_pairs,
        )
        preferences += _in_own_words(safety, inputs, context) if section.needs_model else safety
    if "former" in inputs:  # the version before, which met harmless requests of any set
        preferences += _reminders(inputs, context)
    if "learnt" in inputs:  # what the model was fine-tuned on
        learnt = inputs["learnt"].corpus().records()
        preferences += reminders_of_conversations(learnt, section.reminders)
    if "findings" in inputs:  # of a later version, which is judged on the held-out half
        half = load_held_out_questions(inputs["findings"].folder)
        preferences = [each for each in preferences if not half.holds(each.prompt, each.source_ids)]
    if "requested" in inputs:  # what the diagnosis asked for
        asked = {(each.prompt, each.kind) for each in preferences}
        requested = inputs["requested"].corpus().records()
        new = [each for each in requested if (each.prompt, each.kind) not in asked]
        on_conduct = [each for each in new if each.kind in ("unsafe", "safe")]
        preferences += [each for each in new if each.kind not in ("unsafe", "safe")]
        asks = bool(on_conduct) and section.needs_model
        preferences += _in_own_words(on_conduct, inputs, context) if asks else on_conduct
    if section.paths:
        listing = context.listing or scan_preferences(section)
        own, problems = read_records([entry.path for entry in listing.entries], preference_of)
        if "conversations" in inputs:  # of which a part is held out, to be asked in evaluation
            own = _without_held_out(own, inputs, context)
        preferences += own
        if problems:
            write_shard(shard_path(context.folder, "quarantine", 0), quarantine_table(problems))
    if not preferences:
        remedy = "Collect more functions, add `safety`, or name JSONL files of preferences."
        raise DataError("no pairs to align on", "align.data", remedy)
    write_shard(shard_path(context.folder, "data", 0), table_of(preferences, Preference))
    finish_corpus(context.folder, "preference")
    context.bill["pairs"] = len(preferences)


def _without_held_out(
    pairs: list[Preference], inputs: Inputs, context: Context
) -> list[Preference]:
    known = inputs["conversations"].corpus().records()
    held_out = [questions_of(each.messages) for each in known if each.split == "test"]
    leaks = ask_one_of(
        [questions_of(each.prompt) for each in pairs], [each[0] for each in held_out if each]
    )
    context.bill["pairs_that_ask_held_out_questions"] = sum(leaks)
    return [pair for pair, leak in zip(pairs, leaks, strict=True) if not leak]


def _in_own_words(pairs: list[Preference], inputs: Inputs, context: Context) -> list[Preference]:
    from volano.align.own_answers import with_own_answers
    from volano.model.device import device_for
    from volano.model.huggingface import load_checkpoint

    folder = inputs["sft"].folder
    model = load_checkpoint(folder).to(device_for(context)).eval()
    own = with_own_answers(pairs, model, Tokenizer.load(folder), context)
    without = context.bill.get("safe_prompts_without_own_answer", 0)
    context.bill["safe_prompts_without_own_answer"] = without + len(pairs) - len(own)
    return own


def _reminders(inputs: Inputs, context: Context) -> list[Preference]:
    from volano.align.own_answers import reminders_of_answers
    from volano.model.device import device_for
    from volano.model.huggingface import load_checkpoint

    folder = inputs["former"].folder
    safe = [
        each
        for each in safety_preferences(inputs["safety"].corpus().records())
        if each.kind == "safe"
    ]
    model = load_checkpoint(folder).to(device_for(context)).eval()
    made = reminders_of_answers(safe, model, Tokenizer.load(folder), context)
    context.bill["harmless_requests_not_met_before"] = len(safe) - len(made)
    return made


def run_align(section: AlignSection, inputs: Inputs, context: Context) -> None:
    """Align the fine-tuned model on the pairs of the training split."""
    from volano.align.run import align
    from volano.train.start import processes_for

    preferences = [
        each for each in inputs["preferences"].corpus().records() if each.split == "train"
    ]
    sft = inputs["sft"].folder
    config = read_config(sft)
    with processes_for("volano.align.step:ALIGN", section, inputs, context, config=config):
        align(
            section,
            preferences=preferences,
            sft=sft,
            tokenizer=Tokenizer.load(
                inputs["tokenizer" if "tokenizer" in inputs else "sft"].folder
            ),
            context=context,
        )


PREFERENCES = Step(
    name="preferences",
    kind="corpus",
    version=2,  # 2: sides that hold their prompt are read without it
    section=PreferencesSection,
    run=run_preferences,
    scan=scan_preferences,
    on_device=True,
)
ALIGN = Step(
    name="align",
    kind="checkpoint",
    version=5,  # 5: accuracy and margin are of pairs that rank something
    section=AlignSection,
    run=run_align,
    seeded=True,
    on_device=True,
)
