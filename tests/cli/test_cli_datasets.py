"""`dvsprep datasets`."""

from __future__ import annotations

from dvsprep import datasets


def test_one_line_a_dataset(run):
    done = run("datasets")
    assert (done.code, done.err) == (0, "")
    assert [line.split()[0] for line in done.lines] == datasets.names()
    dvs128 = next(line for line in done.lines if line.startswith("dvs128 "))
    assert "DVS128 Gesture" in dvs128
    assert "11 classes" in dvs128
    assert "1,176 train, 288 test" in dvs128
    assert "by hand" in dvs128


def test_json_tells_all_that_is_known(run):
    done = run("datasets", "--json")
    assert (done.code, done.err) == (0, "")
    facts = {d["name"]: d for d in done.json}
    assert sorted(facts) == datasets.names()
    assert facts["dvs128"]["downloadable"] is False
    assert facts["sample"]["downloadable"] is True
    assert facts["cifar10dvs"]["splits"] == ["all"]
    assert facts["cifar10dvs"]["named_splits"] == ["tebn"]
    # MD5 of the published archive: the published descriptions, from SpikingJelly's resource table.
    archive = facts["dvs128"]["files"][0]
    assert (archive["name"], archive["md5"]) == ("DvsGesture.tar.gz", "8a5c71fb11e24e5ca5b11866ca6c00a1")
    assert archive["page"].startswith("https://")
