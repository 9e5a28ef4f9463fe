"""A caller's mistakes on the command line: told plainly, in a frame, with status 1."""

import pytest

from orbitds.mistakes import DAMAGED, MISTAKES, explain, fail


def test_errors_of_the_system_say_the_file_and_a_remedy(tmp_path):
    with pytest.raises(MISTAKES) as error:
        (tmp_path / "none").read_text(encoding="utf-8")
    text = explain(error.value)
    assert text.startswith(f"Wanted to use {tmp_path / 'none'}, got: No such file or directory. ")
    assert "Check the path" in text


def test_our_own_errors_are_told_as_they_are():
    assert explain(ValueError("Wanted a, got b. Give a.")) == "Wanted a, got b. Give a."
    assert explain(KeyError("Wanted a, got 'b'.")) == "Wanted a, got 'b'."
    assert explain(FileExistsError("Wanted none, got one.")) == "Wanted none, got one."


def test_failing_shows_a_frame_and_ends(capsys):
    with pytest.raises(SystemExit, match=r"^1$"):
        fail("Wanted [one], got [two].")
    out, err = capsys.readouterr()
    assert out == ""
    assert "─ Error ─" in err
    assert "Wanted [one], got [two]." in err  # brackets are no markup


def test_damage_is_told_from_bugs():
    assert DAMAGED.search("NetCDF: HDF error")
    assert DAMAGED.search("blosc decompression failed")
    assert not DAMAGED.search("mat1 and mat2 shapes cannot be multiplied")
