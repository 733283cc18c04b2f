"""workspace/executeCommand: each command checks its argument, starts something, answers at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcInvalidParams

from oci_lsp.errors import OciError
from oci_lsp.lsp import debug, transcripts
from oci_lsp.lsp.arguments import Arguments, parse
from oci_lsp.lsp.targets import key_of, locate

if TYPE_CHECKING:
    from oci_lsp.lsp.jobs import Finished, Request
    from oci_lsp.lsp.server import Server

Handler = Callable[["Server", Sequence[Any]], Any]


def _starter(command: str, request: Request) -> Handler:
    def start(server: Server, arguments: Sequence[Any]) -> dict[str, str]:
        given = parse(command, arguments, needs=("uri", "position|range|qualifiedName"))
        return {"jobId": server.jobs.start(request, given)}

    return start


def _fix_failing(server: Server, arguments: Sequence[Any]) -> dict[str, str]:
    given = parse("oci_lsp.fixFailing", arguments)
    return {"jobId": server.jobs.start_failing(given.uri)}


def _cancel(server: Server, arguments: Sequence[Any]) -> dict[str, str]:
    given = parse("oci_lsp.cancel", arguments, needs=("jobId",))
    job_id = given.job_id or ""
    if not server.jobs.cancel(job_id):
        raise JsonRpcInvalidParams(f"oci_lsp.cancel: there is no job {job_id!r}")
    return {"jobId": job_id}


async def _show_transcript(server: Server, *arguments: Any) -> dict[str, str]:
    given = parse("oci_lsp.showTranscript", arguments)
    try:
        finished = _finished(server, given)
    except OciError as error:
        raise JsonRpcInvalidParams(f"oci_lsp.showTranscript: {error}") from error
    if finished is None:
        raise JsonRpcInvalidParams("oci_lsp.showTranscript: no such job has ended yet")
    return {"jobId": finished.job_id, "uri": await transcripts.show(server, finished)}


def _finished(server: Server, given: Arguments) -> Finished | None:
    """The job of that id, else the last one on that function, else the last one."""
    document = server.documents.get(given.uri) if given.uri else None
    if given.job_id or document is None:
        return server.jobs.finished(given.job_id)
    return server.jobs.last(key_of(document.uri, locate(document, given)))


async def _restart_engine(server: Server, *arguments: Any) -> dict[str, str]:
    parse("oci_lsp.restartEngine", arguments)
    return {"message": await debug.restart_engine(server)}


def _debug_information(server: Server, arguments: Sequence[Any]) -> dict[str, Any]:
    parse("oci_lsp.printDebugInformation", arguments)
    return debug.print_information(server)


AT_ONCE: dict[str, Handler] = {
    "oci_lsp.fixFunction": _starter("oci_lsp.fixFunction", "fix"),
    "oci_lsp.generateFunction": _starter("oci_lsp.generateFunction", "generate"),
    "oci_lsp.refineWithFeedback": _starter("oci_lsp.refineWithFeedback", "refine"),
    "oci_lsp.fixFailing": _fix_failing,
    "oci_lsp.runTest": _starter("oci_lsp.runTest", "test"),
    "oci_lsp.cancel": _cancel,
    "oci_lsp.printDebugInformation": _debug_information,
}
AWAITED: dict[str, Callable[..., Any]] = {
    "oci_lsp.showTranscript": _show_transcript,
    "oci_lsp.restartEngine": _restart_engine,
}


def register(server: Server) -> None:
    """Make the commands known to pygls, which hands a command's arguments over as they are."""
    for name, handler in AT_ONCE.items():
        server.command(name)(_bound(server, handler))
    for name, awaited in AWAITED.items():
        server.command(name)(_bound_async(server, awaited))


def _bound(server: Server, handler: Handler) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        return handler(server, arguments)

    return run


def _bound_async(server: Server, handler: Callable[..., Any]) -> Callable[..., Any]:
    async def run(*arguments: Any) -> Any:
        return await handler(server, *arguments)

    return run
