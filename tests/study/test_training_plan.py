"""Plans of runs that were published, with the utilisation that was published, and never fitted."""

from dataclasses import replace

import pytest

from volano.core.errors import DataError
from volano.study.devices import DEVICES, device_named
from volano.study.training_claims import implied_watts, judge_claims, read_claims, verdict
from volano.study.training_cost import (
    PUBLISHED,
    dpo_flops_per_token,
    flops_per_token,
    forward_flops_per_token,
    usual_size,
)
from volano.study.training_memory import Layout
from volano.study.training_plan import TrainingTarget, training_plan

WITHIN = 0.2


def planned(target):
    return {each.name: each.value for each in training_plan(target).figures}


def near(value):
    return pytest.approx(value, rel=WITHIN)


# Brown et al. 2020, table D.1: 300 billion tokens, 3.14e23 FLOPs.
GPT3 = TrainingTarget(
    size=PUBLISHED["gpt-3"],
    tokens=300e9,
    device=device_named("A100"),
    devices=1024,
    layout=Layout(data=8, tensor=8, pipeline=16, checkpointing="full"),
)
ON_V100 = replace(
    GPT3,
    device=device_named("V100"),
    devices=10_000,
    layout=Layout(data=625, tensor=8, pipeline=2),
    choose=frozenset({"axes", "checkpointing"}),
)


def test_gpt_3_on_1024_a100_takes_about_a_month():
    # Narayanan et al. 2021, section 5.1 and 5.3: 140 of 312 TFLOP/s with every activation computed
    # twice, 34 days.
    found = planned(replace(GPT3, hardware_utilisation=140 / 312))
    assert found["pre-training"] == near(3.14e23)
    assert found["time"] == near(34)
    assert planned(GPT3)["time"] == near(30)  # by the utilisation of the table of devices


def test_energy_and_carbon_follow_from_hours_watts_pue_and_grid_exactly():
    target = replace(GPT3, watts=500, pue=1.2, kilograms_per_kwh=0.25)
    found = planned(target)
    megawatt_hours = found["device-hours"] * 500 * 1.2 / 1e6
    assert found["energy"] == pytest.approx(megawatt_hours)
    assert found["CO₂"] == pytest.approx(megawatt_hours * 0.25)  # kg a kWh is t a MWh
    assert found["time"] == pytest.approx(found["device-hours"] / 1024 / 24)


def test_gpt_3_on_v100_takes_3_6_million_hours_1300_mwh_and_5_million_dollars():
    # Utilisation: Chowdhery et al. 2022 (PaLM), table 3: 21.3 %. Patterson et al. 2021, table 4:
    # 10,000 V100 for 14.8 days (3.55M hours), 330 W each, PUE 1.10, 1,287 MWh, 552 t of CO₂e.
    # Lambda 2020, "OpenAI's GPT-3 Language Model": $4.6M at $1.50 an hour.
    found = planned(ON_V100)
    assert found["utilisation"] == 0.213
    assert found["device-hours"] == near(3.6e6)
    assert found["device-hours"] == near(3.55e6)
    assert found["time"] == near(14.8)
    assert found["energy"] == near(1287)
    assert found["CO₂"] == near(552)
    assert found["price"] == near(4.6e6)
    assert found["price"] == near(5e6)


def test_llama_2_70b_takes_1_7_million_a100_hours():
    # Touvron et al. 2023b, table 2: 1,720,320 hours for 2.0T tokens; its utilisation is not given.
    # Of its predecessor of the same width and depth, LLaMA 65B, Touvron et al. 2023a, section 2.4:
    # about 380 tokens a second and A100, 2,048 of them.
    a100, former = device_named("A100"), PUBLISHED["llama-65b"]
    target = TrainingTarget(
        size=PUBLISHED["llama-2-70b"],
        tokens=2.0e12,
        device=a100,
        devices=2048,
        choose=frozenset({"axes", "checkpointing"}),
        utilisation=380 * flops_per_token(former) / a100.peak_flops,
    )
    found = planned(target)
    assert found["device-hours"] == near(1_720_320)
    # The same throughput gives LLaMA 65B's own 21 days and 1,022,362 hours (its table 15).
    own = planned(replace(target, size=former, tokens=1.4e12))
    assert own["time"] == near(21)
    assert own["device-hours"] == near(1_022_362)


@pytest.mark.parametrize("utilisation", [0.38, 0.41, 0.43])
def test_llama_3_1_405b_takes_31_million_h100_hours(utilisation):
    # Grattafiori et al. 2024: 15.6T tokens (3.8e25 FLOPs), table 4: MFU of 38, 41 and 43 %; model
    # card of Llama 3.1: 30.84M hours, 700 W.
    target = TrainingTarget(
        size=PUBLISHED["llama-3.1-405b"],
        tokens=15.6e12,
        device=device_named("H100"),
        devices=16_384,
        choose=frozenset({"axes", "checkpointing"}),
        utilisation=utilisation,
    )
    found = planned(target)
    assert found["pre-training"] == near(3.8e25)
    assert found["device-hours"] == near(30.84e6)


def test_the_popular_triple_is_inconsistent_and_the_plan_says_so():
    target = replace(GPT3, devices=1000, claims=read_claims(["days=30", "MWh=1300"]))
    judged = judge_claims(target)
    assert judged["A100"]["days"].met
    assert not judged["A100"]["MWh"].met
    assert not judged["V100"]["days"].met
    assert judged["V100"]["MWh"].met
    # 1,300 MWh / 1.10 over 720,000 hours: four times what an A100's board may draw.
    assert implied_watts(target) == pytest.approx(1300e6 / 1.1 / 720_000)
    said = " ".join(verdict(target, judged))
    assert "no device meets them all" in said
    assert "a device drew 1,641 W; A100 draws 400 W" in said


def test_claims_of_one_run_are_met_together():
    claims = read_claims(["device-hours=3.6M", "MWh=1300", "money=5M"])
    target = replace(ON_V100, claims=claims)
    said = verdict(target, judge_claims(target))
    assert "All claims are met on V100." in said
    assert "money" not in judge_claims(target)["A100"]  # no price is known


def test_a_claim_that_no_plan_answers_is_refused():
    with pytest.raises(DataError, match=r"no claim 'day'.*'days'"):
        read_claims(["day=3"])
    with pytest.raises(DataError, match="no number in 'days=soon'"):
        read_claims(["days=soon"])


def test_flops_of_a_token_are_those_worked_out_by_hand():
    size = PUBLISHED["gpt-3"]
    attention = 12 * 96 * 12_288 * 2048
    assert flops_per_token(size) == 6 * 174_600_000_000 + attention
    assert forward_flops_per_token(size) == flops_per_token(size) / 3
    assert dpo_flops_per_token(size) == flops_per_token(size) * 4 / 3
    llama = PUBLISHED["llama-2-70b"]  # its embedding is looked up
    assert llama.in_matmuls == llama.parameters - 32_000 * 8192


def test_the_whole_life_adds_up():
    target = replace(GPT3, sft_tokens=1e9, align_tokens=1e9, evaluate_tokens=3e9)
    found = planned(target)
    parts = ["pre-training", "SFT", "alignment (DPO)", "evaluation"]
    assert found["alignment (DPO)"] == pytest.approx(found["SFT"] * 4 / 3)
    assert found["evaluation"] == pytest.approx(found["SFT"])
    hours = [found[f"{part}: device-hours"] for part in parts]
    assert sum(hours) == pytest.approx(found["device-hours"])
    assert found["device-hours"] > planned(GPT3)["device-hours"]


def test_a_device_without_a_published_utilisation_asks_for_one():
    target = replace(GPT3, device=device_named("B200"))
    with pytest.raises(DataError, match=r"no run on B200 is known.*Give one"):
        training_plan(target)
    assert planned(replace(target, utilisation=0.4))["time"] > 0


def test_devices_are_found_in_any_case_and_the_nearest_is_named():
    assert device_named("h100").name == "H100"
    assert device_named("A100-80GB").memory_bytes == 80e9
    with pytest.raises(DataError, match=r"no device 'H1000'.*'H100'"):
        device_named("H1000")
    assert all(each.utilisation_source for each in DEVICES if each.utilisation)


@pytest.mark.parametrize("parameters", [1_000_000_000, 7_000_000_000, 175_000_000_000])
def test_a_usual_shape_has_about_the_parameters_that_were_asked_for(parameters):
    size = usual_size(parameters, 2048)
    by_shape = 12 * size.layers * size.width**2 + size.vocabulary * size.width
    assert by_shape == pytest.approx(parameters, rel=0.05)
    assert size.parameters == parameters


def test_the_usual_shape_of_175b_is_gpt_3s():
    size, published = usual_size(175_000_000_000, 2048), PUBLISHED["gpt-3"]
    assert (size.layers, size.width, size.heads) == (
        published.layers,
        published.width,
        published.heads,
    )
    with pytest.raises(DataError, match="hardly more than an embedding"):
        usual_size(10_000_000, 128)
