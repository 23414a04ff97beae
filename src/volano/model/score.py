"""How likely a model finds given answers: the measure of every multiple-choice task.

Pairs that share a prompt read it once: the prompt and all its completions stand in one row, where
each completion sees the prompt and itself, at the positions it would have alone. Rows are filled
with whole such groups, so there is next to no padding.

Shapes: B rows, T tokens of a row, N scored tokens.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from volano.core.errors import DataError
from volano.model.attention import additive
from volano.model.decoder import Decoder
from volano.model.likelihood import token_log_probs

ROW_TOKENS = 256  # of a row that holds several groups; longer rows cost more attention than padding


class _Group(NamedTuple):
    """A prompt and some of its completions, each with its place in the caller's list."""

    prompt: tuple[int, ...]
    completions: list[tuple[int, Sequence[int]]]

    @property
    def tokens(self) -> int:
        """Of the row; the last token of a completion is predicted and never read."""
        return len(self.prompt) + sum(len(each) - 1 for _, each in self.completions)


def score(
    model: Decoder,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    batch_tokens: int = 8192,
) -> npt.NDArray[np.float64]:
    """Log-probability in nats of each completion given its prompt, summed over its tokens.

    In order, and computed in float32 whatever the model trains in; the empty completion has 0.
    Raises DataError for an empty prompt and for a pair that the context cannot hold.
    """
    totals = np.zeros(len(pairs), np.float64)
    with torch.inference_mode(), model.frozen(torch.float32):
        for rows in _batches(_groups(model, pairs), batch_tokens):
            places, values = _score_rows(model, rows)
            np.add.at(totals, places, values)
    return totals


def _groups(model: Decoder, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[_Group]:
    open_groups: dict[tuple[int, ...], _Group] = {}
    closed = []
    for place, (prompt, completion) in enumerate(pairs):
        _check(model, prompt, completion, place)
        if not len(completion):
            continue
        key = tuple(prompt)
        group = open_groups.setdefault(key, _Group(key, []))
        # A row's attention grows with its square: a thousand completions take several rows.
        room = max(2 * ROW_TOKENS, 2 * len(key))
        if group.completions and group.tokens + len(completion) > room:
            closed.append(group)
            group = open_groups[key] = _Group(key, [])
        group.completions.append((place, completion))
    return closed + list(open_groups.values())


def _check(model: Decoder, prompt: Sequence[int], completion: Sequence[int], place: int) -> None:
    if not len(prompt):
        raise DataError("empty prompt", f"pair {place}", "Begin it with the end-of-text token.")
    length, context = len(prompt) + len(completion), model.config.context
    if length > context + 1:  # the last token is predicted and never read
        raise DataError(
            f"{length:,} tokens, and the model reads {context:,}",
            f"pair {place}",
            "Shorten the prompt, or score with a model of longer context.",
        )


def _batches(groups: list[_Group], batch_tokens: int) -> Iterator[list[list[_Group]]]:
    """Rows of groups, the longest first; each row takes the longest groups that still fit."""
    groups = sorted(groups, key=lambda group: group.tokens)
    lengths = [group.tokens for group in groups]
    batch: list[list[_Group]] = []
    row_tokens = 0
    while groups:
        if not batch:
            row_tokens = max(lengths[-1], ROW_TOKENS)
        room, row = row_tokens, []
        while fitting := bisect_right(lengths, room):
            room -= lengths.pop(fitting - 1)
            row.append(groups.pop(fitting - 1))
        batch.append(row)
        if (len(batch) + 1) * row_tokens > batch_tokens:
            yield batch
            batch = []
    if batch:
        yield batch


def _score_rows(
    model: Decoder, rows: list[list[_Group]]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The pair that each scored token belongs to, and the token's log-probability."""
    tokens = max(sum(group.tokens for group in row) for row in rows)
    # Padding is a group of its own, so that it attends to something.
    ids_BT, group_BT, branch_BT, position_BT = np.zeros((4, len(rows), tokens), np.int64)
    places: list[int] = []
    states: list[int] = []  # which token of the flat batch predicts
    labels: list[int] = []
    for row, groups in enumerate(rows):
        at = 0
        for number, group in enumerate(groups, start=1):
            begin, prompt_tokens = at, len(group.prompt)
            group_BT[row, begin : begin + group.tokens] = number
            at += prompt_tokens
            ids_BT[row, begin:at] = group.prompt
            position_BT[row, begin:at] = np.arange(prompt_tokens)
            for branch, (place, completion) in enumerate(group.completions, start=1):
                read = len(completion) - 1
                ids_BT[row, at : at + read] = completion[:-1]
                branch_BT[row, at : at + read] = branch
                position_BT[row, at : at + read] = prompt_tokens + np.arange(read)
                places += [place] * len(completion)
                origin = row * tokens
                states.append(origin + begin + prompt_tokens - 1)
                states += range(origin + at, origin + at + read)
                labels += completion
                at += read
    device = model.head_weight.device
    allowed_BTT = (
        (group_BT[:, :, None] == group_BT[:, None])
        & ((branch_BT[:, None] == 0) | (branch_BT[:, :, None] == branch_BT[:, None]))
        & np.tri(tokens, dtype=bool)
    )
    hidden_BTD = model.hidden(
        torch.from_numpy(ids_BT).to(device),
        position_BT=torch.from_numpy(position_BT).to(device),
        mask_BTT=additive(torch.from_numpy(allowed_BTT).to(device), torch.float32),
    )
    log_probs_N = token_log_probs(
        hidden_BTD.flatten(0, 1)[torch.tensor(states, device=device)],
        model.head_weight,
        torch.tensor(labels, device=device),
    )
    return np.array(places), log_probs_N.double().cpu().numpy()
