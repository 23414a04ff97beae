"""Tokens a second of the server, against one request after another and against transformers.

    python benchmarks/serve.py [--quick] [--json]

Every side answers the same questions greedily, from one random checkpoint, in turns: a round is one
run of each side, and the figures are medians over the rounds. `plain` is a loop over generate(),
in this process, without HTTP; the servers are processes of their own, asked by as many clients as
the work says, each of which asks its next question once it is answered. All run with the threads
that OMP_NUM_THREADS allows. `agreement`: the part of the answers that equal generate()'s.
"""

import argparse
import asyncio
import json
import os
import pydoc_data.topics
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import httpx
import torch

from volano.core.records import Message
from volano.model.decoder import Decoder, initialise, shape_for
from volano.model.huggingface import save_checkpoint
from volano.model.responder import LocalResponder
from volano.text.tokenizer import train_tokenizer

CONTEXT, CLIENTS, START_SECONDS = 512, (1, 8), 120
PEERS = {
    "transformers serve": [],
    "transformers serve --continuous-batching": ["--continuous-batching"],
}


class Run(NamedTuple):
    """One pass over the questions."""

    tokens_per_second: float
    answers: list[str]


Side = Callable[[list[str], int], Run]  # questions and clients in, one run out


def main() -> None:
    """Measure every side and print a row per side and number of clients."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small model, one round")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    options = parser.parse_args()
    parameters, rounds, new_tokens = (400_000, 1, 16) if options.quick else (10_000_000, 5, 64)
    with TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        _save_random_checkpoint(folder, parameters)
        sides: dict[str, Side] = {"plain generate()": _plain(folder, new_tokens)}
        ours = [sys.executable, "-m", "volano", "serve", name, "--requests-per-minute", "1000000"]
        address = stack.enter_context(_running(ours))
        sides["volano serve"] = _server(address, folder.name, new_tokens)
        peer = [sys.executable, "-m", "transformers.cli.transformers", "serve", name]
        for label, extra in PEERS.items():
            try:
                address = stack.enter_context(_running([*peer, *extra]))
                side = _server(address, name, new_tokens)
                side(_questions(1), 1)
            except (OSError, RuntimeError, httpx.HTTPError) as failure:
                print(f"{label}: left out ({failure})", file=sys.stderr)
                continue
            sides[label] = side
        rows = [row for clients in CLIENTS for row in _compare(sides, clients, rounds)]
    print(json.dumps(rows, indent=2) if options.json else _table(rows))


def _compare(sides: dict[str, Side], clients: int, rounds: int) -> list[dict[str, object]]:
    questions = _questions(2 * max(CLIENTS))
    runs: dict[str, list[Run]] = {label: [] for label in sides}
    for side in sides.values():
        side(questions[:clients], clients)  # the first call warms up
    for _ in range(rounds):
        for label, side in sides.items():
            runs[label].append(side(questions, clients))
    expected = runs["plain generate()"][0].answers
    speeds = {label: [each.tokens_per_second for each in done] for label, done in runs.items()}
    ours = median(speeds["volano serve"])
    return [
        {
            "clients": clients,
            "side": label,
            "tokens_per_second": round(median(speeds[label]), 1),
            "spread": f"{min(speeds[label]):.0f}–{max(speeds[label]):.0f}",
            "ours_over_it": round(ours / median(speeds[label]), 2),
            "agreement": sum(a == b for a, b in zip(runs[label][-1].answers, expected, strict=True))
            / len(expected),
        }
        for label in sides
    ]


def _plain(folder: Path, new_tokens: int) -> Side:
    responder = LocalResponder(folder)

    def run(questions: list[str], clients: int) -> Run:
        began = time.perf_counter()
        made = [
            responder.respond([[Message("user", each)]], max_tokens=new_tokens)[0]
            for each in questions
        ]
        seconds = time.perf_counter() - began
        return Run(sum(each.tokens for each in made) / seconds, [each.text for each in made])

    return run


def _server(address: str, model: str, new_tokens: int) -> Side:
    settings = {"model": model, "temperature": 0, "max_tokens": new_tokens}

    async def asked(questions: list[str], clients: int) -> list[tuple[str, int]]:
        turn = iter(enumerate(questions))
        answers: dict[int, tuple[str, int]] = {}

        async def client(session: httpx.AsyncClient) -> None:
            for place, question in turn:
                body = settings | {"messages": [{"role": "user", "content": question}]}
                reply = await session.post(f"{address}/v1/chat/completions", json=body)
                if reply.status_code != 200:
                    raise RuntimeError(f"status {reply.status_code}: {reply.text[:200]}")
                found = reply.json()
                text = found["choices"][0]["message"]["content"]
                answers[place] = text, found["usage"]["completion_tokens"]

        async with httpx.AsyncClient(timeout=120) as session:
            await asyncio.gather(*(client(session) for _ in range(clients)))
        return [answers[place] for place in range(len(questions))]

    def run(questions: list[str], clients: int) -> Run:
        began = time.perf_counter()
        made = asyncio.run(asked(questions, clients))
        seconds = time.perf_counter() - began
        return Run(sum(tokens for _, tokens in made) / seconds, [text for text, _ in made])

    return run


@contextmanager
def _running(command: list[str]) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    with TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], stdout=log, stderr=log, env=environment
        )
        address = f"http://127.0.0.1:{port}"
        try:
            end = time.monotonic() + START_SECONDS
            while not _answers(f"{address}/v1/models"):
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    last = (log.read().strip().splitlines() or ["it said nothing"])[-1]
                    raise RuntimeError(f"did not start: {last}")
                time.sleep(0.1)
            yield address
        finally:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.HTTPError:
        return False


def _questions(count: int) -> list[str]:
    topics = sorted(pydoc_data.topics.topics)
    texts = [pydoc_data.topics.topics[topic] for topic in topics]
    return [text[: 60 + 40 * (place % 8)] for place, text in enumerate(texts[:count])]


def _save_random_checkpoint(folder: Path, parameters: int) -> None:
    vocabulary = 16_384 if parameters > 1_000_000 else 1024
    tokenizer = train_tokenizer(pydoc_data.topics.topics.values(), vocabulary=vocabulary)
    model = Decoder(shape_for(parameters, vocabulary=tokenizer.vocabulary, context=CONTEXT))
    initialise(model, seed=1)
    with torch.no_grad():  # far from uniform, or rounding would decide which token is likeliest
        for weight in model.parameters():
            weight.mul_(4 if weight.dim() > 1 else 1)
    save_checkpoint(folder, model, tokenizer)


def _table(rows: list[dict[str, object]]) -> str:
    lines = [f"{torch.get_num_threads()} thread(s) a process, {os.cpu_count()} cores"]
    for row in rows:
        lines.append(
            f"{row['clients']} client(s)  {row['side']:<42} {row['tokens_per_second']:>7} tokens/s"
            f"  ({row['spread']})  ours/it {row['ours_over_it']:<5}"
            f" agreement {row['agreement']:.0%}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
