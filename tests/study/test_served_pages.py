"""`volano serve` with two real models, in a process of its own, and a real browser before it."""

import re
import shutil
import signal
import subprocess
import sys

import pytest
from tiny_decoder import tiny_decoder

from volano.core.feedback import default_database
from volano.core.store import Store
from volano.feedback.database import Database

pytest.importorskip("torch")
sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUESTION = "what is json"


@pytest.fixture
def served(tmp_path):
    """The address, and the folder of the feedback, of a server over `alpha` and `bravo`."""
    from volano.model.decoder import initialise
    from volano.model.huggingface import save_checkpoint
    from volano.text.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(["what is json", "open a file"] * 3, vocabulary=280)
    for seed, name in enumerate(("alpha", "bravo"), start=1):
        model = tiny_decoder(vocabulary=tokenizer.vocabulary, context=128)
        initialise(model, seed=seed)
        (tmp_path / name).mkdir()
        save_checkpoint(tmp_path / name, model, tokenizer)
    command = [sys.executable, "-m", "volano", "serve", "alpha", "bravo", "--port", "0"]
    with subprocess.Popen(
        [*command, "--store", "runs"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as process:
        said = process.stdout.readline()
        yield re.search(r"http://\S+(?=,)", said)[0], tmp_path
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in {0, 130}


@pytest.fixture
def page(served):
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(20_000)
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        yield page
        browser.close()
    assert errors == []


def ask(page):
    page.get_by_label("Your question").fill(QUESTION)
    page.keyboard.press("Enter")


def test_a_person_chats_with_real_models_rates_and_compares(served, page):
    address, folder = served
    page.goto(address)
    ask(page)
    page.locator("article.answer:not([aria-busy])").wait_for()
    shown = page.locator("article.answer .said").inner_text()
    page.get_by_role("group", name="helpful").get_by_label("2 of 5").check(force=True)
    page.get_by_role("button", name="Rate").click()
    page.get_by_text("Rated: helpful 2.").wait_for()

    page.goto(f"{address}/chat/compare")
    ask(page)
    page.get_by_role("button", name="B is better").wait_for()
    assert not re.search("alpha|bravo", page.content())
    page.get_by_role("button", name="B is better").click()
    revealed = page.locator(".chosen").inner_text()
    first, second = re.fullmatch(r"You chose B\. A was (\w+), B was (\w+)\.", revealed).groups()
    assert {first, second} == {"alpha", "bravo"}

    database = Database.open(default_database(Store(folder / "runs").folder))
    chatted, compared, other = sorted(
        (exchange for exchange, _ in database.exchanges()),
        key=lambda each: (each.time, each.request_id),
    )
    kinds = {event.kind: (event, exchange, rival) for event, exchange, rival in database.events()}
    database.close()
    assert kinds.keys() == {"rating", "choice"}
    assert kinds["rating"][0].helpful == 2
    rated = kinds["rating"][1]
    assert rated.checkpoint == str(folder / "alpha")
    assert rated.messages[-1].content == QUESTION
    # Random weights say anything; a page drops a NUL and turns \r into \n.
    shown, kept = (re.sub("[^!-~]", "", text) for text in (shown, rated.answer))
    assert shown == kept != ""
    event, left, right = kinds["choice"]
    assert {left.checkpoint, right.checkpoint} == {str(folder / "alpha"), str(folder / "bravo")}
    chosen = left if event.choice == "this" else right
    assert chosen.checkpoint == str(folder / second)
    assert {rated.request_id, left.request_id, right.request_id} == {
        each.request_id for each in (chatted, compared, other)
    }
