import pytest
from documents import blocks_of, in_miniature


def test_a_fence_knows_its_comment_and_its_commands(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: needs a cluster -->\n```sh\nlaunch --all\n```\n"
        "<!-- exits 2 -->\n```console\n$ first \\\n  part\nits output\n$ second\n```\n"
        "```sh\n# why\none\n\ntwo  # aside\n```\n"
    )
    first, second, third = blocks_of(page)
    assert (first.reason, first.exit_code, first.where) == ("needs a cluster", 0, "page.md:2")
    assert (second.reason, second.exit_code) == (None, 2)
    assert second.commands() == ["first    part", "second"]
    assert third.commands() == ["one", "two  # aside"]


@pytest.mark.parametrize(
    ("printed", "run"),
    [
        ("volano run laptop/python-docs", "volano run tiny/python-docs"),
        ("volano show python-docs/curated", "volano show tiny-python-docs/curated"),
        ('store["python-docs/base"]', 'store["tiny-python-docs/base"]'),
        ("volano show python-docs-ladder/next", "volano show tiny-python-docs-ladder/next"),
        ("volano show tiny-python-docs/base", "volano show tiny-python-docs/base"),
        ("volano run laptop/own-model", "volano run laptop/own-model"),
    ],
)
def test_laptop_recipes_run_in_miniature(printed, run):
    assert in_miniature(printed) == run
