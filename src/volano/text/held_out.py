"""The held-out half of a diagnosis, as data that is used again has to keep clear of it.

The next version learns old data beside new. Where the old holds a question that it will be judged
on, learning it once more would be a gain that no new data made.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

from volano.core.finding import CASES_FILE
from volano.core.records import Message
from volano.text.functions import normalised

HELD_OUT, USED = "held_out", "used"


class HeldOutQuestions(NamedTuple):
    """Its questions, and the documents that they are about."""

    prompts: frozenset[str]  # normalised
    documents: frozenset[str]

    def holds(self, messages: Iterable[Message], source_ids: Iterable[str]) -> bool:
        """Whether a record of these messages and sources asks a held-out question, or is about a
        document of one."""
        if self.documents.intersection(source_ids):
            return True
        return any(
            normalised(each.content) in self.prompts for each in messages if each.role == "user"
        )


def load_held_out_questions(findings: Path) -> HeldOutQuestions:
    """Of the diagnosis in that folder."""
    rows = pq.read_table(findings / CASES_FILE, columns=["prompt", "documents", "half"])
    rows = rows.filter(pc.field("half") == HELD_OUT)
    named = (name for names in rows["documents"].to_pylist() for name in names or ())
    prompts = (normalised(prompt) for prompt in rows["prompt"].to_pylist())
    return HeldOutQuestions(frozenset(prompts), frozenset(named))
