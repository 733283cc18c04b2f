"""The pytest plugin: turns a run's collection, outcomes and integrity into events."""

import os
import tempfile
from importlib.util import find_spec
from types import ModuleType
from typing import Any, Dict, Generator, List, Optional

import pytest

from . import explain, reorder, snippets, words
from .channel import Channel
from .integrity import Integrity
from .probe import Probe
from .sentinel import Sentinel, Suspects
from .spectrum import Spectrum


def run(
    request: Dict[str, Any],
    channel: Channel,
    suspects: Suspects,
    integrity: Integrity,
    modules: List[ModuleType],
) -> int:
    """Run pytest over the request's tests; returns pytest's exit status, which proves nothing."""
    from _pytest.config import ConftestImportFailure, _prepareconfig

    tempfile.tempdir = request["capture"]
    plugin = Plugin(request, channel, suspects, integrity)
    integrity.guard(suspects.owns, modules, plugin.parts())
    try:
        config = _prepareconfig(_arguments(request), [plugin])
    except ConftestImportFailure as error:
        cause = getattr(error, "cause", None) or getattr(error, "excinfo")[1]  # noqa: B009 - pytest 7 has it
        channel.send("unusable", **plugin.explainer.collection(cause))
        return 4
    except (pytest.UsageError, ImportError, SystemExit) as error:
        channel.send("unusable", message=_usage(error), details="", blamed=False)
        return 4
    finally:
        tempfile.tempdir = None
    try:
        status = config.hook.pytest_cmdline_main(config=config)
        return 0 if status is None else int(status)
    except pytest.UsageError as error:
        channel.send("unusable", message=_usage(error), details="", blamed=False)
        return 4
    finally:
        config._ensure_unconfigure()


def _usage(error: BaseException) -> str:
    text = "\n".join(str(part) for part in error.args) or type(error).__name__
    return "pytest refused to start: {}".format(text)


def _arguments(request: Dict[str, Any]) -> List[str]:
    """The command line: the project's own options stay, what would blind the plugin goes."""
    arguments = ["--maxfail=0", "--color=no", "--tb=short"]
    # A fresh cache: options such as --lf must be known, and must not leave out what is asked for.
    arguments += ["-o", "cache_dir=" + os.path.join(request["capture"], "pytest-cache")]
    # The driver imports installed plugins ahead of pytest, which would warn of it.
    arguments += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    if not os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
        arguments += ["-n0"] if find_spec("xdist") else []
        arguments += ["--no-cov"] if find_spec("pytest_cov") else []
    if request["suite"]:
        return [*arguments, "--continue-on-collection-errors"]
    # Relative: pytest takes what follows a `[` in the root's own path for a test's parameter.
    targets = ["./" + node_id for node_id in request["node_ids"]]
    return arguments + (targets or [_nearest(request["root"], request["snippet_path"])])


def _nearest(root: str, path: str) -> str:
    """The file, relative, or the folder above it whose name pytest can take."""
    relative = os.path.join(os.curdir, os.path.relpath(path, root))
    while "[" in relative:
        relative = os.path.dirname(relative)
    return relative


class Plugin:
    """Reports to the supervisor; registered as a pytest plugin under its class's name."""

    def __init__(
        self,
        request: Dict[str, Any],
        channel: Channel,
        suspects: Suspects,
        integrity: Integrity,
    ) -> None:
        self._request = request
        self._channel = channel
        self._root = request["root"]
        self._probe = Probe(request["candidate"], suspects)
        self._spectrum = Spectrum(self._root, wanted=request["suite"])
        self._integrity = integrity
        self._sentinel = Sentinel(suspects, self._tell_of_a_look)
        self._ids: Dict[int, str] = {}
        self._failed = False
        self._words = words.new_words(request)
        self.explainer = explain.Explainer(self._root, request["candidate"])

    def parts(self) -> List[Any]:
        """This and the objects that it relies on."""
        return [self, self._channel, self._integrity, self._probe, self._sentinel]

    def _tell_of_a_look(self, what: str) -> None:
        self._channel.send("tampered", what=what)

    # -- collection ------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self) -> None:
        """Capture files are open by now: temporary files may go where they always go."""
        tempfile.tempdir = None
        self._sentinel.start()
        if Probe.IS_CHEAP:
            self._probe.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: Any) -> Optional[bool]:
        """Without node ids nothing of the project is collected, the snippets alone are run."""
        self._integrity.start()
        if self._request["node_ids"] or self._request["suite"]:
            return None
        session.items = []
        session.config.hook.pytest_collection_modifyitems(
            session=session, config=session.config, items=session.items
        )
        session.config.hook.pytest_collection_finish(session=session)
        session.testscollected = len(session.items)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: Any, items: List[Any]) -> None:
        """Add the snippets as items of the module that they are about."""
        if not self._request["snippets"]:
            return
        try:
            items += snippets.collect(session, self._request)
        except Exception as error:
            fields = self.explainer.collection(error)
            self._channel.send("collect_error", id="", **fields)

    def pytest_deselected(self, items: List[Any]) -> None:
        """Tell which requested tests the project's options left out."""
        self._channel.send("deselected", ids=[self._identify(item) for item in items])

    @pytest.hookimpl(hookwrapper=True)
    def pytest_make_collect_report(self, collector: Any) -> Generator[None, Any, None]:
        """Tell what could not be imported, and whether the candidate's file is to blame."""
        outcome = yield
        report = outcome.get_result()
        if report.failed:
            call = getattr(report, "call", None)
            error = call.excinfo.value if call is not None and call.excinfo else None
            if error is None:
                text = str(report.longrepr)
                fields = {"message": text, "details": "", "blamed": False, "places": []}
            else:
                fields = self.explainer.collection(error)
            self._channel.send("collect_error", id=self._identify(collector), **fields)

    def pytest_collection_finish(self, session: Any) -> None:
        """Tell the tests' ids and remember their code."""
        if self._request["disguised"]:
            self._ids = {id(item): self._identify(item) for item in session.items}
            reorder.disguise(session.items)
        ids = [self._identify(item) for item in session.items]
        self._integrity.remember(dict(zip(ids, session.items)), session)
        self._sentinel.know(session.items)
        self._channel.send("collected", ids=ids)
        # Explanations are not to be truncated; asked for on the command line, it would make
        # plugins print long headers.
        session.config.option.verbose = 2
        if hasattr(session.config.option, "forked"):  # pytest-forked: only this process may report
            session.config.option.forked = False
        self._probe.start()
        self._spectrum.start()

    def _identify(self, item: Any) -> str:
        """The node id relative to our root; pytest's own may be relative to another folder."""
        if id(item) in self._ids:
            return self._ids[id(item)]
        path = str(item.path)
        if not path.startswith(self._root + os.sep):  # within it, links are as they were asked for
            path = os.path.realpath(path)
        relative = os.path.relpath(path, self._root).replace(os.sep, "/")
        _, colons, rest = str(item.nodeid).partition("::")
        return relative + colons + rest

    # -- running ---------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> None:
        """Tell that a test begins, so that a time-out can name it."""
        self.explainer.forget()
        self._integrity.before_test(item)
        self._channel.send("start", id=self._identify(item))
        self._spectrum.forget()

    @pytest.hookimpl(hookwrapper=True, trylast=True)
    def pytest_runtest_call(self, item: Any) -> Generator[None, Any, None]:
        """Look at pytest directly after the test's function, before any of pytest goes on."""
        # What is called afterwards is taken now, into this frame, where nobody else reaches.
        after_call, send = self._integrity.after_call, self._channel.send
        self._integrity.before_call(item)
        yield
        found = after_call(item)
        if found:
            send("integrity", changed=found)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, None]:
        """A fixture of a wider scope is set up once, and used by many tests."""
        with self._spectrum.fixture(fixturedef):
            yield

    def pytest_assertrepr_compare(self, op: str, left: Any, right: Any) -> None:
        """Remember the values of the comparison that failed."""
        self.explainer.compared(op, left, right)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Generator[None, Any, None]:
        """Send each phase's outcome with an explanation of its failure."""
        outcome = yield
        report = outcome.get_result()
        fields: Dict[str, Any] = {"message": "", "details": "", "places": []}
        self._failed = self._failed or report.failed
        if report.skipped and isinstance(report.longrepr, tuple):  # where and why
            reason = str(report.longrepr[2]).replace("Skipped: ", "skipped: ", 1)
            fields["message"] = explain.cut(reason, 700)
        elif call.excinfo is not None and report.outcome != "passed":
            fields = self.explainer.failure(call.excinfo.value)
        elif report.outcome == "failed":  # XPASS(strict) and the like: a plain text
            fields["message"] = explain.cut(str(report.longrepr), 700)
        self._channel.send(
            "phase",
            id=self._identify(item),
            when=report.when,
            outcome=report.outcome,
            xfail=hasattr(report, "wasxfail"),
            seconds=report.duration,
            output=explain.cut(_output(report), 8000) if report.outcome == "failed" else "",
            **fields,
        )
        if report.when == "teardown":
            entered = self._spectrum.entered(item)
            if entered:
                self._channel.send("entered", id=self._identify(item), **entered)
            found = self._integrity.after_test()
            if found:
                self._channel.send("integrity", changed=found)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A failure reported past pytest_runtest_makereport (some plugins do) counts as well."""
        if report.failed and not self._failed:
            message = explain.cut(str(report.longrepr), 700)
            self._channel.send("stray_failure", message=message)

    def pytest_internalerror(self, excrepr: Any) -> None:
        """A plugin or conftest of the project raised outside of any test."""
        self._channel.send("internal", message=explain.cut(str(excrepr), 2000))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Tell what the run left behind; every test is torn down, only summaries would follow."""
        self._spectrum.stop()
        self._probe.stop()
        self._channel.send("probe", entered=self._probe.entered)
        self._channel.send("integrity", changed=[*self._integrity.changed(), *self._probe.found])
        self._channel.send("returned", found=self._probe.returned)
        self._channel.send("words", found=self._words)
        self._channel.send("end", status=int(exitstatus), error="")


def _output(report: Any) -> str:
    return "".join(
        text if text.endswith("\n") else text + "\n"
        for name, text in report.sections
        if name.startswith("Captured std")
    )
