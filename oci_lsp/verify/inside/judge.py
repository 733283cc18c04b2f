"""From the driver's events to a verdict: a pure function of what was seen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_STACK_LINE = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in (?P<name>.*)$')


@dataclass
class RunRecord:
    """What the supervisor saw of one run."""

    events: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False
    timed_out: bool = False
    limit: str = ""
    forged: str = ""
    exit_status: int | None = None
    stacks: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    printed: str = ""
    seconds: float = 0.0

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind, in order."""
        return [event for event in self.events if event["type"] == kind]


def broken(summary: str) -> dict[str, Any]:
    """A judgement without a run."""
    return _judgement("broken", summary, [], RunRecord())


def judge(request: Mapping[str, Any], run: RunRecord) -> dict[str, Any]:
    """The judgement: `verdict`, `summary`, `tests`, `silent` (the probe saw nothing), `seconds`,
    `functions` (places, to which the numbers in a test's `entered` point)."""
    tests = _results(request, run)
    verdict, summary = _verdict(request, run, tests)
    return _judgement(verdict, summary, tests, run)


def _judgement(
    verdict: str, summary: str, tests: list[dict[str, Any]], run: RunRecord
) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "summary": summary,
        "tests": tests,
        "silent": verdict == "vacuous",
        "printed": run.printed,
        "seconds": run.seconds,
        "functions": [place for event in run.of("entered") for place in event["new"]],
    }


def _verdict(
    request: Mapping[str, Any], run: RunRecord, tests: list[dict[str, Any]]
) -> tuple[str, str]:
    if run.timed_out:
        where = next((t["message"] for t in tests if t["outcome"] == "failed" and t["cut"]), "")
        return "timed_out", where or f"The tests did not end within {request['timeout']:g} s."
    if run.limit:
        return "crashed", run.limit + "."
    if run.forged:
        return "crashed", f"The stream of results was tampered with ({run.forged})."
    if not run.ended:
        return "crashed", _crash(run)
    if doubt := _implausible(run):
        return "crashed", f"The stream of results was tampered with ({doubt})."
    return _collected(request, run, tests) or _outcome(request, run, tests)


def _implausible(run: RunRecord) -> str:
    """What cannot have been reported by pytest; empty: nothing."""
    collected = {node_id for event in run.of("collected") for node_id in event["ids"]}
    running = ""
    for event in run.events:
        if event["type"] == "start":
            running = event["id"]
            if running not in collected:
                return f"{running} was not collected"
        elif event["type"] == "phase" and event["id"] != running:
            return f"{event['id']} was not started"
    return ""


def _crash(run: RunRecord) -> str:
    status = run.exit_status
    if status is None:
        return "The test process stopped reporting."
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return f"The test process ended in the middle of the run ({how})."


def _collected(
    request: Mapping[str, Any], run: RunRecord, tests: list[dict[str, Any]]
) -> tuple[str, str] | None:
    errors = run.of("unusable") + run.of("collect_error")
    if errors:
        first = errors[0]
        if any(error["blamed"] for error in errors):
            first = next(error for error in errors if error["blamed"])
            return "failed", f"The file cannot be imported: {first['message']}"
        return "broken", f"The test cannot be collected: {first['message']}"
    if trouble := _trouble(run):
        # Where the candidate was at work already, it may be what brought pytest down.
        by_candidate = _unfair(run) or any(test["outcome"] == "failed" for test in tests)
        return _outcome(request, run, tests) if by_candidate else ("broken", trouble)
    if not run.of("collected"):
        return "broken", "pytest collected nothing."
    left_out = {node_id for event in run.of("deselected") for node_id in event["ids"]}
    missing = [t["id"] for t in tests if t["outcome"] == "missing" and t["message"] != "not run"]
    if missing and any(_belongs(node_id, missing[0]) for node_id in left_out):
        return "failed", f"{missing[0]} was deselected by the project's pytest options."
    if missing:
        return "broken", f"There is no test {missing[0]}."
    if not tests:
        return "broken", "There is no test in what was selected."
    return None


def _trouble(run: RunRecord) -> str:
    """What went wrong in pytest itself, a sentence; empty: nothing."""
    if internal := run.of("internal"):
        return f"pytest failed outside of any test: {internal[0]['message']}"
    error = run.of("end")[0]["error"]
    return f"pytest ended with {error}" if error else ""


def _outcome(
    request: Mapping[str, Any], run: RunRecord, tests: list[dict[str, Any]]
) -> tuple[str, str]:
    bad = [test for test in tests if test["outcome"] != "passed"]
    if unfair := _unfair(run):
        return "failed", unfair
    if bad:
        counted = f"{len(bad)} of {len(tests)} tests did not pass" if len(tests) > 1 else ""
        first = f"{bad[0]['id']}: {bad[0]['message'] or bad[0]['outcome']}"
        return "failed", f"{counted}; {first}" if counted else first
    if stray := run.of("stray_failure"):
        return "failed", stray[0]["message"]
    if not run.of("words"):
        return "failed", "The run did not report to its end."
    if request["candidate"] is not None and not any(e["entered"] for e in run.of("probe")):
        return "vacuous", f"The tests passed without calling {request['candidate']['qualname']}."
    return "passed", f"{len(tests)} test{'s' if len(tests) > 1 else ''} passed."


def _unfair(run: RunRecord) -> str:
    """How the candidate gamed its tests, a sentence; empty: not as far as was seen."""
    changed = run.changed + [name for event in run.of("integrity") for name in event["changed"]]
    changed = list(dict.fromkeys(changed))
    if changed:
        return f"The run changed what tests it: {', '.join(changed[:5])}."
    reached = list(dict.fromkeys(event["what"] for event in run.of("tampered")))
    if reached:
        return f"The function reached for what tests it: {', '.join(reached[:5])}."
    returned = [what for event in run.of("returned") for what in event["found"]]
    if returned:
        return f"The function returned {returned[0]}."
    words = list(dict.fromkeys(word for event in run.of("words") for word in event["found"]))
    if words:
        return f"The function names what tests it: {', '.join(words[:5])}."
    return ""


# -- tests -----------------------------------------------------------------------------------


def _belongs(node_id: str, requested: str) -> bool:
    return node_id == requested or node_id.startswith((requested + "::", requested + "["))


def _results(request: Mapping[str, Any], run: RunRecord) -> list[dict[str, Any]]:
    collected = [node_id for event in run.of("collected") for node_id in event["ids"]]
    tests = [_result(node_id, run, request["timeout"]) for node_id in dict.fromkeys(collected)]
    if request["suite"]:
        entered = {event["id"]: event["functions"] for event in run.of("entered")}
        for test in tests:
            test["entered"] = entered.get(test["id"], [])
        return tests + _not_collected(run)
    if not _collection_ended(run):
        return [test for test in tests if test["outcome"] != "missing"]
    tests += [
        _empty(node_id, "missing", "no such test")
        for node_id in request["node_ids"]
        if not any(_belongs(found, node_id) for found in collected)
    ]
    return tests


def _not_collected(run: RunRecord) -> list[dict[str, Any]]:
    """Files that could not be imported, in the place of their tests."""
    told = ("message", "details", "places")
    return [
        _empty(event["id"], "error", "") | {key: event[key] for key in told}
        for event in run.of("collect_error")
    ]


def _collection_ended(run: RunRecord) -> bool:
    """Whether a test that was not seen does not exist: nothing kept pytest from looking."""
    if run.of("collect_error"):
        return False
    if unusable := run.of("unusable"):
        return all("not found: " in event["message"] for event in unusable)
    return bool(run.of("collected"))


def _empty(node_id: str, outcome: str, message: str) -> dict[str, Any]:
    return {
        "id": node_id,
        "outcome": outcome,
        "seconds": 0.0,
        "message": message,
        "details": "",
        "output": "",
        "places": [],
        "entered": [],
        "cut": False,
    }


def _result(node_id: str, run: RunRecord, timeout: float) -> dict[str, Any]:
    phases = [event for event in run.of("phase") if event["id"] == node_id]
    result = _empty(node_id, "missing", "")
    result["seconds"] = sum(event["seconds"] for event in phases)
    for phase in phases:
        outcome = _phase_outcome(phase)
        if outcome != "passed":
            told = ("message", "details", "output", "places")
            result.update({key: phase[key] for key in told})
            result["outcome"] = outcome
            return result
    if any(phase["when"] == "teardown" for phase in phases) and any(
        phase["when"] == "call" for phase in phases
    ):
        result["outcome"] = "passed"
    elif any(event["id"] == node_id for event in run.of("start")):
        result.update(_interrupted(run, timeout))
    else:
        result["message"] = "not run"
    return result


def _phase_outcome(phase: Mapping[str, Any]) -> str:
    if phase["outcome"] == "passed":
        return "passed"
    if phase["outcome"] == "skipped":
        return "xfailed" if phase["xfail"] else "skipped"
    return "failed" if phase["when"] == "call" else "error"


def _interrupted(run: RunRecord, timeout: float) -> dict[str, Any]:
    if not run.timed_out:
        return {"outcome": "error", "message": run.limit or _crash(run)}
    message = f"did not end within {timeout:g} s"
    innermost = [frames[0] for frames in map(user_frames, run.stacks) if frames]
    if innermost:
        message += f"; it was at {innermost[-1]}"
    details = "Where it was when the time was over, innermost first:\n" + "\n".join(
        user_frames(run.stacks[-1])[:12] if run.stacks else []
    )
    return {
        "outcome": "failed",
        "message": message,
        "details": details if run.stacks else "",
        "places": [_place(frame) for frame in reversed(user_frames(run.stacks[-1]))]
        if run.stacks
        else [],
        "cut": True,
    }


def _place(frame: str) -> tuple[str, int]:
    name, _, line = frame.rpartition(" in ")[0].rpartition(":")
    return name, int(line)


def user_frames(dump: str) -> list[str]:
    """The main thread's frames of a faulthandler dump that lie outside installed packages."""
    frames: list[str] = []
    current = False
    for line in dump.splitlines():
        if line.startswith(("Current thread", "Thread")):
            # The signal arrives in the main thread: it is the current one.
            current = line.startswith("Current thread")
        found = _STACK_LINE.match(line)
        if not found or not current:
            continue
        file = found["file"]
        ours = "/oci_lsp/verify/inside/" in file or file.startswith("<frozen")
        if ours or "site-packages" in file or re.search(r"/lib/python3\.\d+/", file):
            continue
        frames.append(f"{file}:{found['line']} in {found['name']}")
    return frames
