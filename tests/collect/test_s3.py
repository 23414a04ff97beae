"""s3:// against a server that speaks S3, on this machine: moto's own, in a process beside us."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import zstandard
from reading import collect_paths

from volano.collect.remote import local_file
from volano.collect.section import CollectSection
from volano.collect.sources import list_sources
from volano.core.errors import DataError, VolanoError

pytest.importorskip("s3fs")
pytest.importorskip("moto")
pytest.importorskip("flask_cors")
LINES = "".join(json.dumps({"text": f"Line {n}"}) + "\n" for n in range(3))
SECONDS_TO_START = 60
KEYS = {"AWS_ACCESS_KEY_ID": "mill", "AWS_SECRET_ACCESS_KEY": "hunter2"}


@pytest.fixture(scope="module")
def server():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(SECONDS_TO_START * 10):
            try:
                with urllib.request.urlopen(f"{address}/moto-api/", timeout=5):
                    break
            except urllib.error.URLError:
                assert process.poll() is None
                time.sleep(0.1)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def s3(server, monkeypatch, tmp_path):
    """A bucket `mills` with two files; the environment says where it lies and who asks."""
    import s3fs

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "nothing"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "nothing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    if not system.exists("mills"):
        system.mkdir("mills")
    system.pipe("mills/crawl/a.jsonl.zst", zstandard.compress(LINES.encode()))
    system.pipe("mills/crawl/b.png", b"no")
    yield system
    s3fs.S3FileSystem.clear_instance_cache()


def listed(address: str):
    return list_sources(CollectSection(source="files", paths=[address])).entries


@pytest.mark.parametrize("address", ["s3://mills/crawl", "s3://mills/*/*.jsonl.zst"])
def test_files_of_a_bucket_are_read_like_files_here(tmp_path, s3, address):
    found = collect_paths(tmp_path, address)
    assert [row["text"] for row in found.documents] == ["Line 0", "Line 1", "Line 2"]
    assert found.documents[0]["source"] == "s3://mills/crawl/a.jsonl.zst"
    assert not list((tmp_path / "run").rglob("fetched/*"))


def test_identity_is_the_checksum_that_the_store_keeps(tmp_path, s3):
    address = "s3://mills/crawl/a.jsonl.zst"
    (before,) = listed(address)
    s3.pipe("mills/crawl/a.jsonl.zst", zstandard.compress(LINES.encode()))
    s3.invalidate_cache()
    assert listed(address) == (before,)
    s3.pipe("mills/crawl/a.jsonl.zst", zstandard.compress(LINES.replace("0", "7").encode()))
    s3.invalidate_cache()
    (after,) = listed(address)
    assert after.sha256 != before.sha256
    with (
        pytest.raises(DataError, match="changed since it was listed"),
        local_file(before, tmp_path / "fetched"),
    ):
        pass


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("s3://nobodys-mills/a.jsonl", "no such file or folder. Check the address."),
        ("s3://nobodys-mills/", "no such file or folder. Check the address."),
        ("s3://mills/crawl/z.jsonl", "no such file or folder. Check the address."),
        ("s3://mills/crawl/*.csv", "no file of a known kind."),
    ],
)
def test_a_wrong_bucket_or_key_is_one_line(s3, address, message):
    with pytest.raises(DataError) as refused:
        listed(address)
    assert str(refused.value).startswith(f"{address}: {message}")
    assert "\n" not in str(refused.value)


def test_without_credentials_or_without_a_server_one_line_says_so(s3, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    for changes, message in (
        (dict.fromkeys(KEYS), "no credentials were found"),
        ({**KEYS, "AWS_ENDPOINT_URL": nobody, "AWS_MAX_ATTEMPTS": "1"}, "cannot be listed ("),
    ):
        for name, value in changes.items():
            if value is None:
                monkeypatch.delenv(name)
            else:
                monkeypatch.setenv(name, value)
        type(s3).clear_instance_cache()
        with pytest.raises(VolanoError) as refused:
            listed("s3://mills/crawl/a.jsonl.zst")
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)
        assert "hunter2" not in str(refused.value)
