"""What `volano show CHECKPOINT` says of a training run."""

import pyarrow as pa

from volano.cli.dynamics import print_training, training_of
from volano.core.corpus import write_shard

BILL = {
    "tokens_per_second": 12_345.6,
    "utilisation": 0.5512,
    "matmul_flops_per_second": 172_000_000_000,
    "joules_estimated": 4321.0,
}


def write_run(folder, spikes=()):
    steps = range(1, 101)
    metrics = {
        "step": [*steps],
        "loss": [9 - step / 20 for step in steps],
        "bits_per_byte": [4 - step / 50 for step in steps],
        "gradient_norm": [1.0 for _ in steps],
        "learning_rate": [0.01 for _ in steps],
        "held_out_bits_per_byte": [None] * 99 + [1.75],
        "held_out_bits_per_byte.function": [None] * 99 + [1.5],
        "held_out_bits_per_byte.topic": [None] * 99 + [2.25],
    }
    write_shard(folder / "metrics.parquet", pa.table(metrics))
    samples = [
        {"step": step, "tokens": 64 * step, "prompt": prompt, "continuation": said}
        for step, words in ((0, ("zz zz", "q")), (100, ("a\nname", "the end")))
        for prompt, said in zip(("def f", "Return"), words, strict=True)
    ]
    write_shard(folder / "samples.parquet", pa.Table.from_pylist(samples))
    if spikes:
        write_shard(folder / "spikes.parquet", pa.Table.from_pylist(list(spikes)))


def said_of(folder, capsys, bill=BILL):
    print_training(training_of(folder), bill)
    return capsys.readouterr().out


def test_course_cost_and_milestones_are_shown(tmp_path, capsys):
    write_run(tmp_path)
    said = said_of(tmp_path, capsys)
    assert "held out: 1.750 bits per byte (function 1.500, topic 2.250)" in said
    assert "12,346 tokens/s, 55% of the 172 GFLOP/s of a matmul here" in said
    assert "4,321 J estimated from processor time" in said
    assert "goes on with: def f" in said
    assert said.index("zz zz") < said.index("a name") < said.index("the end")
    assert training_of(tmp_path)["metrics"][-1]["step"] == 100
    assert "spike" not in said


def test_spikes_name_their_documents_and_where_the_run_went_back_to(tmp_path, capsys):
    spike = {"step": 31, "loss": 12.5, "median": 4.25, "deviations": 9.0, "back_to": None}
    spike["action"] = "recorded"
    lost = {"step": 40, "loss": None, "median": 4.0, "deviations": None, "back_to": 0}
    lost["action"] = "went back"
    write_run(tmp_path, [spike | {"documents": list("abcde")}, lost | {"documents": ["f"]}])
    said = said_of(tmp_path, capsys)
    assert "2 spikes:" in said
    assert "step 31: loss 12.500, usually 4.250: a, b, c and 2 more" in said
    assert "step 40: loss not finite, usually 4.000, went back to the weights of step 0: f" in said


def test_an_imported_checkpoint_has_nothing_to_say_of_training(tmp_path, capsys):
    assert said_of(tmp_path, capsys, bill={}) == ""
