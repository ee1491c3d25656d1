"""What was learned: the page is made from the logs, and the README's command learns again."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dvsprep
from benchmarks import learn

ROOT = Path(__file__).parents[2]


def test_the_page_of_results_is_made_from_the_results():
    assert (learn.RESULTS / "README.md").read_text() == learn.page()
    assert f"{learn.BEGIN}\n{learn.quoted()}\n{learn.END}" in (ROOT / "README.md").read_text()


def test_every_folder_of_results_is_a_run_s():
    kept = {str(p.parent.relative_to(learn.RESULTS)) for p in learn.RESULTS.rglob("log.jsonl")}
    assert kept == set(learn.results())
    for name in {folder.split("/")[0] for folder in kept}:
        assert learn.passed(name) != bool(learn.RUNS[name].short), "what falls short says so, and nothing else does"


@pytest.mark.parametrize("name", learn.results())
def test_a_kept_result_is_whole(name):
    folder = learn.RESULTS / name
    assert {p.name for p in folder.iterdir()} == set(learn.KEPT)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    result = learn.load(name, "result.json")
    assert [row["epoch"] for row in rows] == list(range(1, result["epochs"] + 1))
    right = sum(row[i] for i, row in enumerate(result["confusion"]))
    assert result["test_acc"] == pytest.approx(right / sum(map(sum, result["confusion"])), abs=1e-5)
    texts = [(folder / file).read_text() for file in ("run.json", "result.json", "log.jsonl")]
    assert not any(re.search(r'"/(?!usr/share/)|/home/|/tmp/', text) for text in texts), "paths of one machine"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_readme_s_command_learns_the_sample(tmp_path):
    assert (
        'python -m train.dvsg --cache "$(dvsprep frames sample --split-by number -T 20'
        in (ROOT / "README.md").read_text()
    )
    cache = dvsprep.frames("sample", root=tmp_path, split_by="number", T=20)["train"].path
    command = [sys.executable, "-m", "train.dvsg", "--cache", str(cache)]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1])["test_acc"] >= 0.95
