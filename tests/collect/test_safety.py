import json

from small_tree import rows

from volano.collect.safety import collect_safety, conversations_of, scan_safety
from volano.collect.section import SafetySection


def test_package_data_make_balanced_conversations_and_pairs_share_a_split(context):
    collect_safety(SafetySection(), {}, context)
    found = rows(context.folder)
    assert len(found) >= 600
    assert len({row["id"] for row in found}) == len(found)
    prompts = [row["messages"][0]["content"] for row in found]
    assert len(set(prompts)) == len(prompts)
    pairs: dict[str, list[dict[str, object]]] = {}
    for row in found:
        assert [turn["role"] for turn in row["messages"]] == ["user", "assistant"]
        pairs.setdefault(json.loads(row["metadata"])["pair"], []).append(row)
    assert {tuple(sorted(each["kind"] for each in pair)) for pair in pairs.values()} == {
        ("safe", "unsafe")
    }
    assert {len({each["split"] for each in pair}) for pair in pairs.values()} == {1}
    for name in ("natural", "matched"):
        splits = [
            pair[0]["split"]
            for pair in pairs.values()
            if json.loads(pair[0]["metadata"])["set"] == name
        ]
        assert abs(splits.count("test") - splits.count("train")) <= 1
        assert splits.count("test") > 100


def test_order_of_the_lines_does_not_matter(tmp_path):
    lines = [
        {
            "set": "s",
            "id": f"{n}",
            "pair": f"p{n // 2}",
            "label": "safe",
            "topic": "t",
            "prompt": "p",
            "answer": "a",
        }
        for n in range(10)
    ]
    assert conversations_of(lines) == conversations_of(lines[::-1])


def test_listing_names_both_files():
    keys = [entry.key for entry in scan_safety(SafetySection()).entries]
    assert keys == ["safety_matched.jsonl", "safety_natural.jsonl"]
