"""Asking the client's user for a test: by buttons everywhere, by input box and list where it can.

A client that answers `oci_lsp/input` and `oci_lsp/pick` says so in its experimental capabilities:
`{"oci_lsp": {"input": true, "pick": true}}`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcException

from oci_lsp.errors import OciError, TestsError
from oci_lsp.lsp.creating import create
from oci_lsp.lsp.showing import show_document

if TYPE_CHECKING:
    from oci_lsp.lsp.server import Server
    from oci_lsp.refine.asking import Offer
    from oci_lsp.refine.task import Result, Task

# Buttons that a message can hold beside the others without being unreadable.
_MOST_BUTTONS = 3
_TYPE, _PICK, _CANCEL = "Type asserts", "Pick a test", "Cancel"

_log = logging.getLogger(__name__)


async def ask_for_test(server: Server, offer: Offer, task: Task) -> tuple[str, ...] | Result:
    """Ask which test decides; the tests, none of them where the user has no answer.

    Where the user had a test file made, the result with which the job ends.
    """
    from oci_lsp.refine.asking import to_fill_in

    client = server.client
    made = offer.skeleton
    create_it = f"{'Open' if made and made.exists else 'Create'} {offer.place}"
    buttons = [_TYPE] if client.takes_text else []
    if offer.tests and client.picks:
        buttons.append(_PICK)
    else:
        buttons += [test.node_id for test in offer.tests[:_MOST_BUTTONS]]
    buttons += [create_it] if made else []
    if not buttons:
        return ()
    chosen = await server.messages.choose(f"oci-lsp: {offer.question}", (*buttons, _CANCEL))
    if chosen == _TYPE:
        return await _typed(server, offer, task)
    if chosen == _PICK:
        return await _picked(server, offer)
    if chosen == create_it and made:
        if not made.exists:
            await create(server, made)
        await show_document(server, made.path.as_uri(), made.line)
        return to_fill_in(task, offer.place)
    return () if chosen in (None, _CANCEL) else (chosen,)


async def _typed(server: Server, offer: Offer, task: Task) -> tuple[str, ...]:
    """Asserts as the user types them; asked for again, with what is wrong, until they can run."""
    from oci_lsp.refine.asking import answered, with_tests

    prompt, text = f"{offer.question} Type one, for example: {offer.example}", ""
    while True:
        answer = await _request(server, "oci_lsp/input", {"prompt": prompt, "value": text})
        typed = _field(answer, "text")
        # What is sent back as it was cannot get better.
        if not isinstance(typed, str) or not typed.strip() or typed == text:
            return ()
        try:
            tests = answered(typed)
            await asyncio.to_thread(with_tests, task, tests)
        except TestsError as error:
            prompt, text = str(error), typed
        else:
            return tests


async def _picked(server: Server, offer: Offer) -> tuple[str, ...]:
    items = [
        {"label": test.node_id, "description": test.why, "id": test.node_id} for test in offer.tests
    ]
    params = {"title": f"{offer.question} Which one is it?", "items": items, "many": True}
    ids = _field(await _request(server, "oci_lsp/pick", params), "ids")
    known = [test.node_id for test in offer.tests]
    return tuple(name for name in known if isinstance(ids, Sequence) and name in ids)


async def _request(server: Server, method: str, params: Mapping[str, Any]) -> Any:
    """A client's answer to a request of our own; None where it gave none."""

    async def ask() -> Any:
        try:
            return await server.protocol.send_request_async(method, params)
        except (JsonRpcException, asyncio.CancelledError) as error:
            _log.warning("The client did not answer %s: %s", method, error)
            return None

    # A job that is cancelled meanwhile leaves the box open; its answer is dropped.
    return await asyncio.shield(asyncio.ensure_future(ask()))


def _field(answer: Any, name: str) -> Any:
    """A key of an answer, whatever pygls made of the object."""
    return answer.get(name) if isinstance(answer, Mapping) else getattr(answer, name, None)


class Pins:
    """Asks after a job whether the test that its user picked shall stay the function's test."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._asking: set[asyncio.Task[None]] = set()

    def offer(self, task: Task) -> None:
        """Ask about a task's tests; returns at once."""
        asking = asyncio.create_task(self._offer(task), name="oci-lsp pin")
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    async def _offer(self, task: Task) -> None:
        from oci_lsp.refine.asking import pin, pinnable

        if not pinnable(task):
            return
        what = "this test" if len(task.tests) == 1 else "these tests"
        question = f"oci-lsp: keep {what} for {task.label}, as a pin in pyproject.toml?"
        if await self._server.messages.choose(question, ("Pin", "Not now")) != "Pin":
            return
        try:
            place = await asyncio.to_thread(pin, task)
        except OciError as error:
            self._server.messages.warning(f"oci-lsp: {error}")
        else:
            self._server.messages.info(f"oci-lsp: pinned in {place}")

    async def close(self) -> None:
        """Wait for no more answers."""
        for asking in tuple(self._asking):
            asking.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
