"""One run of supervised fine-tuning: conversations and a base model in, a checkpoint out."""

from collections.abc import Sequence
from math import log
from pathlib import Path

from volano.core.feedback import EDIT
from volano.core.origin import keep_origin
from volano.core.records import Conversation
from volano.core.step import Context
from volano.finetune.section import FinetuneSection
from volano.finetune.sft import AnswerObjective, AnswerStream
from volano.model.device import device_for
from volano.model.huggingface import load_checkpoint, save_checkpoint
from volano.text.chat import encode_conversation
from volano.text.examples import fitting
from volano.text.tokenizer import Tokenizer
from volano.train.adapting import begin_adapter, end_adapter, warn_of_new_chat
from volano.train.dynamics import LabelBytes
from volano.train.loop import train


def finetune(
    section: FinetuneSection,
    *,
    conversations: Sequence[Conversation],
    base: Path,
    tokenizer: Tokenizer,
    context: Context,
) -> None:
    """Train and write the checkpoint, its metrics and the documents it saw into the folder.

    Raises DataError where no conversation fits the model's context.
    """
    device = device_for(context)
    model = load_checkpoint(base).to(device)
    examples = [
        # What stands before a corrected answer is the model's own, and nobody called it right.
        encode_conversation(tokenizer, each.messages, last_answer_only=each.kind == EDIT)
        for each in conversations
    ]
    length = section.context_of(model.config.context)
    found = fitting(examples, context=length, where="finetune.data")
    stream = AnswerStream(
        [examples[place] for place in found.places],
        [conversations[place].origins for place in found.places],
        context=length,
        padding_id=tokenizer.end_of_text_id,
        batch_rows=section.batch_rows,
        epochs=section.epochs,
        seed=context.seed,
    )
    lengths = tokenizer.byte_lengths()
    total = stream.steps * stream.batch_rows * length
    adapter = begin_adapter(model, section, context.seed, tokenizer)
    with context.progress("finetune", total, "tokens") as bar:
        if adapter is not None:
            warn_of_new_chat(base, bar)
        result = train(
            model,
            AnswerObjective(),
            stream,
            section,
            seed=context.seed,
            workers=context.workers,
            scratch=context.scratch,
            bar=bar,
            label_bytes=LabelBytes(lengths) if lengths is not None else None,
            guessing=log(model.config.vocabulary),
        )
    if adapter is not None:
        model = end_adapter(model, adapter, base, context.folder)
    save_checkpoint(context.folder, model, tokenizer)
    keep_origin(base, context.folder)
    result.save(context.folder)
    context.bill |= result.bill()
    context.bill["parameters"] = model.config.parameters
    context.bill["examples"] = len(found.places)
    context.bill["examples_too_long"] = found.too_long
    context.bill["examples_without_answer"] = found.without_answer
