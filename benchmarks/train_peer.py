"""The peer's side of benchmarks/train.py, run by the Python of build/train_peers: no word of ours.

transformers' Trainer on packed rows (position_ids begin anew in each document, from which its
attention makes the mask).
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

STARTED = time.monotonic()
WARM_UP = 3

import numpy as np  # noqa: E402
import torch  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


class Clock(TrainerCallback):  # type: ignore[misc]
    """When each step began, and its loss."""

    def __init__(self) -> None:
        self.began: list[float] = []
        self.losses: list[float] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.began.append(time.monotonic())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))


class Ordered(Trainer):  # type: ignore[misc]
    """Rows in the order in which they lie, as the other side reads them."""

    def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)


class PackedRows(torch.utils.data.Dataset):  # type: ignore[misc]
    def __init__(self, path: Path, first_row: int) -> None:
        with np.load(path) as kept:
            names = ("tokens_BT", "labels_BT", "document_BT")
            self.tokens, self.labels, documents = (
                np.roll(kept[name], -first_row, axis=0) for name in names
            )
        steps = np.arange(self.tokens.shape[1])
        begins = np.diff(documents, axis=1, prepend=-1) != 0
        self.positions = steps - np.maximum.accumulate(np.where(begins, steps, 0), axis=1)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, row: int) -> dict[str, Any]:
        # Its labels are not shifted: the label of a position is the next position's token.
        labels = np.concatenate([[-100], self.labels[row, :-1]])
        return {
            "input_ids": self.tokens[row],
            "labels": labels,
            "position_ids": self.positions[row],
        }


def arguments(task: dict[str, Any], kind: Any, scratch: str, **more: Any) -> Any:
    return kind(
        output_dir=scratch,
        per_device_train_batch_size=task["rows"],
        max_steps=WARM_UP + task["steps"] + 1,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=task["seed"],
        **(more | task["settings"]),
    )


def pretrained(task: dict[str, Any], scratch: str) -> tuple[Clock, list[int]]:
    folder = Path(task["data"])
    model = AutoModelForCausalLM.from_pretrained(task.get("init", folder), dtype=torch.float32)
    rows, clock = PackedRows(folder / "rows.npz", task.get("first_row", 0)), Clock()
    trainer = Ordered(
        model=model,
        args=arguments(task, TrainingArguments, scratch),
        train_dataset=rows,
        callbacks=[clock],
    )
    trainer.train()
    return clock, [task["rows"] * rows.tokens.shape[1]] * len(clock.began)


def tuned(task: dict[str, Any], scratch: str) -> tuple[Clock, list[int]]:
    """TRL's SFTTrainer on the same conversations; sizes are positions that hold data."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    lines = Path(task["conversations"]).read_text("utf-8").splitlines()
    tokenizer = AutoTokenizer.from_pretrained(task["data"])
    rows = [{"messages": json.loads(line)["messages"]} for line in lines if line.strip()]
    # Longer ones would be cut; the other side leaves them out.
    fit = [row for row in rows if _tokens(tokenizer, row["messages"]) <= task["context"]]
    clock, sizes = Clock(), []
    adapter = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(task["data"], dtype=torch.float32),
        args=arguments(task, SFTConfig, scratch, max_length=task["context"]),
        train_dataset=Dataset.from_list(fit),
        processing_class=tokenizer,
        peft_config=adapter if task["adapter"] else None,
        callbacks=[clock],
    )
    collate = trainer.data_collator

    def counted(examples: Any) -> Any:
        batch = collate(examples)
        mask = batch.get("attention_mask")
        sizes.append(int(batch["input_ids"].numel() if mask is None else mask.sum()))
        return batch

    trainer.data_collator = counted
    trainer.train()
    return clock, sizes


def _tokens(tokenizer: Any, messages: Any) -> int:
    return len(tokenizer.apply_chat_template(messages, return_dict=True)["input_ids"])


def main() -> None:
    task = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory() as scratch:
        clock, sizes = (tuned if "adapter" in task else pretrained)(task, scratch)
    seconds = np.diff(clock.began)[WARM_UP:]
    counted = sizes[WARM_UP : WARM_UP + len(seconds)]
    found = {
        "tokens_per_second": median(
            size / each for size, each in zip(counted, seconds, strict=True)
        ),
        "startup_seconds": clock.began[WARM_UP] - STARTED,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "losses": clock.losses,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
