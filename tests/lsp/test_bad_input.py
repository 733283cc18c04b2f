"""What bad input gets: a clear answer, and a server that lives on."""

from __future__ import annotations

import asyncio
import hashlib
import json
from concurrent.futures import Future
from typing import Any

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

from tests.lsp.editor import capabilities, editor
from tests.projects import BUGGY, RIGHT, calc, fenced, write
from tests.scripted_engine import ScriptedEngine

MALFORMED: list[tuple[str, list[Any], str]] = [
    ("fixFunction", [], "uri is missing"),
    ("fixFunction", ["calc.py"], "one object is expected"),
    ("fixFunction", [{"uri": "file:///x.py"}], "position or range or qualifiedName is missing"),
    ("fixFunction", [{"uri": 3, "qualifiedName": "add"}], "uri must be a string"),
    ("fixFunction", [{"uri": "u", "position": {"line": -1, "character": 0}}], "position must"),
    ("fixFunction", [{"uri": "u", "position": [1, 2]}], "position must be {line, character}"),
    ("fixFunction", [{"uri": "u", "qualifiedName": "f", "tests": "t"}], "a list of strings"),
    ("fixFunction", [{"uri": "u", "qualifiedName": "f", "diagnostics": [{}]}], "a diagnostic"),
    ("fixFunction", [{"uri": "u", "qualifiedName": "f", "model": "x"}], "'model' is unknown"),
    (
        "refineWithFeedback",
        [{"uri": "u", "qualifiedName": "f", "feedback": 1}],
        "feedback must",
    ),
    ("cancel", [{}], "jobId is missing"),
    ("cancel", [{"jobId": "nothing"}], "no job 'nothing'"),
    ("showTranscript", [{}], "no such job has ended"),
    ("noSuchCommand", [{}], "noSuchCommand"),
]


async def test_a_malformed_command_is_answered_with_what_is_wrong(tmp_path):
    async with editor(calc(tmp_path)) as ed:
        for command, arguments, words in MALFORMED:
            with pytest.raises(JsonRpcException) as caught:
                await ed.execute(f"oci_lsp.{command}", *arguments)
            assert words in caught.value.message, (command, arguments)
        ed.open("calc.py")
        assert len(await ed.actions("calc.py", "return")) == 1


async def outcome(ed, argument, command="fixFunction"):
    answer = await ed.execute(f"oci_lsp.{command}", argument)
    end = await ed.ended(answer["jobId"])
    await ed.until(lambda: any(end["message"] in m for m in ed.messages), "the message")
    return end["outcome"], end["message"]


async def test_a_place_without_a_function_and_a_name_that_is_none(tmp_path):
    root = calc(tmp_path, f"X = 1\n\n\n{BUGGY}\n\n# a remark\n\nY = 1\n")
    async with editor(root) as ed:
        uri = ed.open("calc.py")
        nowhere = {"uri": uri, "position": {"line": 0, "character": 0}}
        assert await outcome(ed, nowhere) == (
            "error",
            "There is no function and no comment in line 1\n"
            "Point at a function, or at a comment that describes one.",
        )
        kind, message = await outcome(ed, {"uri": uri, "qualifiedName": "ad"})
        assert kind == "error"
        assert "Did you mean add?" in message
        remark = {"uri": uri, "position": {"line": 7, "character": 3}}
        assert "no function here" in (await outcome(ed, remark))[1]
        old = {"uri": uri, "position": {"line": 3, "character": 0}, "version": 0}
        assert (await outcome(ed, old))[0] == "stale"


async def test_a_buffer_that_is_no_file_and_one_that_is_not_open(tmp_path):
    root = calc(tmp_path)
    async with editor(root) as ed:
        item = lsp.TextDocumentItem("untitled:Untitled-1", "python", 1, BUGGY)
        ed.client.text_document_did_open(lsp.DidOpenTextDocumentParams(item))
        kind, message = await outcome(ed, {"uri": item.uri, "qualifiedName": "add"})
        assert kind == "error"
        assert "Save it into your project first" in message
        kind, message = await outcome(ed, {"uri": ed.uri("calc.py"), "qualifiedName": "add"})
        assert kind == "error"
        assert "not open" in message


async def test_no_test_a_wrong_test_and_a_syntax_error_elsewhere(tmp_path):
    root = write(tmp_path, {"calc.py": BUGGY, "test_other.py": "import nothing_like_it\n"})
    async with editor(root) as ed:
        uri = ed.open("calc.py")
        argument = {"uri": uri, "qualifiedName": "add"}
        kind, message = await outcome(ed, argument)
        assert kind == "no_test"
        assert "# test: NODEID" in message
        kind, message = await outcome(ed, {**argument, "tests": ["test_none.py::test_x"]})
        assert kind == "broken_test"
        assert "test_none.py" in message
        kind, message = await outcome(ed, {**argument, "tests": ["test_other.py"]})
        assert kind == "broken_test"
        assert "nothing_like_it" in message
        ed.type("calc.py", "def add", "x = (\n\n\ndef add")
        kind, message = await outcome(ed, {**argument, "tests": ["assert add(1, 1) == 2"]})
        assert kind == "error"
        assert "syntax error" in message
        assert ed.edits == []


async def test_a_snippet_as_the_test(tmp_path):
    root = write(tmp_path, {"calc.py": BUGGY})
    with ScriptedEngine([fenced(RIGHT)]) as engine:
        async with editor(root, engine.url) as ed:
            ed.open("calc.py")
            end = await ed.job("fixFunction", "calc.py", "add", tests=["assert add(2, 3) == 5"])
            assert end["outcome"] == "passed", end
            assert ed.text("calc.py") == RIGHT


async def test_an_engine_that_is_not_there(tmp_path):
    root = calc(tmp_path)
    async with editor(root, "http://127.0.0.1:9") as ed:
        ed.open("calc.py")
        end = await ed.job("fixFunction", "calc.py", "add")
        assert end["outcome"] == "error"
        assert "engine.url" in end["message"]


async def test_nothing_is_downloaded_without_a_yes(tmp_path, monkeypatch):
    for name in ("CACHE", "RUNTIME"):
        monkeypatch.setenv(f"OCI_LSP_{name}_DIR", str(tmp_path / name.lower()))
    root = calc(tmp_path / "project")
    async with editor(root, options={"engine": {"model": "auto", "device": "cpu"}}) as ed:
        ed.open("calc.py")
        for answer in ("No", None):
            ed.answer_to_questions = answer
            end = await ed.job("fixFunction", "calc.py", "add")
            assert end["outcome"] == "error", end
    assert len(ed.questions) == 2
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


async def test_wrong_settings_are_told_once_and_defaults_used(tmp_path):
    root = calc(tmp_path)
    wrong = {"refine": {"turns": "many", "candidates": 1}, "verify": {"colour": 1}}
    with ScriptedEngine([fenced(RIGHT), fenced(RIGHT)]) as engine:
        async with editor(root, engine.url, options=wrong) as ed:
            ed.open("calc.py")
            assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "passed"
            ed.type("calc.py", "a + b", "a - b")
            assert (await ed.job("fixFunction", "calc.py", "add"))["outcome"] == "passed"
    assert sum("refine.turns: 'many' is not a whole number" in m for m in ed.messages) == 1
    assert sum("Unknown setting verify.colour" in m for m in ed.messages) == 1


async def test_settings_that_the_client_is_asked_for_and_that_change(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine([fenced(BUGGY + "\n")] * 9) as engine:
        asks = capabilities(configuration=True)
        first = {"refine": {"turns": 1, "candidates": 1}}
        async with editor(root, engine.url, client=asks, configuration=first) as ed:
            ed.open("calc.py")
            end = await ed.job("fixFunction", "calc.py", "add")
            assert (end["outcome"], len(engine.requests)) == ("failed", 1)
            ed.configuration = {"refine": {"turns": 3, "candidates": 1}}
            ed.client.workspace_did_change_configuration(lsp.DidChangeConfigurationParams(None))
            end = await ed.job("fixFunction", "calc.py", "add")
            assert len(engine.requests) == 4
            assert "3 turns" in end["message"]


async def test_the_command_lines_settings_outweigh_the_editors(tmp_path):
    root = calc(tmp_path)
    with ScriptedEngine(["no code"] * 9) as engine:
        async with editor(root, engine.url, "--set", "refine.turns=1") as ed:
            ed.open("calc.py")
            assert "1 turn " in (await ed.job("fixFunction", "calc.py", "add"))["message"]


async def test_a_request_that_makes_no_sense_is_answered(tmp_path):
    """pygls alone would leave the client waiting."""
    async with editor(calc(tmp_path)) as ed:
        body = json.dumps(
            {"jsonrpc": "2.0", "id": "odd", "method": "textDocument/codeAction", "params": {"a": 1}}
        ).encode()
        answer: Future[object] = Future()
        ed.client.protocol._request_futures["odd"] = answer
        ed.send_raw(body)
        with pytest.raises(JsonRpcException, match="Invalid Params"):
            await asyncio.wait_for(asyncio.wrap_future(answer), 20)
        ed.open("calc.py")
        assert len(await ed.actions("calc.py", "return")) == 1


async def test_debug_information_and_a_warm_restart(tmp_path):
    root = calc(tmp_path)
    async with editor(root) as ed:
        ed.open("calc.py")
        information = await ed.execute("oci_lsp.printDebugInformation")
        assert information["positionEncoding"] == "utf-16"
        (document,) = information["documents"]
        assert (document["uri"], document["version"]) == (ed.uri("calc.py"), 1)
        assert document["sha256"] == hashlib.sha256(BUGGY.encode()).hexdigest()
        assert information["jobs"] == []
