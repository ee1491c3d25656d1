"""The table in README, the list that the command prints, and how small a dataset's file is."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

from dvsprep import datasets
from dvsprep.cli.datasets import command

README = Path(__file__).parents[2] / "README.md"


def printed(*arguments: str) -> str:
    done = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_readme_s_table_is_the_registry_s():
    (table,) = re.findall(
        r"<!-- made by `dvsprep datasets --markdown`.*?-->\n(.*?)<!-- end -->", README.read_text(), re.DOTALL
    )
    assert table == printed("--markdown"), "put the output of `dvsprep datasets --markdown` there"


def test_table_has_a_row_a_dataset_and_says_what_each_was_tested_on():
    rows = [line.split(" | ") for line in printed("--markdown").splitlines()[2:]]
    assert [row[1] for row in rows] == [f"`{name}`" for name in datasets.BUILT_IN]
    assert {row[-1].removesuffix(" |") for row in rows if row[1] in ("`nmnist`", "`shd`")} == {
        "1,100 real recordings",
        "look-alike",
    }
    assert {row[5] for row in rows} == {"fetch", "by hand", "bundled", "fetch, unpack by hand"}


def test_columns_of_the_list_stand_one_below_the_other():
    lines = printed().splitlines()
    assert len(lines) == len(datasets.names())
    for word in (" classes  ", "  fetch", "  by hand"):
        assert len({line.index(word) for line in lines if word in line}) == 1


@pytest.mark.parametrize("name", datasets.BUILT_IN)
def test_file_of_a_dataset_has_less_than_80_lines(name):
    module = import_module(f"dvsprep.datasets.{name.replace('-', '_')}")
    assert len(Path(module.__file__).read_text().splitlines()) < 80


@pytest.mark.parametrize("name", datasets.BUILT_IN)
def test_every_source_has_a_word_on_its_state(name):
    dataset = datasets.get(name)
    assert dataset.status or all(url.startswith("file:") for r in dataset.archives for url in r.urls)
    assert dataset.note
    assert dataset.paper
    assert dataset.licence


def test_unverified_facts_say_so():
    # the published descriptions: what nobody verified. Such a count is shown with its mark and never asserted.
    assert {name for name in datasets.BUILT_IN if not datasets.get(name).samples} == {
        "hardvs",
        "navgesture-sit",
        "navgesture-walk",
        "ntidigits",
    }
    assert "107,646 [?]" in printed("--markdown")
