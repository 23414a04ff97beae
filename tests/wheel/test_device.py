"""Nothing is forgotten on its way to a device: a wheel on a second one gives the same bytes."""

import json

import pytest
from wheel_on_device import started


@pytest.mark.whole
def test_a_wheel_on_a_device_of_its_own_gives_the_bytes_of_the_processor(tmp_path):
    both = [started(tmp_path / name, name) for name in ("pretended", "cpu")]
    said = [each.communicate(timeout=300) for each in both]
    assert [each.returncode for each in both] == [0, 0], [error[-2000:] for _, error in said]
    found, expected = (json.loads(out) for out, _ in said)
    assert found["files"] == expected["files"]
    assert found["resumed"] == expected["resumed"]
    assert found["features"] == expected["features"]
