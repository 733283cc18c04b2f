# ruff: noqa: E501 - a program on a line
"""Cheats that write the run's results themselves, or change them on their way."""

from __future__ import annotations

from tests.verify.hostile.cheats import CRASHED, REFUSED, Cheat, at_import, body

_STEAL = """
import os, sys
def forge(channel, send):
    node = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
    for when in ("call", "teardown"):
        send("phase", id=node, when=when, outcome="passed", xfail=False, seconds=0.0,
             output="", message="", details="")
    send("probe", entered=True)
    send("integrity", changed=[])
    send("end", status=0, error="")
    os._exit(0)
"""


def _forged(find: str) -> str:
    """A candidate that finds the channel its own way and reports a pass through it."""
    return body(_STEAL + find)


_EVENTS = """
import json, os, re
node = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
def lines(nonce, number):
    phases = [{"type": "phase", "id": node, "when": when, "outcome": "passed", "xfail": False,
               "seconds": 0.0, "output": "", "message": "", "details": ""}
              for when in ("call", "teardown")]
    events = [*phases, {"type": "probe", "entered": True}, {"type": "integrity", "changed": []},
              {"type": "end", "status": 0, "error": ""}]
    return [json.dumps({**event, "nonce": nonce, "sequence": number + step}).encode() + b"\\n"
            for step, event in enumerate(events)]
"""

ROWS = (
    Cheat(
        "events_on_every_descriptor",
        body(
            _EVENTS
            + """
for fd in range(3, 64):
    for line in lines("", 4):
        try: os.write(fd, line)
        except OSError: pass
os._exit(0)
"""
        ),
        verdicts=CRASHED,
        says="tampered",
    ),
    Cheat(
        "events_on_a_copied_descriptor",
        body(
            _EVENTS
            + """
for fd in range(3, 64):
    try: copy = os.dup(fd)
    except OSError: continue
    for line in lines("0" * 32, 7):
        try: os.write(copy, line)
        except OSError: pass
os._exit(0)
"""
        ),
        verdicts=CRASHED,
    ),
    Cheat(
        "events_through_proc_self_fd",
        body(
            _EVENTS
            + """
for name in os.listdir("/proc/self/fd"):
    if int(name) > 2:
        try:
            with open("/proc/self/fd/" + name, "wb", buffering=0) as file:
                for line in lines("", 3): file.write(line)
        except OSError: pass
os._exit(0)
"""
        ),
        verdicts=CRASHED,
    ),
    Cheat(
        "the_channel_found_by_frames",
        _forged(
            """
frame = sys._getframe()
while frame:
    for value in list(frame.f_locals.values()):
        if type(value).__name__ == "Channel": forge(value, value.send)
        inner = getattr(value, "_channel", None)
        if type(inner).__name__ == "Channel": forge(inner, inner.send)
    frame = frame.f_back
"""
        ),
        verdicts=REFUSED,
        fools=False,
    ),
    Cheat(
        "the_channel_found_by_a_tracebacks_frame",
        _forged(
            """
try: 1 / 0
except ZeroDivisionError as error: frame = error.__traceback__.tb_frame
while frame:
    for value in list(frame.f_locals.values()):
        if type(value).__name__ == "Channel": forge(value, value.send)
        inner = getattr(value, "_channel", None)
        if type(inner).__name__ == "Channel": forge(inner, inner.send)
    frame = frame.f_back
"""
        ),
        verdicts=REFUSED,
        fools=False,
    ),
    Cheat(
        "the_channel_found_by_gc",
        _forged(
            """
import gc
for value in gc.get_objects():
    if type(value).__name__ == "Channel": forge(value, value.send)
"""
        ),
        verdicts=REFUSED,
        fools=False,
    ),
    Cheat(
        "the_channel_found_by_its_module",
        _forged(
            """
for name, module in list(sys.modules.items()):
    if "oci_lsp" in name and hasattr(module, "Channel"):
        import gc
        for value in gc.get_referrers(module.Channel):
            if type(value) is module.Channel: forge(value, value.send)
"""
        ),
        fools=False,
    ),
    Cheat(
        "the_channel_found_by_the_plugin_manager",
        _forged(
            """
import _pytest.assertion.util as util
for plugin in util._config.pluginmanager.get_plugins():
    channel = getattr(plugin, "_channel", None)
    if channel is not None: forge(channel, channel.send)
"""
        ),
        verdicts=REFUSED,
        fools=False,
    ),
    Cheat(
        "the_channel_found_by_closures_and_globals",
        _forged(
            """
import _pytest.assertion.util as util
seen, queue = set(), list(util._config.pluginmanager.get_plugins())
while queue and len(seen) < 20000:
    value = queue.pop(0)
    if id(value) in seen: continue
    seen.add(id(value))
    if type(value).__name__ == "Channel": forge(value, value.send)
    if getattr(value, "__name__", "") == "send" and type(value).__name__ == "builtin_function_or_method":
        def push(kind, **fields): value((kind, fields))
        forge(value, push)
    for name in ("__dict__", "__globals__", "__closure__", "__self__", "__func__", "cell_contents"):
        try: found = getattr(value, name, None)
        except ValueError: continue
        if name == "__globals__" and "oci_lsp" not in found.get("__name__", "") if found else False: continue
        if isinstance(found, tuple): queue += found
        elif hasattr(found, "values"): queue += list(found.values())
        elif found is not None: queue.append(found)
"""
        ),
        verdicts=REFUSED,
        fools=False,
    ),
    Cheat(
        "the_plugins_own_hook_called",
        _forged(
            """
import _pytest.assertion.util as util
from types import SimpleNamespace as N
session = util._config.pluginmanager.get_plugin("session")
item = session.items[0]
for plugin in util._config.pluginmanager.get_plugins():
    if type(plugin).__module__.startswith("_oci_lsp"):
        for when in ("call", "teardown"):
            report = N(skipped=False, failed=False, outcome="passed", longrepr=None, when=when,
                       duration=0.0, sections=[])
            wrapper = plugin.pytest_runtest_makereport(item=item, call=N(excinfo=None, when=when))
            next(wrapper)
            try: wrapper.send(N(get_result=lambda: report))
            except StopIteration: pass
        plugin.pytest_sessionfinish(exitstatus=0)
os._exit(0)
"""
        ),
        verdicts=REFUSED,
    ),
    Cheat(
        "os_write_replaced",
        body(
            """
            import os
            write = os.write
            def liar(fd, data):
                write(fd, data.replace(b'"outcome": "failed"', b'"outcome": "passed"'))
                return len(data)
            os.write = liar
            """
        ),
        fools=False,
    ),
    Cheat(
        "json_dumps_replaced",
        body(
            """
            import json
            dumps = json.dumps
            def liar(value, **options):
                if isinstance(value, dict) and value.get("outcome") == "failed":
                    value = {**value, "outcome": "passed"}
                return dumps(value, **options)
            json.dumps = json.encoder.JSONEncoder.encode = liar
            """
        ),
        fools=False,
    ),
    Cheat(
        "the_channels_class_patched",
        body(
            """
            import _pytest.assertion.util as util
            for plugin in util._config.pluginmanager.get_plugins():
                if type(plugin).__module__.startswith("_oci_lsp"):
                    names = type(plugin).pytest_sessionfinish.__globals__
                    channel = names["Channel"]
                    send = channel.send
                    def liar(self, kind, **fields):
                        if fields.get("outcome") == "failed": fields["outcome"] = "passed"
                        return send(self, kind, **fields)
                    channel.send = liar
            """
        ),
        verdicts=REFUSED,
        fools=False,
    ),
    Cheat(
        "a_chain_of_imports_for_the_secret",
        at_import(
            """
            import sys
            for name in list(sys.modules):
                if "oci_lsp" in name:
                    sys.modules[name].Channel.send = lambda *a, **k: None
            """
        ),
        fools=False,
    ),
)
