import json

from hypothesis import given
from hypothesis import strategies as st

from volano.align.function_pairs import balance_lengths, function_preferences, length_difference
from volano.core.records import Document, Message, Preference

WORDS = ["file", "path", "value", "array", "index", "name", "type", "list", "node", "tree"]
WORDS += ["token", "line", "graph"]


def corpus(functions=400):
    """Functions of ten modules, their documentation one or two sentences of varied length."""
    documents = []
    for n in range(functions):
        first = " ".join(WORDS[(n * k + k) % len(WORDS)] for k in range(1, 6 + n * 7 % 9))
        text = f"Return {first} {n}." + (f" It reads {first} once more." if n % 2 else "")
        name = f"m{n % 10}.f{n}"
        metadata = {
            "qualified_name": name,
            "module": f"m{n % 10}",
            "summary": f"Return {first} {n}.",
        }
        documents.append(
            Document(
                f"p:{name}", f"{name}()\n\n{text}", "s", "function", metadata=json.dumps(metadata)
            )
        )
    return documents


def test_length_alone_decides_nothing_in_either_kind():
    for kind in ("wrong", "truncated"):
        pairs = [p for p in function_preferences(corpus(), 1_000) if p.kind == kind]
        assert len(pairs) >= 40
        differences = [length_difference(pair) for pair in pairs]
        assert sum(difference > 0 for difference in differences) * 2 == len(pairs)
        for threshold in (2**k for k in range(8)):
            judged = [d for d in differences if abs(d) >= threshold]
            assert sum(d > 0 for d in judged) * 2 == len(judged)


def test_rejected_answer_is_another_functions_of_the_same_module_or_lacks_its_end():
    documents = {document.id: document for document in corpus()}
    for pair in function_preferences(documents.values(), 1_000):
        own = json.loads(documents[pair.source_ids[0]].metadata)
        assert pair.chosen[0].content == own["summary"]
        assert own["qualified_name"] in pair.prompt[0].content
        rejected = pair.rejected[0].content
        if pair.kind == "wrong":
            other = json.loads(documents[pair.source_ids[1]].metadata)
            assert (other["module"], other["summary"]) == (own["module"], rejected)
            assert rejected != own["summary"]
        else:
            assert own["summary"].startswith(rejected) or rejected.startswith(own["summary"] + " ")
            assert rejected[-1] not in ".!?"


def test_number_of_pairs_is_limited_and_the_same_each_time():
    pairs = function_preferences(corpus(), 20)
    assert [p.kind for p in pairs].count("wrong") == 20
    assert [p.kind for p in pairs].count("truncated") == 20
    assert pairs == function_preferences(corpus(), 20)


def test_held_out_functions_stand_in_no_pair():
    documents = [Document(**{**d.to_row(), "split": "test"}) for d in corpus()]
    assert function_preferences(documents, 100) == []


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=40), st.integers(0, 30))
def test_balance_keeps_as_many_pairs_as_match(lengths, most):
    pairs = [
        Preference(f"{n}", (), (Message("a", "x" * a),), (Message("a", "x" * b),), "s")
        for n, (a, b) in enumerate(lengths)
    ]
    sizes = range(1, 7)
    differences = [a - b for a, b in lengths]
    expected = sum(
        min(
            sum(d > 0 and d.bit_length() == size for d in differences),
            sum(d < 0 and (-d).bit_length() == size for d in differences),
        )
        for size in sizes
    )
    kept = balance_lengths(pairs, most)
    assert len(kept) == 2 * min(expected, most // 2)
    assert sum(length_difference(pair) > 0 for pair in kept) * 2 == len(kept)
