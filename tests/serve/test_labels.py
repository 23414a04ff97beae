"""Our own server as the one who judges: the answers of a real model go through the whole way."""

import json

from clients import client

from volano.cli.main import run_command


def test_a_served_model_is_asked_and_its_answers_are_kept(serve, tmp_path, capsys):
    texts = ["what is json", "open a file"]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    (tmp_path / "in.jsonl").write_text(lines)
    (tmp_path / "prompt.txt").write_text("{text}")
    port, out = serve(), tmp_path / "labelled.jsonl"
    command = ["classifier", "label", str(tmp_path / "in.jsonl"), "--json", "--max-tokens", "8"]
    command += ["--endpoint", f"http://127.0.0.1:{port}/v1", "--model", "tiny", "--out", str(out)]
    assert run_command([*command, "--prompt", str(tmp_path / "prompt.txt")]) == 0
    told = json.loads(capsys.readouterr().out)
    # A random model gives no score; what it did say is kept to the letter.
    assert (told["rows"], told["unparsed"]) == (0, 2)
    found = [json.loads(x) for x in (tmp_path / "labelled.unparsed.jsonl").open()]
    for row, text in zip(found, texts, strict=True):
        expected = client(port).chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": text}],
            max_tokens=8,
            temperature=0,
        )
        assert row["answer"] == expected.choices[0].message.content
        assert "no 'Educational score:' with a number" in row["reason"]
