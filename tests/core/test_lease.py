import fcntl
import threading
import time

from volano.core.lease import is_leased, lease


def test_a_lease_is_held_within_its_block_only(tmp_path):
    path = tmp_path / "new" / "x.lease"
    assert not is_leased(path)
    with lease(path, "x"):
        assert is_leased(path)
    assert not is_leased(path)
    assert not path.exists()


def test_a_lease_is_let_go_on_an_error(tmp_path):
    try:
        with lease(tmp_path / "x", "x"):
            raise ValueError
    except ValueError:
        assert not is_leased(tmp_path / "x")


def test_one_holder_at_a_time_and_the_others_say_once_that_they_wait(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("volano.core.lease.POLL_SECONDS", 0.005)
    holders, most = 0, 0

    def work():
        nonlocal holders, most
        for _ in range(3):
            with lease(tmp_path / "x", "toy/x"):
                holders += 1
                most = max(most, holders)
                time.sleep(0.01)
                holders -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    waits = capfd.readouterr().err.splitlines()
    assert set(waits) == {"toy/x: another run is making it; waiting."}
    assert len(waits) <= 12  # once per lease, not once per poll


def test_a_killed_holder_lets_go_at_once(tmp_path, python):
    code = (
        "import sys, time; from pathlib import Path; from volano.core.lease import lease\n"
        "with lease(Path(sys.argv[1]), 'x'): print('held', flush=True); time.sleep(60)"
    )
    run = python(code, tmp_path / "x")
    assert run.stdout.readline() == "held\n"
    assert is_leased(tmp_path / "x")
    run.kill()
    run.communicate()
    assert not is_leased(tmp_path / "x")
    with lease(tmp_path / "x", "x"):
        pass


def test_a_lock_on_a_file_that_its_holder_has_deleted_is_no_lease(tmp_path, monkeypatch):
    path, flock, calls = tmp_path / "x", fcntl.flock, []

    def late(handle, operation):
        if not calls:
            path.unlink()  # the holder lets go between our opening the file and locking it
        calls.append(operation)
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with lease(path, "x"):
        assert is_leased(path)
