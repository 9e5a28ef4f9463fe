"""Names on the Hugging Face Hub, against a stand-in here: the real one is not reached."""

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest
import torch
import xarray as xr
from huggingface_hub import constants

import orbitds
from orbitds import hub
from orbitds.checkpoint import load_checkpoint
from orbitds.config import TrainConfig
from orbitds.description import CLIMATOLOGY, DESCRIPTION, FILES, WEIGHTS, find_checkpoint
from orbitds.infer.downscaler import Downscaler
from orbitds.train.start import known_statistics, start

COMMIT, EARLIER = "c0ffee" + "0" * 34, "decade" + "1" * 34
NAME = "hf://climate/winds"


class Hub(ThreadingHTTPServer):
    """What the Hub's client asks of the Hub, for one repository with two commits.

    Attributes
    ----------
    folders
        What lies in the repository at each commit.
    asked
        Method and path of each request.
    status, code
        What it answers instead, with the Hub's own code for an error.
    cut
        How often a download of weights breaks off half-way; ``size`` is what it says before that a
        file has, if not the truth.
    """

    daemon_threads = True

    def __init__(self, folders):
        super().__init__(("127.0.0.1", 0), Answer)
        self.folders = folders
        self.branches = {"main": COMMIT, "v1": EARLIER, "refs/pr/2": EARLIER}
        self.asked, self.cut, self.size = [], 0, None
        self.status, self.code = 200, None
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(f"{self.command} {path}")
        if self.server.status != 200:
            return self._send(self.server.status, b"", {"X-Error-Code": self.server.code})
        found = re.fullmatch(
            r"/(?:api/models/)?climate/winds(?:/(revision|tree|resolve)/(.*))?", path
        )
        if not found:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        what, rest = found.groups()
        revision = next((b for b in self.server.branches if f"{rest}/".startswith(f"{b}/")), None)
        revision = revision or (rest or "main").split("/")[0]
        commit = self.server.branches.get(revision, revision)
        if commit not in self.server.folders:
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        folder = self.server.folders[commit]
        if what == "resolve":
            return self._file(folder / rest.removeprefix(f"{revision}/"), commit)
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        files = [(str(path.relative_to(folder)), path.stat().st_size) for path in paths]
        tree = [
            {"type": "file", "path": name, "size": size, "oid": sha1(name.encode()).hexdigest()}
            for name, size in files
        ]
        repository = {
            "id": "climate/winds",
            "sha": commit,
            "siblings": [{"rfilename": name} for name, _ in files],
        }
        return self._send(200, json.dumps(tree if what == "tree" else repository).encode())

    def _file(self, path, commit):
        if not path.is_file():
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        content = path.read_bytes()
        headers = {"ETag": f'"{sha256(content).hexdigest()}"', "X-Repo-Commit": commit}
        if self.command == "HEAD" and self.server.size:
            headers["X-Linked-Size"] = self.server.size
        status, whole = 200, len(content)
        if begin := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            status, content = 206, content[int(begin[1]) :]
            headers["Content-Range"] = f"bytes {begin[1]}-{whole - 1}/{whole}"
        if self.command == "GET" and path.name == WEIGHTS and self.server.cut:
            self.server.cut -= 1
            self._send(status, content, headers, sent=len(content) // 2)
            self.close_connection = True
            return None
        return self._send(status, content, headers)

    def _send(self, status, content, headers=None, *, sent=None):
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **(headers or {})}.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:sent])


@pytest.fixture
def server(tmp_path, checkpoint_folder):
    """The stand-in, with more in its repository than a checkpoint."""
    folders = {commit: tmp_path / "hub" / commit for commit in (COMMIT, EARLIER)}
    for commit, folder in folders.items():
        shutil.copytree(checkpoint_folder, folder)
        (folder / "modeling.py").write_text("raise SystemExit('run')", encoding="utf-8")
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(print))
        (folder / DESCRIPTION).write_text(
            (folder / DESCRIPTION).read_text(encoding="utf-8") + " " * len(commit[:1]) * 2,
            encoding="utf-8",
        )
    shutil.copytree(checkpoint_folder, folders[COMMIT] / "models" / "small")
    with Hub(folders) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def cache(server, tmp_path, monkeypatch):
    """An empty cache, and the client turned to the stand-in, as its variables would do."""
    folder = tmp_path / "cache" / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        server.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    hub._fetch.cache_clear()
    yield folder
    hub._fetch.cache_clear()


@pytest.fixture
def offline(monkeypatch):
    def turn_off():
        hub._fetch.cache_clear()
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    return turn_off


# --- there ---


def test_a_checkpoint_is_fetched_by_its_name(cache, server, checkpoint_folder):
    folder = find_checkpoint(NAME)
    assert folder == cache / "models--climate--winds/snapshots" / COMMIT
    # nothing but the checkpoint's own files
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert (folder / WEIGHTS).is_symlink(), "as the cache keeps them"
    assert not [path for path in server.asked if "modeling" in path or "pytorch" in path]
    loaded, own = load_checkpoint(NAME), load_checkpoint(checkpoint_folder)
    assert loaded.name == "climate/winds@c0ffee000000"
    assert loaded.folder == folder
    assert loaded.fingerprint == own.fingerprint
    assert load_checkpoint(folder) is loaded
    config = TrainConfig(pair="synthetic_4x", **{"from": NAME})
    assert known_statistics(config) == own.description.statistics


@pytest.mark.parametrize(
    ("written", "commit", "name"),
    [
        ("@main", COMMIT, "climate/winds@c0ffee000000"),
        ("@v1", EARLIER, "climate/winds@decade111111"),
        ("@refs/pr/2", EARLIER, "climate/winds@decade111111"),
        (f"@{EARLIER}", EARLIER, "climate/winds@decade111111"),
        ("/models/small", COMMIT, "climate/winds@c0ffee000000/models/small"),
        ("@main/models/small", COMMIT, "climate/winds@c0ffee000000/models/small"),
    ],
)
def test_a_revision_and_a_folder_are_taken_as_named(cache, written, commit, name):
    checkpoint = load_checkpoint(NAME + written)
    assert commit in checkpoint.folder.parts
    assert checkpoint.name == name


def test_a_path_of_a_name_has_lost_a_slash(cache):
    assert find_checkpoint(Path(NAME)) == find_checkpoint(NAME)


def test_a_branch_is_looked_up_once_in_a_process(cache, server):
    find_checkpoint(NAME)
    asked = len(server.asked)
    server.branches["main"] = EARLIER
    assert find_checkpoint(NAME).name == COMMIT
    assert len(server.asked) == asked
    hub._fetch.cache_clear()
    assert find_checkpoint(NAME).name == EARLIER


@pytest.mark.parametrize("written", ["", f"@{COMMIT}", "@c0ffee000000", "/models/small"])
def test_a_warm_cache_needs_no_network(cache, server, offline, written):
    first = find_checkpoint(NAME if written == "@c0ffee000000" else NAME + written)
    asked = len(server.asked)
    offline()
    assert find_checkpoint(NAME + written) == first
    assert load_checkpoint(NAME + written).factor == 3
    assert len(server.asked) == asked


def test_a_hub_that_is_down_leaves_the_cache(cache, server):
    first = find_checkpoint(NAME)
    hub._fetch.cache_clear()
    server.status = 503
    assert find_checkpoint(f"{NAME}@{COMMIT}") == first


def test_a_download_that_broke_off_goes_on(cache, server):
    server.cut = 1
    assert load_checkpoint(NAME).factor == 3
    assert sum(f"/{WEIGHTS}" in path and path.startswith("GET") for path in server.asked) == 2


def test_outputs_name_the_commit(orbitds, cache, coarse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    coarse.to_netcdf("coarse.nc")
    answer = orbitds("infer", "coarse.nc", "--checkpoint", f"{NAME}@v1", "--output", "fine.nc")
    assert answer.code == 0, answer.err
    with xr.open_dataset("fine.nc") as fine:
        assert fine.attrs["orbitds_checkpoint"] == "climate/winds@decade111111"
        assert "climate/winds@decade111111" in fine.attrs["history"]
    answer = orbitds("check", "coarse.nc", "--checkpoint", f"{NAME}@v1")
    assert answer.code == 0, answer.out


def test_a_job_travels_as_the_folder_of_the_commit(cache, server, coarse, offline):
    downscaler = Downscaler(NAME)
    asked = len(server.asked)
    sent = pickle.dumps(downscaler), pickle.dumps(load_checkpoint(NAME))
    assert max(map(len, sent)) < 1000, "no weights among it"
    offline()
    there = [pickle.loads(content) for content in sent]
    assert there[0].checkpoint.name == there[1].name == "climate/winds@c0ffee000000"
    lazy = coarse.chunk(time=6).orbit.downscale(there[1])
    assert lazy.compute()["eastward_wind"].notnull().all()
    assert len(server.asked) == asked


def test_the_settings_of_the_client_hold(server, tmp_path):
    """In a process of its own, which reads the variables at its start."""
    code = "from orbitds.hub import fetch; print(fetch('hf://climate/winds', ('orbitds.json',)))"
    run = {
        "capture_output": True,
        "text": True,
        "check": False,
        "cwd": Path(orbitds.__file__).parents[1],
    }
    told = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    cold = subprocess.run(
        [sys.executable, "-c", code], env=clean | told | {"HF_HUB_OFFLINE": "1"}, **run
    )
    assert "HF_HUB_OFFLINE forbids" in cold.stderr
    assert server.asked == []
    subprocess.run([sys.executable, "-c", code], env=clean | told, **run | {"check": True})
    asked = len(server.asked)
    assert asked
    warm = subprocess.run(
        [sys.executable, "-c", code], env=clean | told | {"HF_HUB_OFFLINE": "1"}, **run
    )
    assert (
        Path(warm.stdout.strip()) == tmp_path / "home/hub/models--climate--winds/snapshots" / COMMIT
    )
    assert len(server.asked) == asked


def test_a_run_starts_from_it_and_names_the_commit(cache):
    model = load_checkpoint(NAME).model
    with torch.random.fork_rng():
        fresh = type(model)(
            model.config,
            inputs=model.inputs,
            outputs=model.outputs,
            statics=model.statics,
            factor=model.factor,
        )
    started = start(fresh, f"{NAME}@v1")
    assert started.fresh == ()
    assert started.notes[0].startswith("from climate/winds@decade111111 (")
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])


# --- not there ---


def test_without_a_cache_offline_says_so(cache, server, offline):
    offline()
    with pytest.raises(
        FileNotFoundError, match=r"in the cache .*no whole copy, and HF_HUB_OFFLINE"
    ):
        find_checkpoint(NAME)
    assert server.asked == []


def test_half_a_cache_is_no_copy(cache, offline):
    (find_checkpoint(NAME) / WEIGHTS).unlink()
    offline()
    with pytest.raises(FileNotFoundError, match=rf"no whole copy|without {WEIGHTS}"):
        find_checkpoint(NAME)


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("hf://climate/wind", FileNotFoundError, r"Wanted hf://climate/wind, .*no such.*\. Check"),
        (f"{NAME}@v9", FileNotFoundError, r"Wanted \S+@v9, .*without that revision\. Check"),
        (
            f"{NAME}/nowhere",
            FileNotFoundError,
            r"Wanted a checkpoint folder .*got \S+/nowhere with",
        ),
    ],
)
def test_what_the_hub_does_not_have_is_told(cache, name, error, told):
    with pytest.raises(error, match=told):
        find_checkpoint(name)


@pytest.mark.parametrize(
    ("status", "code", "error", "told"),
    [
        (401, "RepoNotFound", FileNotFoundError, r"private\. .*hf auth login.*HF_TOKEN"),
        (401, None, FileNotFoundError, r"private\. .*hf auth login.*HF_TOKEN"),
        (403, "GatedRepo", PermissionError, r"terms have to be accepted.*hf auth login"),
        (500, None, ConnectionError, r"got \w+Error: .* no whole copy in the cache .*\. Check"),
    ],
)
def test_what_the_hub_refuses_is_told(cache, server, status, code, error, told):
    server.status, server.code = status, code
    with pytest.raises(error, match=rf"Wanted {NAME}.*{told}"):
        find_checkpoint(NAME)


def test_a_download_that_stays_short_is_told_and_leaves_nothing(cache, server):
    server.size = 10**6
    with pytest.raises(ConnectionError, match=r"Wanted .*should be of size 1000000.*\. Check netw"):
        find_checkpoint(NAME)
    server.size = None
    assert load_checkpoint(NAME).factor == 3, "and the next try is as the first"


def test_a_hub_that_nobody_answers_for_is_told(cache, server, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match=r"from http://127.0.0.1:9, got .*ConnectError"):
        find_checkpoint(NAME)


def test_at_the_command_line_it_is_one_message(orbitds, cache, server):
    server.status = 404
    answer = orbitds("infer", "x.nc", "--checkpoint", NAME, "--output", "y.nc")
    assert answer.code == 1
    assert "Traceback" not in answer.err


def test_files_that_were_replaced_are_noticed(cache, server):
    path = server.folders[COMMIT] / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{WEIGHTS} with sha256.*damaged or was replaced"):
        load_checkpoint(NAME)


def test_without_the_client_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"Wanted huggingface_hub for hf://a/b.*orbitds\[hub\]"):
        find_checkpoint("hf://a/b")


@pytest.mark.parametrize(
    "name",
    [
        "hf://",
        "hf://winds",
        "hf://climate/",
        "hf://../winds",
        "hf://climate/..",
        "hf://climate/../other",
        "hf://climate/winds/../../etc",
        "hf://climate/winds@..",
        "hf://climate/winds@../../refs",
        "hf://climate/winds@v1/../x",
        "hf://climate/winds@a..b",
        "hf://climate/winds@",
        "hf://climate/winds//x",
        "hf:///climate/winds",
        "hf:////etc/passwd",
        "hf://climate\\winds/x",
        "hf://climate/win\0ds",
        "hf://climate/win\nds",
        "hf://climate/winds ",
        "hf://climate--x/winds",
        "hf://climate/.winds",
        "hf://climate/winds/*",
        "hf://climate/winds?token=x",
        "hf://user:secret@climate/winds",
        "hf://climate/wïnds",
        "hf:climate/winds",
    ],
)
def test_names_that_lead_elsewhere_are_refused(cache, server, name):
    with pytest.raises(ValueError, match=r"Wanted a name as hf://owner/name.*\. Correct"):
        find_checkpoint(name)
    assert server.asked == []
    assert not cache.exists()


# --- the cache ---


def test_links_of_the_cache_lead_to_its_store_alone(cache, tmp_path):
    folder = find_checkpoint(NAME)
    weights = folder / WEIGHTS
    secret = tmp_path / "secret"
    secret.write_bytes(weights.read_bytes())
    shared = cache / "blobs/ab/abc"  # of several repositories
    shared.parent.mkdir(parents=True)
    weights.resolve().rename(shared)
    weights.unlink()
    weights.symlink_to(shared)
    assert load_checkpoint(NAME).factor == 3
    weights.unlink()
    weights.symlink_to(secret)
    (folder / DESCRIPTION).resolve().write_bytes((folder / DESCRIPTION).read_bytes() + b"\n")
    with pytest.raises(ValueError, match=rf"Wanted .*{WEIGHTS} in the folder.*link to .*secret"):
        load_checkpoint(NAME)


def test_what_the_cache_holds_is_listed_by_names_that_work(cache, offline):
    assert hub.cached(DESCRIPTION) == {}
    find_checkpoint(f"{NAME}@v1")
    find_checkpoint(f"{NAME}/models/small")
    offline()
    listed = hub.cached(DESCRIPTION)
    assert list(listed) == [
        "hf://climate/winds@c0ffee000000/models/small",
        "hf://climate/winds@decade111111",
    ]
    for name, folder in listed.items():
        assert find_checkpoint(name) == folder


@pytest.mark.parametrize(
    "path",
    [
        "/x/models--a--b/snapshots/main",
        "/x/models--a/snapshots/" + COMMIT,
        "/x/datasets--a--b/snapshots/" + COMMIT,
        "/x/models--a--b/" + COMMIT,
        "/x/a/b",
    ],
)
def test_other_folders_are_none_of_the_cache(path):
    assert hub.snapshot_name(Path(path)) is None
    assert hub.stores(Path(path)) == ()


def test_climatology_is_fetched_too(cache):
    assert CLIMATOLOGY in load_checkpoint(NAME).description.sha256
    assert load_checkpoint(NAME).region is not None
