"""A checkpoint on this machine as a Responder: conversations in, answers and likelihoods out."""

from collections.abc import Sequence
from pathlib import Path

import torch

from volano.core.errors import DataError
from volano.core.records import Message
from volano.core.responder import Response
from volano.core.step import Device
from volano.model.device import device_of
from volano.model.generate import generate
from volano.model.huggingface import load_checkpoint
from volano.model.score import score
from volano.text.chat import encode_answer, encode_prompt
from volano.text.tokenizer import Tokenizer


class LocalResponder:
    """Renders with the checkpoint's own tokenizer and stops at the end of a turn or a text."""

    def __init__(
        self,
        folder: Path,
        *,
        dtype: torch.dtype = torch.float32,
        batch_size: int = 64,
        device: Device = "auto",
    ) -> None:
        place = device_of(device)  # before minutes of loading
        self.tokenizer = Tokenizer.load(folder)
        self.model = load_checkpoint(folder).to(place).compute_in(dtype)
        known, needed = self.model.config.vocabulary, self.tokenizer.vocabulary
        if needed > known:
            raise DataError(
                f"the tokenizer has {needed:,} ids and the model {known:,}",
                str(folder),
                "They are not of one checkpoint: copy or build it again.",
            )
        self.stop_ids = self.tokenizer.stop_ids
        self._batch_size = batch_size

    def respond(
        self,
        prompts: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> list[Response]:
        """One answer per prompt, in order. Raises DataError for a prompt that fills the context."""
        generations = generate(
            self.model,
            [encode_prompt(self.tokenizer, messages) for messages in prompts],
            max_new_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            stop_ids=self.stop_ids,
            seed=seed,
            batch_size=self._batch_size,
        )
        return [
            Response(self.tokenizer.decode(each.tokens), len(each.tokens), each.ended)
            for each in generations
        ]

    def score(self, pairs: Sequence[tuple[Sequence[Message], str]]) -> list[float]:
        """Log-probability in nats of each answer, the end of its turn included."""
        encoded = [
            (encode_prompt(self.tokenizer, messages), encode_answer(self.tokenizer, answer))
            for messages, answer in pairs
        ]
        return [float(value) for value in score(self.model, encoded)]
