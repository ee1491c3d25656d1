"""Settings: which of flag, variable, file and default wins, and what a wrong file is told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dvsprep import config, parallel
from dvsprep.cli import main
from dvsprep.errors import NotFoundError, UsageError
from dvsprep.raw import Resource, network_allowed, sources
from dvsprep.workspace import Options, Workspace

FULL = """
root = "here"
shared_roots = ["/data/dvsprep", "~/shared"]
mirrors = ["https://mirror.example.org/dvs", "archives"]
offline = true
jobs = 3
codec = "none"

[datasets.cifar10dvs]
mirrors = ["$ARCHIVES/cifar"]
"""
READ = {
    "root": config.root,
    "shared_roots": config.shared_roots,
    "mirrors": config.mirrors,
    "offline": config.offline,
    "jobs": config.jobs,
    "codec": config.codec,
}


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.delenv("DVSPREP_ROOT")
    monkeypatch.setenv("DVSPREP_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("ARCHIVES", "/archives")
    monkeypatch.setenv("HOME", "/home/ann")
    return tmp_path / "config.toml"


def test_file_before_default(file):
    file.write_text(FULL)
    assert {key: read() for key, read in READ.items()} == {
        "root": file.parent / "here",
        "shared_roots": [Path("/data/dvsprep"), Path("/home/ann/shared")],
        "mirrors": ["https://mirror.example.org/dvs", str(file.parent / "archives")],
        "offline": True,
        "jobs": 3,
        "codec": "none",
    }
    assert config.mirrors("cifar10dvs") == ["/archives/cifar", *config.mirrors()]
    assert config.mirrors("nmnist") == config.mirrors()


VARIABLES = [
    ("root", "/other", Path("/other")),
    ("shared_roots", os.pathsep.join(["/a", "", "/b"]), [Path("/a"), Path("/b")]),
    ("mirrors", " http://a  http://b ", ["http://a", "http://b"]),
    ("offline", "no", False),
    ("jobs", "7", 7),
    ("codec", "deflate", "deflate"),
]


@pytest.mark.parametrize(("key", "text", "value"), VARIABLES, ids=[row[0] for row in VARIABLES])
def test_variable_before_file(file, monkeypatch, key, text, value):
    file.write_text(FULL)
    monkeypatch.setenv(f"DVSPREP_{key.upper()}", text)
    assert READ[key]() == value
    if key == "mirrors":
        assert config.mirrors("cifar10dvs") == value
    monkeypatch.setenv(f"DVSPREP_{key.upper()}", "")  # as good as unset
    monkeypatch.setenv("DVSPREP_CONFIG", "")
    assert READ[key]() != value or key in ("offline", "codec")


def test_settings_reach_what_they_set(file, monkeypatch):
    file.write_text(FULL)
    assert Options().codec == "none"
    assert Workspace("sample").root == file.parent / "here"
    assert not network_allowed()
    named = Resource("bird.zip", md5=None, urls=("https://source/bird.zip",))
    assert sources(named, "cifar10dvs")[0] == "file:///archives/cifar/bird.zip"
    assert sources(named, "cifar10dvs", ["http://flag"])[0] == "http://flag/bird.zip"
    workers = []
    monkeypatch.setattr(
        parallel, "_pool", lambda executor, jobs: workers.append(jobs) or parallel.ThreadPoolExecutor(1)
    )
    assert list(parallel.run(abs, [-1])) == [1]
    assert workers == [3]


def test_a_changed_file_is_read_again(file):
    file.write_text("jobs = 2")
    assert config.jobs() == 2
    file.write_text("jobs = 12")
    assert config.jobs() == 12


WRONG = [
    ("job = 2", "unknown key job (did you mean jobs?)"),
    (
        "colour = 2",
        "unknown key colour (there are root, shared_roots, mirrors, offline, jobs, codec, remote_gb, datasets)",
    ),
    ("[datasets.nmnist]\nmirror = 2", "unknown key datasets.nmnist.mirror (did you mean mirrors?)"),
    ("[datasets]\nnmnist = 2", "datasets.nmnist is 2, expected a table [datasets.nmnist]"),
    ('jobs = "2"', "jobs is '2', expected a whole number"),
    ("jobs = 0", "jobs is 0, expected at least 1"),
    ("jobs = true", "jobs is True, expected a whole number"),
    ("root = ''", "root is '', expected text"),
    ("mirrors = 'http://a'", "mirrors is 'http://a', expected a list of texts"),
    ("mirrors = [1]", "mirrors is [1], expected a list of texts"),
    ("mirrors = ['http://ann:secret@host']", "mirrors holds a password (~/.netrc is the place for it)"),
    ("root = '$NOT_SET/x'", "'$NOT_SET/x' names a variable that is not set"),
    ("root =", "no TOML: Invalid value (at end of document)"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[row[0] for row in WRONG])
def test_a_wrong_file_is_one_line(file, text, message, capfd):
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        config.root()
    assert str(caught.value) == f"{file}: {message}"
    assert main(["verify", "sample"]) == 2
    assert capfd.readouterr().err == f"dvsprep: {file}: {message}\n"


def test_binary_rubbish_is_no_settings_file(file):
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"config\.toml: no TOML: 'utf-8' codec can't decode byte 0xff"):
        config.root()


def test_the_named_file_has_to_be_there(file):
    with pytest.raises(NotFoundError, match=r"DVSPREP_CONFIG names .*config\.toml, which does not exist"):
        config.root()


def test_without_a_file_all_is_default(file, monkeypatch, tmp_path):
    monkeypatch.delenv("DVSPREP_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert {origin for _, origin in config.settings().values()} == {"default"}
    if sys.platform == "linux":
        assert config.path() == tmp_path / "dvsprep" / "config.toml"


def test_jobs_variable_has_to_be_a_number(monkeypatch):
    monkeypatch.setenv("DVSPREP_JOBS", "many")
    with pytest.raises(UsageError, match=r"DVSPREP_JOBS is 'many', expected a whole number of at least 1"):
        config.jobs()


def test_config_prints_value_and_origin(file, monkeypatch, capfd):
    file.write_text(FULL)
    monkeypatch.setenv("DVSPREP_MIRRORS", "http://ann:secret@host/x")
    assert main(["config"]) == 0
    out = capfd.readouterr().out
    assert "secret" not in out
    assert [" ".join(line.split()) for line in out.splitlines()][:4] == [
        f"file {file}",
        f"root {file.parent / 'here'} ({file})",
        f"shared_roots /data/dvsprep /home/ann/shared ({file})",
        "mirrors http://host/x ($DVSPREP_MIRRORS)",
    ]
    assert main(["config", "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    file.write_text("[datasets.cifar10-dvs]\nmirrors = ['x']")
    assert main(["config"]) == 0
    assert capfd.readouterr().err == f"{file}: datasets.cifar10-dvs: no dataset is named so, here or below the root\n"
    assert told["settings"]["jobs"] == {"value": 3, "from": str(file)}
    assert told["exists"]


def test_settings_need_no_toml_parser_where_there_is_no_file(tmp_path):
    code = "import sys; from dvsprep import config; config.root(), config.mirrors(); print('tomllib' in sys.modules)"
    environment = os.environ | {"DVSPREP_CONFIG": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
