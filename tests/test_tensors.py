"""Safetensors files of strangers: what fits is read bit by bit, what does not is refused early."""

import hashlib
import io
import json
import os
import pickle
import struct
import tracemalloc
import zipfile

import pytest
import torch
from safetensors.torch import save, save_file

from orbitds.tensors import HEADER_BYTES, TensorFile, UnfitError, open_tensors

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
EIGHT = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.fixture
def place(tmp_path):
    return tmp_path / "weights.safetensors"


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(path, digest=None):
    with open_tensors(path, digest or sha256(path), wanted="weights") as file:
        return dict(file.read())


def written(path, header, content=b"\0" * 8, length=None):
    """Write a file with a header of one's own."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + content)
    return path


# --- what fits ---


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_come_back_bit_by_bit(place, dtype):
    generator = torch.Generator().manual_seed(0)
    shapes = [(), (0, 3), (1,), (7, 5), (3, 2, 1, 5)]
    wanted = {f"t{i}": torch.randn(s, generator=generator).to(dtype) for i, s in enumerate(shapes)}
    save_file(wanted, place, metadata={"format": "pt"})
    got = read(place)
    assert got.keys() == wanted.keys()
    for name, tensor in got.items():
        assert tensor.dtype == dtype
        assert tensor.shape == wanted[name].shape
        assert torch.equal(tensor, wanted[name])


def test_shapes_are_known_before_anything_is_read(place):
    save_file({"b": torch.zeros(3, 2), "a": torch.zeros(1)}, place)
    with open_tensors(place, sha256(place), wanted="weights") as file:
        assert file.shapes == {"a": (1,), "b": (3, 2)}


def test_a_file_larger_than_a_chunk_is_read_without_a_copy(place, monkeypatch):
    monkeypatch.setattr("orbitds.tensors.CHUNK_BYTES", 1000)
    wanted = torch.arange(10_000, dtype=torch.float32)
    save_file({"x": wanted, "y": wanted[:77].clone()}, place)
    tracemalloc.start()  # does not see the memory of tensors, so what it sees is beside them
    got = read(place, sha256(place))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert torch.equal(got["x"], wanted)
    assert most < 200_000
    got["x"][0] = 5  # its own memory: the file stays as it is
    assert read(place)["x"][0] == 0


# --- what is not the described file ---


@pytest.mark.parametrize("at", [0, 9, 40, -1])
def test_one_wrong_bit_anywhere_is_damage(place, at):
    save_file({"x": torch.arange(9.0)}, place)
    digest = sha256(place)
    content = bytearray(place.read_bytes())
    content[at] ^= 1
    place.write_bytes(content)
    with pytest.raises(ValueError, match=rf"with sha256 {digest}, got {sha256(place)}: .*damaged"):
        read(place, digest)


def test_a_file_that_was_not_read_to_its_end_is_compared_too(place):
    save_file({"x": torch.arange(9.0)}, place)
    with pytest.raises(ValueError, match="damaged"), open_tensors(place, "0" * 64, wanted="w"):
        pass


# --- what is no such file, though its hash is right ---


class Canary:
    """Makes a folder where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def zipped(canary):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps(canary))
    return buffer.getvalue()


def of_torch(canary):
    buffer = io.BytesIO()
    torch.save({"weight": canary}, buffer)
    return buffer.getvalue()


def behind_a_header(canary):
    return save({"x": torch.zeros(2)}) + pickle.dumps(canary)


@pytest.mark.parametrize("disguise", [pickle.dumps, zipped, of_torch, behind_a_header])
def test_a_pickle_in_disguise_is_not_run(place, tmp_path, disguise):
    canary = Canary(tmp_path / "canary")
    place.write_bytes(disguise(canary))
    with pytest.raises(ValueError, match=r"Wanted weights, got .*\. Export the run again"):
        read(place)
    assert not canary.path.exists()
    pickle.loads(pickle.dumps(canary))
    assert canary.path.exists(), "the canary sings when it is let out"


HOSTILE = {
    "nothing": (b"", "a header of 0 bytes in a file of 0"),
    "short": (b"\1\0\0", "a header of 1 bytes in a file of 3"),
    "beyond": (struct.pack("<Q", 100) + b"{}", "a header of 100 bytes in a file of 10"),
    "endless": (struct.pack("<Q", 2**64 - 1) + b"{}", f"a header of {2**64 - 1} bytes"),
    "text": (struct.pack("<Q", 4) + b"{{{{", "a header that is no JSON"),
    "binary": (struct.pack("<Q", 2) + b"\xff\xfe", "a header that is no JSON"),
    "deep": (struct.pack("<Q", 10**6) + b"[" * 10**6, "a header that is no JSON"),
    "list": (struct.pack("<Q", 2) + b"[]", "a header that is a list"),
    "after": (save({"x": torch.zeros(2)}) + b"more", "4 bytes|where the header tells of"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_safetensors_file_is_refused(place, kind):
    content, told = HOSTILE[kind]
    place.write_bytes(content)
    with pytest.raises(ValueError, match=rf"Wanted weights, got .*{told}.*\. Export"):
        read(place)


ENTRIES = {
    "no entry": {"x": 1},
    "no shape": {"x": {"dtype": "F32", "data_offsets": [0, 8]}},
    "further": {"x": EIGHT | {"code": "import os"}},
    "negative": {"x": EIGHT | {"shape": [-2]}},
    "truth": {"x": EIGHT | {"shape": [True, 2]}},
    "fraction": {"x": EIGHT | {"shape": [2.0]}},
    "overflow": {"x": EIGHT | {"shape": [2**63]}},
    "axes": {"x": EIGHT | {"shape": [1] * 9}},
    "type": {"x": EIGHT | {"dtype": "I64", "shape": [1]}},
    "type of type": {"x": EIGHT | {"dtype": ["F32"]}},
    "offsets": {"x": EIGHT | {"data_offsets": [0]}},
    "backwards": {"x": EIGHT | {"data_offsets": [8, 0]}},
    "late": {"x": EIGHT | {"data_offsets": [4, 12]}},
    "larger": {"x": EIGHT | {"shape": [10**9, 10**9]}},
    "smaller": {"x": EIGHT | {"shape": [1]}},
    "overlap": {"x": EIGHT, "y": EIGHT},
    "gap": {"x": EIGHT, "y": EIGHT | {"data_offsets": [9, 17]}},
    "beyond": {"x": EIGHT, "y": EIGHT | {"data_offsets": [8, 16]}},
    "none": {},
}


@pytest.mark.parametrize("kind", ENTRIES)
def test_a_header_that_does_not_fit_its_file_is_refused(place, kind):
    with pytest.raises(ValueError, match=r"Wanted weights, got .*\. Export the run again"):
        read(written(place, ENTRIES[kind]))


def test_the_entry_that_these_are_made_of_is_good(place):
    assert read(written(place, {"x": EIGHT}))["x"].tolist() == [0, 0]


@pytest.mark.parametrize("inner", [False, True])
def test_a_name_that_stands_twice_is_refused(place, inner):
    entry = json.dumps(EIGHT)
    text = '{"x": %s, "x": %s}' % (entry, entry)  # noqa: UP031  braces
    if inner:
        text = '{"x": %s}' % entry.replace("{", '{"dtype": "F64", ')  # noqa: UP031
    with pytest.raises(ValueError, match=r"a header with '(x|dtype)' twice"):
        read(written(place, text.encode()))


def test_a_header_above_the_limit_is_refused_before_it_is_read(place):
    """A sparse file, so long that reading it would be noticed."""
    length = HEADER_BYTES + 1
    with place.open("wb") as file:
        file.write(struct.pack("<Q", length))
        file.truncate(length + 8)
    tracemalloc.start()
    with place.open("rb") as stream, pytest.raises(UnfitError, match=f"a header of {length} byte"):
        TensorFile(stream, length + 8).read_header()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10**6


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_values_that_are_no_numbers_are_refused_with_the_tensors_name(place, dtype, value):
    spoilt = torch.zeros(5, 5).to(dtype)
    spoilt[3, 4] = value
    save_file({"good": torch.zeros(3), "trunk.spoilt": spoilt}, place)
    with pytest.raises(ValueError, match=r"got NaN or infinite values in 'trunk.spoilt'\. Export"):
        read(place)


def test_what_a_stranger_wrote_does_not_reach_the_terminal(place):
    name = "\x1b[31m" + "x" * 10**5
    with pytest.raises(ValueError, match=r"'\\x1b\[31mxxx") as error:
        read(written(place, {name: EIGHT | {"shape": [3]}}))
    assert "\x1b" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_file_that_shrinks_while_it_is_read_is_noticed(place):
    save_file({"x": torch.zeros(10**6)}, place)
    digest = sha256(place)

    def read_half():
        with open_tensors(place, digest, wanted="weights") as file:
            os.truncate(place, 10**6)
            dict(file.read())

    with pytest.raises(ValueError, match="damaged"):
        read_half()
