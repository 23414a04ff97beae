import pytest

from volano.core.errors import StoreError
from volano.core.files import read_json, write_json
from volano.core.report import Measurement, Report


def test_a_report_comes_back_as_it_was(tmp_path):
    loss = Measurement("loss", "base", 1.25, 1.2, 1.3, 400, "bits per byte", "held out")
    report = Report((loss,), ({"of": "sft", "against": "base", "p": 0.003},), {"seeds": [1, 2]})
    report.save(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json") == report
    assert report.find("loss", "base") == loss
    assert report.find("loss", "sft") is None


def test_a_damaged_or_newer_report_is_refused(tmp_path):
    path = tmp_path / "report.json"
    with pytest.raises(StoreError, match="no such file"):
        Report.load(path)
    Report(()).save(path)
    write_json(path, {**read_json(path), "format": 99})
    with pytest.raises(StoreError, match=r"newer Volano \(report format 99\)"):
        Report.load(path)
