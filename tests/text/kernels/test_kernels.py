import os
import subprocess
import sys
from pathlib import Path

from volano.text import kernels


def test_cache_folder_changes_with_any_kernel_source(monkeypatch, tmp_path):
    before = kernels.source_hash()
    for path in Path(kernels.__file__).parent.glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(kernels, "__file__", str(tmp_path / "__init__.py"))
    assert kernels.source_hash() == before
    (tmp_path / "quality.py").write_text("# edited")
    assert kernels.source_hash() != before


def test_cache_lies_under_xdg_cache_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kernels.cache_folder() == tmp_path / "volano" / f"kernels-{kernels.source_hash()}"


def test_unwritable_cache_falls_back_to_a_temporary_folder(monkeypatch, tmp_path):
    (tmp_path / "volano").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = kernels.cache_folder()
    assert folder.is_dir()
    assert tmp_path not in folder.parents


def test_warm_up_is_silent_once_compiled():
    kernels.warm_up(say=lambda line: None)
    said: list[str] = []
    kernels.warm_up(say=said.append)
    assert said == []


def test_a_compile_that_was_stopped_half_way_is_said_again(monkeypatch, tmp_path):
    kernels.warm_up(say=lambda line: None)
    monkeypatch.setattr(kernels.CONFIG, "CACHE_DIR", str(tmp_path))
    (tmp_path / "some.nbc").touch()
    said: list[str] = []
    kernels.warm_up(say=said.append)
    kernels.warm_up(say=said.append)
    assert len(said) == 1
    assert said[0].startswith("Compiling the text kernels")


def test_kernels_never_import_torch():
    code = "import sys, volano.text.overlap, volano.text.pii; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
