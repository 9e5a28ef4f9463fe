"""Shipped files by name, a user's own by path, and YAML without surprises."""

import pytest
import yaml

from orbitds import resources
from orbitds.resources import did_you_mean, locate, names, plain, read_yaml, share, shown

FOLDER = "configs/model"


@pytest.fixture
def written(tmp_path):
    def write(text, name="settings.yaml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_every_name_is_located_and_no_other_file_is_named():
    assert names(FOLDER) == sorted(names(FOLDER)) != []
    for name in names(FOLDER):
        assert locate(name, FOLDER) == share(f"{FOLDER}/{name}.yaml")
        assert locate(name, FOLDER).is_file()
    assert len(names(FOLDER)) == len(list(share(FOLDER).glob("*.yaml")))


def test_names_keep_dots_and_take_other_suffixes(monkeypatch, tmp_path):
    monkeypatch.setattr(resources, "_ROOT", tmp_path)
    for name in ("wind_2.5.yaml", "b.yaml", "a.yaml", "c.nc"):
        (tmp_path / name).touch()
    assert names(".") == ["a", "b", "wind_2.5"]
    assert names(".", ".nc") == ["c"]
    assert names("absent") == []


def test_a_users_own_file_wins_over_the_shipped_one(written):
    for name in ("tiny.yaml", "mine.yml"):
        own = written("width: 4", name)
        assert locate(own, FOLDER) == own
        assert locate(str(own), FOLDER) == own


@pytest.mark.parametrize("relative", ["../secret.yaml", "configs/../../secret", "/etc/hostname"])
def test_share_stays_inside(relative):
    with pytest.raises(ValueError, match="Wanted a path inside .* got .*which leaves it"):
        share(relative)


def test_share_does_not_follow_a_link_out(monkeypatch, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").touch()
    (root / "link").symlink_to(tmp_path / "outside")
    monkeypatch.setattr(resources, "_ROOT", root)
    with pytest.raises(ValueError, match="leaves it"):
        share("link")


def test_unknown_name_lists_the_known_ones_and_the_nearest():
    with pytest.raises(FileNotFoundError, match=r"Wanted one of .*'tiny'.*got 'tinny'") as error:
        locate("tinny", FOLDER)
    assert "Did you mean 'tiny'?" in str(error.value)
    with pytest.raises(FileNotFoundError, match="Wanted one of"):
        locate("../model/tiny", FOLDER)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Wanted a YAML file, got .*none\.yaml"):
        locate(tmp_path / "none.yaml", FOLDER)
    with pytest.raises(FileNotFoundError, match="Wanted a YAML file"):
        locate(tmp_path.with_suffix(".yaml"), FOLDER)


def test_plain_yaml_is_what_the_safe_loader_reads(written):
    text = """
    steps: 200
    optim: {lr: 2.0e-3, warmup_steps: 20}
    period: ["1982-01", "1989-12"]  # quoted: a month, not a number
    long_name: Wärmestrom
    tiles: {rows: 1, columns: 1}
    deep: [{a: 1}, {a: 2}]
    """
    assert read_yaml(written(text)) == yaml.safe_load(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: 2\na: 3",
        "outer: {a: 1, a: 1}",
        "list: [{deep: {b: 1, c: 2, b: 3}}]",
        "1: x\n1: y",
    ],
)
def test_a_key_given_twice_is_refused(written, text):
    with pytest.raises(ValueError, match=r"Wanted plain YAML in .*settings\.yaml.*stands twice"):
        read_yaml(written(text))


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.getcwd []",
        "a: !!python/name:os.system",
        "!!python/object:builtins.dict {a: 1}",
        "a: !mine 3",
        "a: [1, 2",
        "[a, b]: 3",
    ],
)
def test_tags_and_broken_yaml_are_refused(written, text):
    with pytest.raises(ValueError, match=r"Wanted plain YAML in .*settings\.yaml, got: "):
        read_yaml(written(text))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(ValueError, match="Wanted plain YAML"):
        read_yaml(path)


@pytest.mark.parametrize(("text", "got"), [("", "NoneType"), ("- a\n- b", "list"), ("word", "str")])
def test_only_a_mapping_is_a_setting(written, text, got):
    with pytest.raises(ValueError, match=f"Wanted `key: value` lines in .*, got {got}"):
        read_yaml(written(text))


def test_hint_is_the_nearest_name_or_nothing():
    known = ["eastward_wind", "northward_wind", "orography"]
    assert did_you_mean("northwards_wind", known) == " Did you mean 'northward_wind'?"
    assert did_you_mean("orografy", iter(known)) == " Did you mean 'orography'?"
    assert did_you_mean("xyz", known) == ""
    assert did_you_mean("orography", []) == ""


def test_what_strangers_wrote_is_shown_short_and_harmless():
    assert shown("winds") == "'winds'"
    assert shown("\x1b[31m\n") == r"'\x1b[31m\n'"
    assert shown("é") == r"'\xe9'"
    assert shown("x" * 1000) == "'" + "x" * 79 + "..."
    assert plain("Winds, é, 10 m") == "Winds, é, 10 m"
    assert plain("a\x1b[31m") == r"a\x1b[31m"
    assert len(plain("x" * 10**6)) < 100
