"""Personal data in feedback, followed to the tokens that a version is trained on."""

import json
import shutil

import numpy as np
import pytest
from two_turns import NAME, TINY, rows, run

from volano.core.store import Store
from volano.text.chat import encode_conversation
from volano.text.examples import fitting
from volano.text.stream import TokenShards
from volano.text.tokenizer import Tokenizer

pytest.importorskip("torch")
pytest.importorskip("fastapi")
pytestmark = [pytest.mark.xdist_group("two turns"), pytest.mark.whole]
SECRET, CONTROL = "jane.doe@corp-mail.com", "a harmless planted remark"


def test_personal_data_in_feedback_reaches_no_set(folder, tmp_path):
    shutil.copytree(folder / "runs", tmp_path / "runs")
    folder, store = tmp_path, Store(tmp_path / "runs")
    # Planted in edits of somebody who agreed: one in a form of
    # question that is known to nobody, the others where the next version learns from them.
    standing = store[f"{NAME}/released"]
    # The one that may be held out says something else, or no other could be taught the same.
    asked = [("Which function writes to Jane?", "none", f"Ask {SECRET} for it.")]
    asked += [(*each, f"Write to {SECRET}, {CONTROL}.") for each in learnt_from(store)]
    lines = [
        {
            "messages": [
                {"role": "user", "content": f"Hello, I am {SECRET}."},
                {"role": "assistant", "content": f"Hello {SECRET}!"},
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": answer},
            ],
            "model": store.path_of(standing),
            "id": f"planted-{place}",
            "helpful": 1,
            "harmless": 5,
            "edit": edit,
            "comment": f"Or so {SECRET} tells me.",
            "consent": "training",
            "source": "planted",
        }
        for place, (prompt, answer, edit) in enumerate(asked)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(folder, "feedback", "import", "log.jsonl")
    exported = run(folder, "feedback", "export").stdout
    assert CONTROL in exported
    assert SECRET not in exported
    run(folder, "turn", TINY, "turn.release=planted", "gate.min_items=100k", code=3)
    decoded = {
        artifact.digest: str(artifact.to_arrow().to_pylist())
        for artifact in store.artifacts()
        if artifact.kind == "corpus"
    }
    assert not [text for text in decoded.values() if SECRET in text]
    trained_on = store[f"{NAME}/conversations-2"]
    for stage in ("ratings-2", "requested-2", "conversations-2"):
        assert CONTROL in decoded[store[f"{NAME}/{stage}"].digest], stage
    trained = detokenised(store[f"{NAME}/sft-2"], list(trained_on.corpus().records()))
    assert CONTROL in trained
    assert SECRET not in trained
    tokenizer = Tokenizer.load(store[f"{NAME}/tokenizer"].folder)
    for artifact in store.artifacts():
        if artifact.kind == "tokens":
            shards = TokenShards(artifact.folder)
            batch = shards.read(np.arange(shards.rows))
            assert SECRET not in tokenizer.decode(batch.tokens_BT.ravel().tolist())


def learnt_from(store):
    """Ten failures that are not held out, and what was answered."""
    cases = rows(store[f"{NAME}/findings-2"], "cases.parquet")
    learnt = {
        (each["prompt"], each["answer"])
        for each in cases
        if each["half"] == "used" and each["finding"] and each["wanted"]
    }
    return sorted(learnt, key=lambda pair: (not pair[0].startswith("Which"), pair))[:10]


def detokenised(checkpoint, conversations):
    """The rows that fine-tuning packs of the conversations, as text again."""
    from volano.finetune.sft import AnswerStream

    tokenizer = Tokenizer.load(checkpoint.folder)
    context = json.loads((checkpoint.folder / "config.json").read_text())["max_position_embeddings"]
    examples = [encode_conversation(tokenizer, each.messages) for each in conversations]
    places = fitting(examples, context=context, where="test").places
    stream = AnswerStream(
        [examples[place] for place in places],
        [conversations[place].source_ids for place in places],
        context=context,
        padding_id=tokenizer.end_of_text_id,
        batch_rows=1,
        epochs=1,
        seed=1,
    )
    return "\n".join(
        tokenizer.decode(stream.batch(step).tokens_BT.ravel().tolist())
        for step in range(stream.steps)
    )
