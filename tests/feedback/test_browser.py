"""A real browser chats, rates, edits and compares, by keyboard where a person would."""

import re
import shutil

import pytest
from scripted import Scripted, serving

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SCRIPT = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title='taken'\">"


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def models():
    return [Scripted("alpha", "First,", 0.02), Scripted("bravo", "Second,", 0.02)]


@pytest.fixture
def address(sqlite_database, models):
    with serving(sqlite_database, models) as found:
        yield found


@pytest.fixture
def page(browser, address):
    """A page whose every error, a refused script or style among them, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(10_000)
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    assert errors == []


def ask(page, question):
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")


def answers(page):
    return page.locator("article.answer:not([aria-busy])")


def test_a_person_chats_rates_and_edits_and_the_rows_are_in_the_database(
    page, address, sqlite_database, models
):
    models[0].pause_seconds = 0.1
    page.goto(address)
    page.get_by_label("may be used to train").check()
    page.get_by_text("Thank you. You can change").wait_for()
    ask(page, "what is two and two and two and two and two")
    # It streams: a part is there while the rest is not.
    page.locator("[aria-busy] .said", has_text="First, what").wait_for()
    assert page.get_by_role("button", name="Rate").count() == 0
    answers(page).nth(0).wait_for()

    page.get_by_role("group", name="helpful").get_by_label("4 of 5").check(force=True)
    page.get_by_role("button", name="Rate").click()
    page.get_by_text("Rated: helpful 4.").wait_for()
    page.get_by_role("button", name="Good answer").click()
    page.get_by_text("Marked as good.").wait_for()
    page.get_by_text("Edit", exact=True).click()
    page.get_by_label("The answer as it should be").fill("Ten.\nIt is ten.")
    page.get_by_role("button", name="Save the edit").click()
    page.get_by_text("The edit is saved.").wait_for()
    assert page.locator(".correction .said").inner_text() == "Ten.\nIt is ten."
    ask(page, "sure?")
    answers(page).nth(1).wait_for()

    (first, said), (second, _) = sqlite_database.exchanges()
    kept = {event.kind: event for event in said}
    assert kept.keys() == {"rating", "thumb", "edit"}
    assert kept["rating"].helpful == 4
    assert kept["thumb"].thumb == "up"
    assert kept["edit"].edit == "Ten.\nIt is ten."
    assert {event.consent for event in said} == {first.consent} == {"training"}
    assert [turn.content for turn in second.messages][::2] == [first.messages[0].content, "sure?"]


def test_a_long_conversation_goes_on_without_its_beginning_and_a_new_one_begins(
    page, address, sqlite_database, models
):
    models[0].most_messages = 3
    page.goto(address)
    for place in range(3):
        ask(page, f"question {place}")
        answers(page).nth(place).wait_for()
    assert page.get_by_text("Earlier turns no longer fit and were left out.").count() == 1
    *_, (last, _) = sqlite_database.exchanges()
    given = [turn.content for turn in last.messages]
    assert given == ["question 1", "First, question 1 ", "question 2"], "as the model was given it"
    page.get_by_role("button", name="Good answer").nth(2).click()
    page.locator("button[aria-pressed=true]").wait_for()
    page.get_by_role("button", name="New conversation").press("Enter")
    assert answers(page).count() == 0
    ask(page, "something else")
    answers(page).nth(0).wait_for()
    *_, (last, _) = sqlite_database.exchanges()
    assert [turn.content for turn in last.messages] == ["something else"]


def test_what_was_asked_is_there_to_be_asked_again_where_the_model_fails(page, address):
    page.goto(address)
    ask(page, "break")
    page.locator(".failed").wait_for()
    assert page.get_by_label("Your question").input_value() == "break"


def test_the_key_of_a_server_opens_its_page_and_another_does_not(browser, sqlite_database, models):
    with serving(sqlite_database, models, keys=["sesame"]) as address:
        page = browser.new_page()
        page.set_default_timeout(10_000)
        page.goto(address)
        page.locator("input[name=key]").fill("wrong")
        page.keyboard.press("Enter")
        page.get_by_text("This key is not known.").wait_for()
        page.locator("input[name=key]").fill("sesame")
        page.keyboard.press("Enter")
        page.get_by_label("Your question").wait_for()
        page.close()


def test_all_of_it_works_by_keyboard_alone(page, address, sqlite_database):
    page.goto(f"{address}/chat")
    page.keyboard.type("line one")  # the question has the focus
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("line two")
    page.keyboard.press("Enter")
    answers(page).nth(0).wait_for()
    reached = []
    page.evaluate("document.querySelector('.thumbs button').focus()")
    for _ in range(6):
        reached.append(
            page.evaluate(
                "document.activeElement.name || document.activeElement.textContent.trim()"
            )
        )
        if reached[-1] == "harmless":
            page.keyboard.press("Space")
            page.keyboard.press("ArrowRight")  # within the group: from one star to two
        page.keyboard.press("Tab")
    assert reached == ["thumb", "thumb", "helpful", "harmless", "honest", "Rate"]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.get_by_text("Rated: harmless 2.").wait_for()
    ((event, exchange, _),) = sqlite_database.events()
    assert event.harmless == 2
    assert exchange.messages[0].content == "line one\nline two"


def test_the_blind_comparison_names_no_model_before_the_choice(page, address, sqlite_database):
    received = []
    page.on("response", lambda response: received.append(response))
    page.goto(f"{address}/chat/compare")
    ask(page, "which?")
    page.get_by_role("button", name="B is better").wait_for()
    texts = [
        response.text()
        for response in received
        if "/static/" not in response.url and "/stream/" not in response.url
    ]
    for seen in [page.content(), *texts]:
        assert not re.search("alpha|bravo", seen)
    shown = page.locator("article.answer .said").all_inner_texts()
    page.get_by_role("button", name="B is better").click()
    said = page.locator(".chosen").inner_text()
    names = {"First,": "alpha", "Second,": "bravo"}
    first, second = (names[text.split()[0]] for text in shown)
    assert said == f"You chose B. A was {first}, B was {second}."
    ((event, exchange, other),) = sqlite_database.events()
    assert event.choice == "other"
    assert event.shown_first == exchange.request_id
    assert (first in exchange.checkpoint, second in other.checkpoint) == (True, True)


def test_what_people_and_models_write_never_runs(page, address):
    page.goto(f"{address}/chat")
    ask(page, SCRIPT)
    answers(page).nth(0).wait_for()
    assert page.locator(".said").all_inner_texts() == [SCRIPT, f"First, {SCRIPT} "]
    assert page.title() == "Chat · Volano"
    assert page.locator("main script, main img").count() == 0


def test_a_page_elsewhere_cannot_make_the_browser_post(browser, page, address, sqlite_database):
    page.goto(f"{address}/chat")
    elsewhere = page.context.new_page()
    # localhost is another origin than 127.0.0.1, of the kind that a cookie alone would let in.
    elsewhere.route(
        "http://localhost:*/**",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f"<form method=post action='{address}/chat/consent'>"
            "<input name=agreed value=yes><button>go</button></form>",
        ),
    )
    elsewhere.goto(address.replace("127.0.0.1", "localhost"))
    with elsewhere.expect_response("**/chat/consent") as posted:
        elsewhere.get_by_role("button", name="go").click()
    assert posted.value.status == 403
    assert sqlite_database.consents() == {}


def test_when_the_server_is_gone_the_question_stays(browser, sqlite_database, models):
    context = browser.new_context()
    page = context.new_page()
    with serving(sqlite_database, models) as address:
        page.goto(f"{address}/chat")
    ask(page, "are you there?")
    page.get_by_text("The server does not answer.").wait_for()
    assert page.get_by_label("Your question").input_value() == "are you there?"
    context.close()


def test_what_could_not_be_kept_is_not_shown_as_kept(browser, address, sqlite_database, tmp_path):
    page = browser.new_context().new_page()
    page.set_default_timeout(10_000)
    problem = page.locator("#problem")
    page.goto(f"{address}/chat")
    consent = page.get_by_label("may be used to train")
    consent.check()
    page.get_by_text("Thank you. You can change").wait_for()
    ask(page, "what is two and two")
    answers(page).nth(0).wait_for()

    page.locator("#prompt").evaluate("field => field.removeAttribute('maxlength')")
    ask(page, "w" * 20_001)
    problem.get_by_text("At most 20,000 characters.").wait_for()
    assert len(page.get_by_label("Your question").input_value()) == 20_001

    file = tmp_path / "feedback.sqlite"
    file.rename(tmp_path / "away")
    ask(page, "sure?")
    problem.get_by_text("The database file is gone.").wait_for()
    assert page.get_by_label("Your question").input_value() == "sure?"
    assert page.locator(".turn").count() == 1
    page.get_by_role("button", name="Good answer").click()
    page.locator(".status", has_text="The database file is gone.").wait_for()
    assert page.locator("button[aria-pressed=true]").count() == 0
    page.get_by_text("Edit", exact=True).click()
    page.get_by_label("The answer as it should be").fill("Four.")
    page.get_by_role("button", name="Save the edit").click()
    page.wait_for_timeout(300)
    assert page.locator(".correction").count() == 0
    assert page.get_by_label("The answer as it should be").input_value() == "Four."
    with page.expect_response("**/chat/consent"):
        consent.click()  # not uncheck(): the page may set it back before that has looked
    page.locator(".consent .status:empty").wait_for(state="attached")
    assert consent.is_checked(), "as the server has it"

    (tmp_path / "away").rename(file)
    page.get_by_role("button", name="Save the edit").click()
    page.get_by_text("The edit is saved.").wait_for()
    consent.uncheck()
    page.get_by_text("Switched off.").wait_for()
    ((_, said),) = sqlite_database.exchanges()
    assert [(event.kind, event.edit) for event in said] == [("edit", "Four.")]
    page.context.close()


def test_a_choice_that_could_not_be_kept_can_be_made_again(browser, address, tmp_path):
    page = browser.new_context().new_page()
    page.set_default_timeout(10_000)
    page.goto(f"{address}/chat/compare")
    ask(page, "which is it")
    page.get_by_role("button", name="A is better").wait_for()
    file = tmp_path / "feedback.sqlite"
    file.rename(tmp_path / "away")
    page.get_by_role("button", name="A is better").click()
    page.locator("#problem", has_text="The database file is gone.").wait_for()
    (tmp_path / "away").rename(file)
    page.get_by_role("button", name="A is better").click()
    page.locator(".chosen").wait_for()
    assert page.locator("#problem").inner_text() == ""
    page.context.close()


def test_a_refusal_from_before_the_page_is_told_in_words(browser, address):
    page = browser.new_context().new_page()
    page.set_default_timeout(10_000)
    page.goto(f"{address}/chat")
    body = {"error": {"message": "Too many requests a minute.", "type": "rate_limit_error"}}
    page.route("**/chat/ask", lambda route: route.fulfill(status=429, json=body))
    ask(page, "and now?")
    page.locator("#problem", has_text="Too many requests a minute.").wait_for()
    assert page.locator("#problem").inner_text() == "Too many requests a minute."
    assert page.get_by_label("Your question").input_value() == "and now?"
    assert page.locator(".turn").count() == 0
    page.context.close()


@pytest.mark.parametrize("path", ["/chat", "/chat/compare"])
def test_on_a_phone_nothing_is_wider_than_the_screen(page, address, path):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{address}{path}")
    ask(page, "w" * 300)
    answers(page).nth(0).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    stars = page.locator(".stars label")
    for place in range(stars.count()):
        assert stars.nth(place).bounding_box()["height"] >= 24  # WCAG 2.2, target size
