"""Datasets that a TOML file describes."""

import hashlib
import json
import textwrap
import zipfile
from pathlib import Path

import own
import pytest

from dvsprep import cli, datasets
from dvsprep.datasets import from_file
from dvsprep.errors import ArchiveError, DvsprepError, LabelError, NotFoundError, UsageError

FOLDERS = """
    name = "mine"
    layout = "folders"
    format = "text"
    suffix = ".txt"
    sensor = [24, 32]
    [[files]]
    name = "mine.zip"
"""
CSV = FOLDERS.replace("folders", "csv").replace(".txt", ".events")


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    """Registered datasets are the process's; a test's are its own."""
    monkeypatch.setattr(datasets, "_registered", {})


def describe(tmp_path: Path, text: str, **more: str) -> Path:
    """Write a description; keys in ``more`` stand before [[files]]."""
    lines = "\n".join(f"{key} = {value}" for key, value in more.items())
    path = tmp_path / "mine.toml"
    path.write_text(textwrap.dedent(text).replace("[[files]]", f"{lines}\n[[files]]"))
    return path


def layout(tmp_path: Path, tree: Path, text: str, **more: str):
    dataset = from_file.load(describe(tmp_path, text, **more))
    trees = {"mine.zip": tree}
    classes = dataset.class_names(trees) if dataset.class_names else dataset.classes
    found = dataset.layout(trees, dataset, "rows")
    return [(s.id, classes[s.label], r.split) for r in found for s in r.samples]


def beside(tree: Path, name: str, csv: str) -> None:
    """Write a recording and its label file."""
    own.text(tree / f"{name}.events")
    (tree / f"{name}_labels.csv").write_text(csv)


# -- folders --


def test_a_folder_is_a_class_in_natural_order(tmp_path):
    tree = own.folders(tmp_path / "tree", "10/a.txt", "9/a10.txt", "9/a9.txt")
    assert layout(tmp_path, tree, FOLDERS) == [("9/a9", "9", "all"), ("9/a10", "9", "all"), ("10/a", "10", "all")]


def test_classes_may_be_given_in_their_own_order(tmp_path):
    tree = own.folders(tmp_path / "tree", "up/1.txt", "down/1.txt")
    dataset = from_file.load(describe(tmp_path, FOLDERS, classes='["up", "down"]'))
    found = dataset.layout({"mine.zip": tree}, dataset, "rows")
    assert {s.id: s.label for r in found for s in r.samples} == {"up/1": 0, "down/1": 1}
    with pytest.raises(LabelError, match=r"down/1.txt: 'down' is none of the classes left, right"):
        layout(tmp_path, tree, FOLDERS, classes='["left", "right"]')


def test_a_regular_expression_tells_the_class(tmp_path):
    tree = own.folders(tmp_path / "tree", "user1/wave_1.txt", "user2/clap_1.txt")
    found = layout(tmp_path, tree, FOLDERS, class_from="'([a-z]+)_'")
    assert found == [("user1/wave_1", "wave", "all"), ("user2/clap_1", "clap", "all")]
    with pytest.raises(LabelError, match="finds no class"):
        layout(tmp_path, tree, FOLDERS, class_from="'([0-9]+)_x'")


def test_splits_are_folders_or_lists_of_files(tmp_path):
    tree = own.folders(tmp_path / "tree", "Train/a/1.txt", "Test/a/2.txt", "Test/a/3.txt")
    by_folder = layout(tmp_path, tree, FOLDERS, splits='{train = "Train", test = "Test"}')
    assert by_folder == [("Train/a/1", "a", "train"), ("Test/a/2", "a", "test"), ("Test/a/3", "a", "test")]
    (tree / "list1.txt").write_text("1.txt\n\n3.txt\n")
    (tree / "list2.txt").write_text("Test/a/2.txt\n")
    by_list = layout(tmp_path, tree, FOLDERS, splits='{train = "list1.txt", test = "list2.txt"}')
    assert by_list == [("Test/a/3", "a", "train"), ("Train/a/1", "a", "train"), ("Test/a/2", "a", "test")]


def test_a_split_without_recordings_is_an_error(tmp_path):
    tree = own.folders(tmp_path / "tree", "Train/a/1.txt")
    with pytest.raises(ArchiveError, match=r"no .txt file of the split test"):
        layout(tmp_path, tree, FOLDERS, splits='{train = "Train", test = "Test"}')


def test_a_listed_recording_that_is_missing_is_an_error_with_file_and_line(tmp_path):
    tree = own.folders(tmp_path / "tree", "a/1.txt", "b/1.txt", "a/2.txt")
    for text, why in [
        ("a/1.txt\n\na/3.txt\n", r"list.txt:3: no recording is named 'a/3.txt'"),
        ("2.txt\n1.txt\n", r"list.txt:2: '1.txt' may be .*/a/1.txt or .*/b/1.txt"),
    ]:
        (tree / "list.txt").write_text(text)
        with pytest.raises(LabelError, match=why):
            layout(tmp_path, tree, FOLDERS, splits='{train = "list.txt"}')
    with pytest.raises(ArchiveError, match=r"tree: holds no none.txt \(.*mine.toml names it in \[splits\]\)"):
        layout(tmp_path, tree, FOLDERS, splits='{train = "none.txt"}')


def test_a_recording_in_no_split_is_an_error_unless_the_file_allows_it(tmp_path):
    tree = own.folders(tmp_path / "tree", "Train/a/1.txt", "Test/a/1.txt", "Odd/a/2.txt", "Odd/a/3.txt")
    splits = '{train = "Train", test = "Test"}'
    why = r"2 of 4 recordings are in no split, the first is .*Odd/a/2.txt \(name them, or say in .*left_out = true\)"
    with pytest.raises(ArchiveError, match=why):
        layout(tmp_path, tree, FOLDERS, splits=splits)
    found = layout(tmp_path, tree, FOLDERS, splits=splits, left_out="true")
    assert found == [("Train/a/1", "a", "train"), ("Test/a/1", "a", "test")]


def test_a_recording_in_two_splits_is_an_error(tmp_path):
    tree = own.folders(tmp_path / "tree", "Train/a/1.txt", "Train/Test/2.txt")
    with pytest.raises(ArchiveError, match=r"Train/Test/2.txt: in the splits train and test"):
        layout(tmp_path, tree, FOLDERS, splits='{train = "Train", test = "Test"}')


# -- csv --


def test_rows_of_the_csv_beside_a_recording_are_its_samples(tmp_path):
    beside(tmp_path / "tree", "b", "class,startTime_usec,endTime_usec\n2,0,1500\n10,1500,3000\n")
    beside(tmp_path / "tree", "a", "class\n1\n")
    assert layout(tmp_path, tmp_path / "tree", CSV) == [
        ("a", "1", "all"), ("b_row01", "2", "all"), ("b_row02", "10", "all"),
    ]  # fmt: skip


def test_numbers_in_the_csv_count_the_classes_from_where_it_is_said(tmp_path):
    beside(tmp_path / "tree", "a", "class,start_us,end_us\n1,0,1500\nclap,1500,3000\n")
    names = '["wave", "clap"]'
    assert layout(tmp_path, tmp_path / "tree", CSV, classes=names, first_class="1") == [
        ("a_row01", "wave", "all"), ("a_row02", "clap", "all"),
    ]  # fmt: skip
    with pytest.raises(LabelError, match=r"a_labels.csv:2: '1' is none of the classes wave, clap"):
        layout(tmp_path, tmp_path / "tree", CSV, classes=names)


def test_the_name_of_the_csv_may_be_another(tmp_path):
    beside(tmp_path / "tree", "a", "class\nx\n")
    (tmp_path / "tree" / "a_labels.csv").rename(tmp_path / "tree" / "gt-a.csv")
    assert layout(tmp_path, tmp_path / "tree", CSV, labels='"gt-{stem}.csv"') == [("a", "x", "all")]
    with pytest.raises(ArchiveError, match=r"a.events: no label file a_labels.csv in its folder or one above"):
        layout(tmp_path, tmp_path / "tree", CSV)


def test_the_csv_may_lie_in_a_folder_of_its_own(tmp_path):
    tree = tmp_path / "tree"
    for name, label in (("data/ann/1", "x"), ("data/bob/1", "y")):
        own.text(tree / f"{name}.events")
        table = tree / (f"labels/{Path(name).name}.csv" if label == "x" else "data/bob/labels/1.csv")
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(f"class\n{label}\n")
    found = layout(tmp_path, tree, CSV, labels='"labels/{stem}.csv"')  # the nearest one counts
    assert found == [("data/ann/1", "x", "all"), ("data/bob/1", "y", "all")]


def test_recordings_and_label_files_may_share_a_suffix(tmp_path):
    text = CSV.replace(".events", ".csv")
    own.text(tmp_path / "tree" / "a.csv")
    (tmp_path / "tree" / "a_labels.csv").write_text("class\nx\n")
    assert layout(tmp_path, tmp_path / "tree", text) == [("a", "x", "all")]


def test_a_table_beside_a_recording_names_no_file(tmp_path):
    beside(tmp_path / "tree", "a", "class,file\nx,b\n")
    with pytest.raises(LabelError, match=r"a_labels.csv:1: a column file"):
        layout(tmp_path, tmp_path / "tree", CSV)


# -- the file --


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name = ", "no TOML"),
        ("", "needs name, layout, format, suffix, sensor, files"),
        (FOLDERS.replace("sensor", "sensr"), r"unknown key 'sensr' \(did you mean sensor\?\)"),
        (FOLDERS + "md6 = 'x'", r"\[\[files\]\]: unknown key 'md6' \(did you mean md5\?\)"),
        (FOLDERS + "md5 = 'x'", "mine.zip: md5 is 'x', expected 32 hex digits"),
        (FOLDERS.replace("mine.zip", "../mine.zip"), "expected a file name"),
        (FOLDERS.replace('"folders"', '"flat"'), "layout is 'flat', expected folders or csv"),
        (FOLDERS.replace('"text"', '"txt"'), r"format 'txt' is unknown \(did you mean text"),
        (FOLDERS.replace('"text"', '"spikes-h5"'), "format 'spikes-h5' is unknown"),
        (FOLDERS.replace("[24, 32]", "[24]"), r"sensor is \[24\], expected \[height, width\]"),
        (FOLDERS.replace("[24, 32]", "[24, 'x']"), "expected .height, width"),
        (FOLDERS.replace("[24, 32]", "24"), "sensor is 24, expected a list"),
        (FOLDERS.replace('"mine"', '"my set"'), "name 'my set'"),
        ("classes = ['a', 'a']" + FOLDERS, "a class stands there twice"),
        ("classes = ['a', 1]" + FOLDERS, "classes: expected text"),
        ("class_from = '('" + FOLDERS, "no regular expression"),
        ("class_from = 'a'" + FOLDERS, "0 groups, expected one"),
        ("labels = 'x.csv'" + FOLDERS, "labels does not go with layout folders"),
        ("labels = 'x.csv'" + CSV, "expected a name with {stem}"),
        ("labels = '../{stem}.csv'" + CSV, r"expected a path below the recording's folder \(the folders above it are"),
        ("labels = '/x/{stem}.csv'" + CSV, "expected a path below the recording's folder"),
        ("splits = {'a/b' = 'x'}" + FOLDERS, r"\[splits\]: 'a/b' is no name for a split \(for example train, val"),
        ("splits = {'' = 'x'}" + FOLDERS, r"\[splits\]: '' is no name for a split"),
        ("splits = {all = 'x'}" + FOLDERS, r"\[splits\]: 'all' is no name for a split"),
        ("splits = {train = 3}" + FOLDERS, "splits: expected text"),
        ("left_out = true" + FOLDERS, "left_out is about .splits., which there are none"),
        ("class_from = '(a)'" + CSV, "class_from does not go with layout csv"),
        ("first_class = 1" + CSV, "first_class numbers the names in classes"),
        ("classes = ['1']\nfirst_class = 1" + CSV, "first_class numbers the names in classes"),
    ],
)
def test_a_wrong_description_tells_what_is_wrong(tmp_path, text, why):
    path = tmp_path / "mine.toml"
    path.write_text(textwrap.dedent(text) if text.startswith("\n") else text)
    with pytest.raises(UsageError, match=why):
        from_file.load(path)


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match=r"nowhere.toml: no such file"):
        from_file.load(tmp_path / "nowhere.toml")


def test_the_name_of_a_built_in_dataset_is_refused(tmp_path):
    described = from_file.load(describe(tmp_path, FOLDERS.replace('"mine"', '"dvs128"')))
    with pytest.raises(DvsprepError, match="built-in"):
        datasets.register(described)


def test_the_key_covers_what_decides_labels_and_not_what_only_describes(tmp_path):
    first = from_file.load(describe(tmp_path, FOLDERS)).defined_by
    assert from_file.load(describe(tmp_path, FOLDERS, title='"Mine"', paper='"none"')).defined_by == first
    assert from_file.load(describe(tmp_path, FOLDERS, class_from="'(.)/'")).defined_by != first


# -- on the command line --


@pytest.fixture
def run(capfd, tmp_path):
    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = cli.main([*map(str, arguments)])
        return code, *capfd.readouterr()

    return call


def test_a_described_dataset_is_fetched_and_built_like_any_other(run, tmp_path):
    tree = own.folders(tmp_path / "tree", "up/1.txt", "up/2.txt", "down/1.txt", "down/2.txt")
    archive = tmp_path / "mine.zip"
    with zipfile.ZipFile(archive, "w") as pack:
        for path in sorted(tree.rglob("*.txt")):
            pack.write(path, path.relative_to(tree))
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    toml = describe(tmp_path, FOLDERS + f'    url = "{archive.as_uri()}"\n    md5 = "{md5}"\n')
    file = ("--dataset-file", toml)
    code, out, err = run("datasets", "--json", *file)
    assert (code, err) == (0, "")
    assert "mine" in [dataset["name"] for dataset in json.loads(out)]
    code, out, err = run("fetch", "mine", *file)
    assert code == 0, err
    code, out, err = run("frames", *file, "mine", "--split-by", "number", "-T", 2, "--split", 0.5, "--json")
    assert code == 0, err
    assert json.loads(out)["samples"] == {"train": 2, "test": 2}
    code, out, err = run("verify", "mine", *file)
    assert code == 0, err


def test_an_extracted_folder_may_be_adopted(run, tmp_path):
    beside(tmp_path / "tree", "a", "class,start_us,end_us\n1,0,1500\n2,1500,3000\n")
    toml = describe(tmp_path, CSV)
    assert run("adopt", "mine", tmp_path / "tree", "--no-verify", "--dataset-file", toml)[0] == 0
    code, out, err = run("events", "mine", "--dataset-file", toml, "--json")
    assert code == 0, err
    assert json.loads(out)["samples"] == {"all": 2}


def test_an_adopted_folder_is_its_contents_and_must_stay_as_it_was(run, tmp_path):
    beside(tree := tmp_path / "tree", "a", "class,start_us,end_us\n1,0,1500\n2,1500,3000\n")
    file = ("--dataset-file", describe(tmp_path, CSV))
    adopt = ("adopt", "mine", tree, "--no-verify", *file)

    def caches():
        code, out, err = run("events", "mine", *file, "--json")
        assert code == 0, err
        return json.loads(out)["caches"]

    assert run(*adopt)[0] == 0
    old = caches()
    assert "adopted folder, tree:" in (told := run("info", old["all"])[1])
    assert "NOT VERIFIED" in told
    labels = tree / "a_labels.csv"
    labels.write_text(labels.read_text().replace("2,1500", "3,1500"))  # the size stays
    code, _, err = run("events", "mine", *file)
    assert code == 7
    assert "changed since the folder was adopted" in err
    assert run(*adopt)[0] == 0
    assert caches() != old
    labels.touch()
    assert run(*adopt)[0] == 0
    assert caches() != old


def test_a_record_of_an_md5_that_is_no_longer_expected_counts_for_nothing(run, tmp_path):
    own.folders(tmp_path / "tree", "a/1.txt", "b/1.txt")
    archive = tmp_path / "mine.zip"
    with zipfile.ZipFile(archive, "w") as pack:
        for path in sorted((tmp_path / "tree").rglob("*.txt")):
            pack.write(path, path.relative_to(tmp_path / "tree").as_posix())
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    file = ("--dataset-file", describe(tmp_path, f'{FOLDERS}    md5 = "{md5}"\n'))
    assert run("adopt", "mine", archive, *file)[0] == 0
    assert run("verify", "mine", *file)[0] == 0
    describe(tmp_path, f'{FOLDERS}    md5 = "{"0" * 32}"\n')
    code, _, err = run("events", "mine", *file)
    assert code == 5, err
    assert f"expected {'0' * 32}, got {md5}" in err


def test_a_wrong_description_is_one_line_on_the_command_line(run, tmp_path):
    toml = describe(tmp_path, FOLDERS, sensr="1")
    code, out, err = run("frames", "mine", "--dataset-file", toml, "--split-by", "number", "-T", 2)
    assert (code, out) == (2, "")
    assert err == f"dvsprep: {toml}: unknown key 'sensr' (did you mean sensor?)\n"
    code, out, err = run("events", "mine", "--dataset-file", tmp_path / "no.toml")
    assert code == 3
    assert err == f"dvsprep: {tmp_path / 'no.toml'}: no such file\n"
