"""The table of contents of a state, and the hashes of its files."""

import hashlib
import json

import pytest

from orbitds.train import manifest as module
from orbitds.train.manifest import (
    MANIFEST,
    Damaged,
    File,
    Manifest,
    Part,
    Whole,
    fault,
    read_manifest,
    write_file,
    write_manifest,
)


@pytest.fixture
def manifest():
    parts = (
        Part(file="a", offset=(0, 0), shape=(2, 3)),
        Part(file="b", offset=(2, 0), shape=(1, 3)),
    )
    return Manifest(
        step=12,
        world=2,
        facts={"best": float("inf"), "names": ["größer", None], "mean": 0.1},
        files={"a": File(size=24, sha256="0" * 64), "b": File(size=12, sha256="f" * 64)},
        tensors={"w": Whole(dtype="F32", shape=(3, 3), parts=parts)},
    )


def test_round_trip(tmp_path, manifest):
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest


def test_every_flipped_bit_is_noticed(tmp_path, manifest):
    write_manifest(tmp_path, manifest)
    path = tmp_path / MANIFEST
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(Damaged, match="not as it was written"):
            read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"sha256": "0", "state": 3}', "\x80"])
def test_what_is_no_manifest(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text, encoding="latin-1")
    with pytest.raises(Damaged, match=MANIFEST):
        read_manifest(tmp_path)


def test_missing(tmp_path):
    with pytest.raises(Damaged, match="missing"):
        read_manifest(tmp_path)


def test_another_format_is_no_damage(tmp_path, manifest, monkeypatch):
    with monkeypatch.context() as context:
        context.setattr(module, "FORMAT", 2)
        write_manifest(tmp_path, manifest)
    with pytest.raises(ValueError, match=r"format 1, got 2.*version of orbitds"):
        read_manifest(tmp_path)


def test_files(tmp_path):
    path = tmp_path / "x"
    file = write_file(path, [b"abc", memoryview(b"defg")])
    assert file == File(size=7, sha256=hashlib.sha256(b"abcdefg").hexdigest())
    assert path.read_bytes() == b"abcdefg"
    assert fault(tmp_path, "x", file) is None
    path.write_bytes(b"abcdefh")
    assert fault(tmp_path, "x", file) == "x has other bytes than were written"
    path.write_bytes(b"abcdef")
    assert fault(tmp_path, "x", file) == "x has 6 bytes of 7"
    path.unlink()
    assert fault(tmp_path, "x", file) == "x is missing"


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(OSError, match=r"^/dev/full: No space left on device"):
        write_file(module.Path("/dev/full"), [b"abc"])
    with pytest.raises(OSError, match=rf"^{tmp_path}/no/x: No such file"):
        write_file(tmp_path / "no" / "x", [b"abc"])


def test_the_file_is_plain_json(tmp_path, manifest):
    write_manifest(tmp_path, manifest)
    told = json.loads((tmp_path / MANIFEST).read_text())
    assert told["state"]["step"] == 12
    assert told["state"]["files"]["b"]["size"] == 12
