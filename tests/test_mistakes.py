"""A caller's mistakes on the command line: told plainly, in a frame, with status 1."""

import subprocess
import sys

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


@pytest.mark.parametrize("command", [["catalog", "list"], ["catalog", "show", "prism_2p5min"]])
def test_an_output_that_nobody_reads_ends_quietly(command):
    program = [sys.executable, "-m", "orbitds", *command]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 141  # as shells tell of a program ended by SIGPIPE
