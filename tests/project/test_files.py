"""Files stay small enough to be read in one sitting."""

from statistics import median


def line_counts(root, *folders: str) -> dict[str, int]:
    return {
        str(path.relative_to(root)): len(path.read_text("utf-8").splitlines())
        for folder in folders
        for path in (root / folder).rglob("*.py")
    }


def test_no_file_is_longer_than_700_lines(root):
    counts = line_counts(root, "src", "tests", "scripts", "benchmarks", "examples")
    assert {name: lines for name, lines in counts.items() if lines > 700} == {}


def test_the_median_module_has_at_most_200_lines(root):
    counts = [lines for lines in line_counts(root, "src").values() if lines]
    assert len(counts) > 20
    assert median(counts) <= 200


def test_stand_ins_of_tests_have_names_of_their_own(root):
    # Every folder of tests is on the path: of two files with one name, one would hide the other.
    names = [
        path.name
        for path in (root / "tests").glob("*/*.py")
        if path.name != "conftest.py" and not path.name.startswith("test_")
    ]
    assert [name for name in names if names.count(name) > 1] == []


def test_every_module_opens_with_why_it_exists(root):
    silent = [
        str(path.relative_to(root))
        for path in (root / "src").rglob("*.py")
        if path.name != "__init__.py" and not path.read_text("utf-8").startswith('"""')
    ]
    assert silent == []


def test_no_room_is_a_drawer_for_everything(root):
    drawers = {"utils", "helpers", "common", "manager", "misc"}
    names = {path.stem for path in (root / "src").rglob("*")}
    assert names & drawers == set()
