"""LoRA: what it computes, what it trains, and the files that peft reads."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_decoder import FAMILY_FEATURES, tiny_decoder

from volano.core.errors import DataError, RecipeError
from volano.model.adapter import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_FILE,
    TARGETS,
    Adapter,
    adapter_state,
    attach,
    hold_once,
    load_adapter,
    merge,
    save_adapter,
    unmerge,
)
from volano.model.decoder import Decoder
from volano.model.generate import generate
from volano.model.huggingface import save_checkpoint
from volano.model.likelihood import mean_nll

ADAPTER = Adapter(rank=3, alpha=6.0)
QUERY_AND_VALUE = Adapter(rank=2, alpha=8.0, targets=("q_proj", "v_proj"), stabilised=True)


def tokens(rows=3, length=20):
    return torch.randint(0, 50, (rows, length), generator=torch.Generator().manual_seed(0))


def adapted(adapter=ADAPTER, *, learnt=True, **changed):
    model = tiny_decoder(**changed)
    attach(model, adapter, seed=1)
    if learnt:
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if ".lora_B" in name:
                    parameter.normal_(0, 0.3, generator=generator)
    return model


def loss_of(model):
    ids = tokens()
    return mean_nll(model.hidden(ids[:, :-1]), model.head_weight, ids[:, 1:])


def logits(model):
    with torch.no_grad():
        return model(tokens())


@pytest.mark.parametrize("adapter", [ADAPTER, QUERY_AND_VALUE])
@pytest.mark.parametrize("features", FAMILY_FEATURES.values(), ids=FAMILY_FEATURES)
def test_an_adapter_computes_what_the_merged_weights_compute(adapter, features):
    plain, model = logits(tiny_decoder(**features)), adapted(adapter, **features)
    before = logits(model)
    assert (before - plain).abs().max() > 0.1
    greedy = generate(model, [[1, 2, 3]], max_new_tokens=8)[0].tokens
    merge(model)
    torch.testing.assert_close(logits(model), before, rtol=0, atol=2e-4)
    assert generate(model, [[1, 2, 3]], max_new_tokens=8)[0].tokens == greedy
    assert list(model.state_dict()) == list(tiny_decoder(**features).state_dict())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_fresh_adapter_adds_nothing_and_follows_from_its_seed():
    fresh = adapted(learnt=False)
    assert torch.equal(logits(fresh), logits(tiny_decoder()))
    again, other = adapted(learnt=False), tiny_decoder()
    attach(other, ADAPTER, seed=9)
    first, second, third = (adapter_state(model) for model in (fresh, again, other))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[n], third[n]) for n in first if ".lora_A" in n)


def test_the_gradient_is_that_of_the_merged_weights_by_the_chain_rule():
    model = adapted().double().compute_in(torch.float64)
    loss_of(model).backward()
    merged = adapted().double().compute_in(torch.float64)
    factors = {
        name: (layer.lora_A.weight.detach().clone(), layer.lora_B.weight.detach().clone())
        for name, layer in merged.named_modules()
        if name.rpartition(".")[2] in TARGETS
    }
    merge(merged)
    loss_of(merged).backward()
    for name, (down, up) in factors.items():
        whole = merged.get_submodule(name).weight.grad
        layer = model.get_submodule(name)
        torch.testing.assert_close(layer.lora_A.weight.grad, ADAPTER.scale * up.T @ whole)
        torch.testing.assert_close(layer.lora_B.weight.grad, ADAPTER.scale * whole @ down.T)


def test_nothing_but_the_adapter_has_a_gradient():
    model = adapted(QUERY_AND_VALUE)
    loss_of(model).backward()
    learning = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learning == {name for name, _ in model.named_parameters() if ".lora_" in name}
    assert len(learning) == 2 * 2 * 2


def test_dropout_acts_in_training_alone():
    model = adapted(Adapter(rank=3, alpha=6.0, dropout=0.5))
    model.eval()
    assert torch.equal(logits(model), logits(adapted()))
    model.train()
    assert not torch.equal(logits(model), logits(model))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("features", FAMILY_FEATURES.values(), ids=FAMILY_FEATURES)
def test_the_frozen_base_lies_in_memory_once(dtype, features):
    model = adapted(**features)
    expected = logits(model)
    hold_once(model, dtype)
    frozen = [each for each in model.parameters() if not each.requires_grad]
    assert {each.dtype for each in frozen} == {dtype}
    held = frozen + [
        each for module in model.modules() for each in getattr(module, "kept", ()) or ()
    ]
    storages = {
        each.untyped_storage().data_ptr(): each.untyped_storage().nbytes()
        for each in held
        if each is not None
    }
    assert sum(storages.values()) == sum(each.numel() * each.element_size() for each in frozen)
    tolerance = 0.0 if dtype == torch.float32 else 0.15 * expected.std()
    assert (logits(model).float() - expected).abs().mean() <= tolerance
    loss_of(model).backward()
    assert all(each.grad is None for each in frozen)


def test_unmerging_gives_back_the_base():
    model = adapted()
    state, before = adapter_state(model), logits(model)
    merge(model)
    unmerge(model, ADAPTER, state)
    torch.testing.assert_close(logits(model), before, rtol=0, atol=2e-4)
    base = tiny_decoder().state_dict()
    for name, value in model.state_dict().items():
        if ".lora_" not in name:
            torch.testing.assert_close(value, base[name], rtol=0, atol=1e-6)


def test_a_saved_adapter_loads_on_the_same_base_and_equal_ones_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        save_adapter(tmp_path / name, adapted(QUERY_AND_VALUE), QUERY_AND_VALUE, base="b")
    for file in (ADAPTER_FILE, ADAPTER_CONFIG_FILE):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    model = tiny_decoder()
    assert load_adapter(model, tmp_path / "one") == QUERY_AND_VALUE
    assert torch.equal(logits(model), logits(adapted(QUERY_AND_VALUE)))


@pytest.mark.parametrize("adapter", [ADAPTER, QUERY_AND_VALUE])
def test_peft_reads_our_adapter_and_we_read_that_of_peft(adapter, tmp_path):
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    save_checkpoint(tmp_path / "base", tiny_decoder())
    save_adapter(tmp_path / "ours", adapted(adapter), adapter, base=str(tmp_path / "base"))
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "ours").eval()
    with torch.no_grad():
        expected = theirs(tokens()).logits
    torch.testing.assert_close(logits(adapted(adapter)), expected, rtol=0, atol=1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    model = tiny_decoder()
    assert load_adapter(model, tmp_path / "theirs") == adapter
    torch.testing.assert_close(logits(model), expected, rtol=0, atol=1e-4)


def test_an_adapter_that_peft_has_saved_computes_what_it_computed_there():
    """tests/model/peft_adapter was written by peft 0.21 on this base, with the logits beside it."""
    folder = Path(__file__).parent / "peft_adapter"
    model = tiny_decoder()
    assert load_adapter(model, folder) == QUERY_AND_VALUE
    expected = torch.tensor(json.loads((folder / "logits.json").read_text()))
    torch.testing.assert_close(logits(model)[0, -1], expected, rtol=0, atol=1e-4)
    ours = json.loads((folder / ADAPTER_CONFIG_FILE).read_text())
    for key in ("peft_type", "task_type", "r", "lora_alpha", "use_rslora", "bias"):
        assert key in ours


def changed(folder, **values):
    path = folder / ADAPTER_CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"peft_type": "IA3"}, "peft_type 'IA3' is not supported"),
        ({"bias": "all"}, "bias 'all' is not supported"),
        ({"use_dora": True}, "use_dora True is not supported"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern .* is not supported"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save .* is not supported"),
        ({"r": 4}, r"has shape \(3, 48\), the model and its config say \(4, 48\)"),
        ({"r": None}, "r is None, not a count"),
        ({"r": 3.0}, "r is 3.0, not a count"),
        ({"r": 10**15}, "r is 1,000,000,000,000,000, not 1 to"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan, not a number above 0"),
        ({"lora_alpha": float("inf")}, "lora_alpha is inf, not a number above 0"),
        ({"lora_dropout": "x"}, "lora_dropout is 'x', not a number"),
        ({"lora_dropout": 3}, "lora_dropout is 3, not a number above 0 and below 1"),
        ({"use_rslora": "false"}, "use_rslora is 'false', not true or false"),
        ({"alora_invocation_tokens": [1, 2]}, "alora_invocation_tokens .* is not supported"),
        ({"layer_replication": [[0, 2], [0, 2]]}, "layer_replication .* is not supported"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices .* is not supported"),
        ({"target_parameters": ["x"]}, "target_parameters .* is not supported"),
        ({"lora_bias": True}, "lora_bias True is not supported"),
        ({"use_qalora": True}, "use_qalora True is not supported"),
        ({"use_bdlora": {"nblocks": 2}}, "use_bdlora .* is not supported"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa' is not supported"),
        ({"init_lora_weights": "olora"}, "init_lora_weights 'olora' is not supported"),
        ({"task_type": "SEQ_CLS"}, "task_type 'SEQ_CLS' is not supported"),
    ],
)
def test_another_kind_of_adapter_is_refused(tmp_path, values, problem):
    save_adapter(tmp_path, adapted(), ADAPTER, base="b")
    changed(tmp_path, **values)
    with pytest.raises(DataError, match=problem):
        load_adapter(tiny_decoder(), tmp_path)


def test_an_adapter_of_another_model_and_a_damaged_one_are_refused(tmp_path):
    with pytest.raises(DataError, match="no adapter here"):
        load_adapter(tiny_decoder(), tmp_path)
    save_adapter(tmp_path, adapted(), ADAPTER, base="b")
    with pytest.raises(DataError, match="is of another model, or damaged"):
        load_adapter(tiny_decoder(layers=3), tmp_path)
    path = tmp_path / ADAPTER_FILE
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="damaged or truncated"):
        load_adapter(tiny_decoder(), tmp_path)


@pytest.mark.parametrize("spoilt", [torch.Tensor.int, lambda value: value * float("nan")])
def test_matrices_that_are_no_finite_numbers_are_refused(tmp_path, spoilt):
    save_adapter(tmp_path, adapted(), ADAPTER, base="b")
    state = load_file(tmp_path / ADAPTER_FILE)
    save_file({name: spoilt(value) for name, value in state.items()}, tmp_path / ADAPTER_FILE)
    with pytest.raises(DataError, match="is not finite numbers"):
        load_adapter(tiny_decoder(), tmp_path)


def test_a_config_that_is_a_list_is_refused(tmp_path):
    save_adapter(tmp_path, adapted(), ADAPTER, base="b")
    (tmp_path / ADAPTER_CONFIG_FILE).write_text("[]")
    with pytest.raises(DataError, match="not an object"):
        load_adapter(tiny_decoder(), tmp_path)


@pytest.mark.parametrize("keep", [Decoder.freeze, lambda model: hold_once(model, torch.float32)])
def test_merging_and_unmerging_reach_weights_that_were_kept(keep):
    model = adapted()
    with_adapter, state = logits(model), adapter_state(model)
    keep(model)
    merge(model)
    torch.testing.assert_close(logits(model), with_adapter, rtol=0, atol=2e-4)
    keep(model)
    unmerge(model, ADAPTER, state)
    torch.testing.assert_close(logits(model), with_adapter, rtol=0, atol=2e-4)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.zero_()
    assert (logits(model) - with_adapter).abs().max() > 0.1


def test_a_target_that_no_layer_has_is_asked_about():
    with pytest.raises(RecipeError, match=r"no layer 'q_porj'.*Did you mean 'q_proj'"):
        Adapter(rank=2, alpha=1.0, targets=("q_porj",))
