"""`volano plan`: which of its three meanings is taken, and what it says."""

import json

import pytest

from volano.cli.main import run_command

GPT3 = ["plan", "training", "--model", "gpt-3", "--tokens", "300B"]
A100 = [*GPT3, "--device", "A100", "--devices", "1024"]


def test_a_training_run_is_planned_with_its_formulas(capsys):
    assert run_command([*A100, "--explain"]) == 0
    said = capsys.readouterr().out
    assert "3.23e+23" in said
    assert "fully sharded (FSDP)" in said
    assert "PUE" in said
    assert "nearest to plain data parallel" in said
    assert "For the price" in said


def test_json_has_figures_layouts_and_claims(capsys):
    claims = ["--claimed", "days=30", "--claimed", "MWh=1300", "--price-per-device-hour", "2"]
    assert run_command([*A100, *claims, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    figures = {each["name"]: each for each in found["figures"]}
    assert figures["price"]["value"] == pytest.approx(2 * figures["device-hours"]["value"])
    assert found["claims"]["devices"]["A100"]["days"]["met"]
    assert not found["claims"]["devices"]["A100"]["MWh"]["met"]
    assert any("no device meets them all" in line for line in found["claims"]["verdict"])
    assert "data parallel (DP)" in found["layouts"]


def test_claims_are_judged_by_the_layout_that_is_printed(capsys):
    tight = [*GPT3, "--device", "A100", "--devices", "128", "--micro-batch", "16"]
    tight += ["--hardware-utilisation", "0.45", "--claimed", "days=200"]
    assert run_command([*tight, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    [time] = [each["value"] for each in found["figures"] if each["name"] == "time"]
    assert found["layout"]["checkpointing"] != "none"
    assert found["claims"]["devices"]["A100"]["days"]["planned"] == pytest.approx(time)


def test_claims_are_told_in_words(capsys):
    claims = ["--claimed", "days=30", "--claimed", "MWh=1300"]
    assert run_command([*A100, *claims]) == 0
    said = capsys.readouterr().out
    assert "Inconsistent: no device meets them all" in said
    assert "A100 draws 400 W" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--parallel", "data=1024"], "The nearest that fits takes"),
        (["--parameters", "7B"], "one of --parameters, --model and --hf"),
        (["--utilisation", "1.5"], "--utilisation: 1.5 of the device's peak cannot be reached"),
        (["--utilisation", "0.4", "--tokens-per-second", "90"], "say the same thing"),
        (["--tokens-per-second", "900"], "--tokens-per-second: 3.11 of the device's peak"),
        (["--sft-tokens", "many"], "--sft-tokens: no count: 'many'"),
        (["--context", "0"], "--context: no count: '0'"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(options, said, capsys):
    assert run_command([*A100, *options]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_a_rate_in_tokens_is_a_utilisation(capsys):
    assert run_command([*A100, "--tokens-per-second", "100", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)["figures"]}
    assert found["tokens a second and device"]["value"] == pytest.approx(100)


def test_recomputation_is_taken_off_the_hardware_utilisation(capsys):
    command = [*A100, "--hardware-utilisation", "0.4", "--json", "--checkpointing"]
    shares = {}
    for kept in ("full", "none"):
        assert run_command([*command, kept]) == 0
        figures = json.loads(capsys.readouterr().out)["figures"]
        shares[kept] = next(each["value"] for each in figures if each["name"] == "utilisation")
    assert shares == {"full": pytest.approx(0.3), "none": 0.4}


def test_a_shape_is_read_from_a_checkpoint_of_hugging_face(tmp_path, capsys):
    pytest.importorskip("torch")
    config = {
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": 8192,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "intermediate_size": 28_672,
        "max_position_embeddings": 4096,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = ["plan", "training", "--hf", str(tmp_path), "--tokens", "2T", "--device", "H100"]
    assert run_command([*command, "--devices", "512", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["target"]["size"]
    assert found["parameters"] == 68_976_648_192


def test_the_first_word_may_be_left_out(tmp_path, capsys):
    store = ["--store", str(tmp_path / "runs")]
    assert run_command(["plan", "sample", "--bytes", "10TB", *store]) == 2
    assert "sample" in capsys.readouterr().err
    assert run_command(["plan", "--bytes", "10TB", "sample", *store]) == 2
    assert "sample" in capsys.readouterr().err
    assert run_command(["plan", "corpus", "sample", "--bytes", "10XB", *store]) == 2
    capsys.readouterr()
    assert run_command(["plan", "laptop/python-doc", *store]) == 2
    assert "Did you mean 'laptop/python-docs'?" in capsys.readouterr().err


def test_help_tells_the_meanings(capsys):
    assert run_command(["plan", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("recipe", "corpus", "training", "ladder"))


def test_a_recipe_without_a_bill_cannot_be_planned_by_bills(tmp_path, capsys):
    pytest.importorskip("torch")
    command = ["plan", "recipe", "tiny/python-docs", "turn=off", "users=off", "--by-bills"]
    assert run_command([*command, "--store", str(tmp_path / "runs")]) == 2
    assert "Run it first" in capsys.readouterr().err


def test_a_recipe_without_a_model_trains_nothing(tmp_path, capsys):
    off = [f"{name}=off" for name in ("pretrain", "finetune", "align", "evaluate", "turn", "users")]
    command = ["plan", "tiny/python-docs", *off, "--store", str(tmp_path / "runs")]
    assert run_command(command) == 0
    assert "trains and evaluates no model" in capsys.readouterr().out


def test_a_plan_of_a_recipe_shows_what_is_known(tmp_path, capsys, monkeypatch):
    pytest.importorskip("torch")
    from volano.study import measured_rate

    rate = measured_rate.Measured(1000.0, 400.0, 6)
    monkeypatch.setattr(measured_rate, "measure_rate", lambda *_, **__: rate)
    monkeypatch.setattr("volano.study.recipe_plan.BUSY", -1)
    command = ["plan", "laptop/over-refusal", "turn=off", "users=off"]
    assert run_command([*command, "--explain", "--store", str(tmp_path / "runs")]) == 0
    shown = capsys.readouterr()
    assert shown.err.splitlines() == [
        f"{stage}: training for some steps, to measure the rate …"
        for stage in ("base", "sft", "aligned")
    ]
    said = shown.out
    assert "sft: how much it reads is unknown before its data are made" in said
    assert "Others keep this machine busy" in said
    assert "about.epoch_tokens" not in said
    assert "the recipe took 20 minutes on 2 cores" in said


@pytest.mark.parametrize("command", [["plan"], ["run", "--plan"]])
def test_ctrl_c_tells_that_a_plan_has_made_nothing(command, monkeypatch, capsys):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("volano.study.recipe.load_recipe", stopped)
    assert run_command([*command, "tiny/python-docs"]) == 130
    assert capsys.readouterr().err == "volano: the plan was stopped. Nothing was made.\n"
