"""What the model says while it learns: from noise over grammar to facts, on the same prompts.

Tokens are drawn, with the same random numbers at every milestone: the likeliest ones alone would be
one word over and over for most of a short run, whatever the model has learnt.
"""

from collections.abc import Sequence

from volano.core.records import Document
from volano.model.decoder import Decoder
from volano.model.generate import generate
from volano.text.tokenizer import Tokenizer
from volano.train.dynamics import steps_at

PROMPTS = 3  # taken from held-out documents
PROMPT_WORDS = 8
TEMPERATURE = 0.7  # noise stays noise, and what is known is said


class Milestones:
    """The `Sampler` of a pre-training run."""

    def __init__(
        self,
        model: Decoder,
        tokenizer: Tokenizer,
        prompts: Sequence[str],
        *,
        fractions: Sequence[float],
        steps: int,
        tokens: int,
    ) -> None:
        """Prompts longer than half of the context lose their end."""
        self._model, self._tokenizer, self._tokens = model, tokenizer, tokens
        self._steps = steps_at(fractions, steps)
        room = max(1, model.config.context // 2)
        begin = tokenizer.end_of_text_id
        self._prompts = [[begin, *tokenizer.encode(each)][:room] for each in prompts]

    def at(self, step: int) -> bool:
        return bool(self._prompts) and step in self._steps

    def speak(self) -> list[tuple[str, str]]:
        found = generate(
            self._model,
            self._prompts,
            max_new_tokens=self._tokens,
            temperature=TEMPERATURE,
            stop_ids={self._tokenizer.end_of_text_id},
        )
        decode = self._tokenizer.decode
        return [
            (decode(prompt), decode(each.tokens))
            for prompt, each in zip(self._prompts, found, strict=True)
        ]


def beginnings(documents: Sequence[Document]) -> list[str]:
    """The first words of a few documents, spread evenly over them; none where there are none."""
    count = min(PROMPTS, len(documents))
    chosen = [documents[place * len(documents) // count] for place in range(count)]
    return [" ".join(each.text.split()[:PROMPT_WORDS]) for each in chosen]
