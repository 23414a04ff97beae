"""The wheel on toy documents, on a device of one's choice, as a program: digests of all it made.

python wheel_on_device.py FOLDER cpu|pretended|cuda

A process of its own, because torch counts devices when it first goes back through a graph.
"""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import torch
from pretended_device import here, pretended_device, register
from tiny_decoder import FAMILY_FEATURES, tiny_decoder
from toy_run import ToyStream, toy_model, toy_train, weights_of

from volano.align.step import ALIGN, PREFERENCES
from volano.core.artifact import Artifact, describe_files
from volano.core.corpus import finish_corpus, shard_path, write_shard
from volano.core.records import Conversation, Document, Message, table_of
from volano.core.step import Context
from volano.evaluate.step import EVALUATE, HELD_OUT_FUNCTIONS
from volano.finetune.step import CONVERSATIONS, FINETUNE
from volano.model import device as devices
from volano.model.decoder import Decoder
from volano.model.generate import generate
from volano.model.likelihood import mean_nll
from volano.model.score import score
from volano.model.slots import SlotEngine
from volano.pretrain.section import ModelSection
from volano.pretrain.step import PACK, PRETRAIN, TOKENIZER

VERBS, NOUNS = ("load", "parse", "sort", "merge", "count"), ("file", "tree", "array", "graph")
MODEL = {"batch_rows": 4, "accumulate": 2, "threads": 1, "precision": "float32"}


def function(n: int) -> Document:
    name = f"m.{VERBS[n % 5]}_{NOUNS[n % 4]}{n}"
    summary = f"{VERBS[n // 2 % 5].title()} the {NOUNS[n // 3 % 4]} number {n}."
    metadata = json.dumps({"qualified_name": name, "signature": "()", "summary": summary})
    split = "train" if n < 24 else "test"
    text = f"{name}()\n\n{summary}"
    return Document(f"p:{name}", text, "s", "function", split, "MIT", metadata=metadata)


def prompt(n: int, kind: str) -> Conversation:
    turns = (Message("user", f"{kind} request {n}"), Message("assistant", "I can't."))
    metadata = json.dumps({"pair": f"{n}", "set": "natural"})
    return Conversation(
        f"{n}{kind}", turns, "s", kind, ("train", "test")[n % 2], "CC0", metadata=metadata
    )


def started(folder: Path, name: str) -> subprocess.Popen[str]:
    """This file as a program, with the stand-ins that it imports."""
    folder.mkdir()
    tests = Path(__file__).resolve().parents[1]
    own = [str(tests / each) for each in ("model", "train")]
    path = os.pathsep.join([*own, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, __file__, str(folder), name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )


class Wheel:
    """Steps that read each other's artifacts by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def corpus(self, name, records, record, kind):
        write_shard(shard_path(self.folder / name, "data", 0), table_of(records, record))
        finish_corpus(self.folder / name, kind)

    def make(self, name, step, inputs, **settings):
        folder, scratch = self.folder / name, self.folder / f"{name}-scratch"
        folder.mkdir()
        scratch.mkdir()
        context = Context(folder, scratch, seed=1, workers=1, silent=True)
        given = {each: Artifact(self.folder / source, {}) for each, source in inputs.items()}
        step.run(step.section(**settings), given, context)


def turn(folder: Path) -> None:
    wheel = Wheel(folder)
    wheel.corpus("curated", [function(n) for n in range(60)], Document, "document")
    safety = [prompt(n, kind) for n in range(8) for kind in ("unsafe", "safe")]
    wheel.corpus("safety", safety, Conversation, "conversation")
    documents = {"documents": "curated"}
    wheel.make("held_out", HELD_OUT_FUNCTIONS, documents)
    wheel.make("tokenizer", TOKENIZER, documents, vocabulary=300)
    wheel.make("tokens", PACK, documents | {"tokenizer": "tokenizer"}, context=96)
    wheel.make(
        "base",
        PRETRAIN,
        {"tokens": "tokens", "tokenizer": "tokenizer", "held_out": "held_out"},
        model=ModelSection(parameters=20_000, context=96, tied=False),
        tokens=3000,
        start="bigrams",
        z_loss=1e-4,
        evaluate_steps=4,
        milestones=[0.0, 1.0],
        **MODEL,
    )
    wheel.make("conversations", CONVERSATIONS, documents)
    inputs = {"conversations": "conversations", "base": "base"}
    wheel.make("sft", FINETUNE, inputs, lora={"rank": 2, "dropout": 0.1}, **MODEL)
    wheel.make("preferences", PREFERENCES, {"safety": "safety", "sft": "sft"}, data=["safety"])
    inputs = {"preferences": "preferences", "sft": "sft"}
    wheel.make("aligned", ALIGN, inputs, nll_weight=0.1, **MODEL)
    wheel.make(
        "report",
        EVALUATE,
        {name: name for name in ("base", "sft", "aligned", "safety", "conversations")}
        | {"held_out_functions": "held_out"},
        tasks=["bits_per_byte", "held_out_functions", "conversations", "safety"],
        choice_items=6,
        bits_documents=4,
        answers=3,
        conversations=3,
        conversation_tokens=6,
        max_answer_tokens=6,
        safety_prompts=4,
        seeds=1,
    )


class Stopping(ToyStream):
    def batch(self, step):
        if step == 13:
            raise ConnectionAbortedError
        return super().batch(step)


def resumed(folder: Path, device: torch.device) -> dict[str, str]:
    """The weights of a run that was broken off after weights were kept to go back to."""
    settings = {"on_spike": "rewind", "rewind_steps": 4, "precision": "float32"}
    try:
        toy_train(folder, toy_model().to(device), Stopping(), **settings)
    except ConnectionAbortedError:
        model, _ = toy_train(folder, toy_model().to(device), **settings)
    return {name: value.hex() for name, value in weights_of(model.cpu()).items()}


def features(device: torch.device) -> dict[str, list[float]]:
    """Of each family: a loss, all gradients, tokens of both generators and log-probabilities."""
    found = {}
    for name, changed in FAMILY_FEATURES.items():
        model = tiny_decoder(family=name, **changed).to(device)
        tokens_BT = torch.arange(48).view(2, 24).to(device)
        document_BT = (torch.arange(24) // 9).expand(2, 24).to(device)
        hidden_BTD = model.hidden(tokens_BT, document_BT)
        loss = mean_nll(hidden_BTD, model.head_weight, tokens_BT)
        loss.backward()
        numbers = [float(loss.detach()), *(float(p.grad.norm()) for p in model.parameters())]
        prompts = [[3, 1, 4], [1, 5, 9, 2, 6]]
        answers = generate(model, prompts, max_new_tokens=6, temperature=0.7, top_p=0.9)
        numbers += [token for each in answers for token in each.tokens]
        numbers += [token for prompt in prompts for token in slot_tokens(model, prompt)]
        numbers += score(model, [([3, 1], [4, 1]), ([3, 1], [5]), ([9, 2], [6])]).tolist()
        found[name] = numbers
    return found


def slot_tokens(model: Decoder, prompt: list[int]) -> list[int]:
    """What the engine of the server answers."""
    tokens, ended = [], threading.Event()
    with ThreadPoolExecutor(1, initializer=here) as compute:
        engine = SlotEngine(lambda: model, slots=2, compute=compute)
        engine.submit(
            prompt,
            max_new_tokens=6,
            on_token=lambda token: tokens.append(token.id),
            on_end=lambda ending: ended.set(),
        )
        assert ended.wait(60)
        engine.close()
    return tokens


def main(folder: str, name: str) -> None:
    register()
    place = nullcontext(torch.device(name)) if name != "pretended" else pretended_device()
    with place as device, patch.object(devices, "device_of", lambda asked: device):
        turn(Path(folder))
        found = {
            f"{each.name}/{file}": described["sha256"]
            for each in sorted(Path(folder).iterdir())
            if not each.name.endswith("-scratch")
            for file, described in describe_files(each).items()
        }
        after = resumed(Path(folder) / "toy", device)
        print(json.dumps({"files": found, "resumed": after, "features": features(device)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
