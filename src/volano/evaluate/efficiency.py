"""Speed and memory of answering. They differ from run to run, so they go to the bill alone."""

from collections.abc import Sequence

from volano.core.bill import peak_memory_bytes
from volano.core.records import Message
from volano.evaluate.stage import Stage
from volano.model.speed import measure_speed
from volano.text.chat import encode_prompt
from volano.text.functions import FunctionDocument, plain_question

NEW_TOKENS = 48
PROMPTS = 64  # one batch
BILL_PREFIX = "efficiency."


def measure_efficiency(stage: Stage, functions: Sequence[FunctionDocument]) -> dict[str, float]:
    """Tokens per second alone and in a batch, seconds to the first token, this process's peak
    memory; by their names in the bill."""
    prompts = [
        encode_prompt(stage.tokenizer, [Message("user", plain_question(each.qualified_name))])
        for each in functions[:PROMPTS]
    ]
    room = stage.model.config.context - NEW_TOKENS
    speed = measure_speed(
        stage.model, [ids for ids in prompts if len(ids) <= room], new_tokens=NEW_TOKENS
    )
    return {
        f"{BILL_PREFIX}tokens_per_second": round(speed.tokens_per_second, 1),
        f"{BILL_PREFIX}tokens_per_second_alone": round(speed.tokens_per_second_alone, 1),
        f"{BILL_PREFIX}milliseconds_to_first_token": round(1000 * speed.seconds_to_first_token, 3),
        f"{BILL_PREFIX}peak_memory_megabytes": round(peak_memory_bytes() / 1e6, 1),
    }
