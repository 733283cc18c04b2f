"""The thread that owns the model: loads it, then generates for one request after the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from oci_lsp.engine import catalogue
from oci_lsp.engine.process.chat import ChatRequest, RequestError
from oci_lsp.engine.process.generation import (
    CancelledGenerationError,
    Counts,
    Generation,
    Piece,
)
from oci_lsp.errors import OciError

if TYPE_CHECKING:
    from oci_lsp.engine.process.decode import Decoder
    from oci_lsp.engine.process.model import Loaded

log = logging.getLogger(__name__)

Load = Callable[[Callable[[str, float], None]], "Loaded"]
"""Loads the model, reporting what it does and the fraction done."""


@dataclass(frozen=True)
class Failed:
    """A request came to nothing: HTTP status, message, and the field at fault."""

    status: int
    message: str
    param: str | None = None


@dataclass(frozen=True)
class Finished:
    """A request was served whole."""

    counts: Counts


@dataclass(frozen=True)
class Waiting:
    """A request waits for so many others; 0: its turn has come."""

    ahead: int


Event = Piece | Failed | Finished | Waiting


@dataclass(eq=False)
class Job:
    """A request on its way through the worker; its events come out of `events`, in its loop."""

    request: ChatRequest
    loop: asyncio.AbstractEventLoop
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    cancelled: threading.Event = field(default_factory=threading.Event)
    counts: Counts = field(default_factory=Counts)
    # How many are before it, as it was last told.
    place: int = 0

    def put(self, event: Event) -> None:
        """Hand an event over to the loop (from the worker's thread)."""
        # The loop is closed when the service ends before the worker.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.events.put_nowait, event)


class Worker:
    """Owns the model and the queue of requests; all methods may be called from any thread.

    Args:
        load: loads the model, in the worker's thread.
        model: its name, for messages.
    """

    def __init__(self, load: Load, model: str = "") -> None:
        self._load = load
        self._model = model
        self._decoder: Decoder | None = None
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._closing = False
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="engine-worker", daemon=True)
        self.status: Literal["loading", "ready", "error"] = "loading"
        self.progress = 0.0
        self.detail = ""
        self._active = time.monotonic()

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def close(self, seconds: float = 5.0) -> bool:
        """Stop what runs, fail what waits; whether the thread ended in time."""
        with self._change:
            self._closing = True
            if self._running is not None:
                self._running.cancelled.set()
            self._change.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def submit(self, job: Job) -> None:
        """Put a request at the end of the queue."""
        with self._change:
            self._waiting.append(job)
            self._tell_places()
            self._change.notify()
        self.touch()

    def cancel(self, job: Job) -> None:
        """Stop a request, or take it out of the queue; its events do not matter any more."""
        job.cancelled.set()
        with self._change:
            if job in self._waiting:
                self._waiting.remove(job)
                self._tell_places()
        self.touch()

    def _tell_places(self) -> None:
        """Tell those that wait how many are before them, where that has changed."""
        for place, job in enumerate(self._waiting, int(self._running is not None)):
            if place != job.place:
                job.place = place
                job.put(Waiting(place))

    @property
    def queue(self) -> int:
        """Requests that run or wait."""
        with self._change:
            return len(self._waiting) + (self._running is not None)

    def touch(self) -> None:
        """Count this moment as one of use."""
        self._active = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Seconds since the engine was last of use; 0 while it loads or generates."""
        if self.status == "loading" or self.queue:
            return 0.0
        return time.monotonic() - self._active

    def _report(self, detail: str, fraction: float) -> None:
        self.detail, self.progress = detail, fraction

    def _run(self) -> None:
        try:
            self._report("Starting torch", 0.0)
            # Here, in the thread, since it takes seconds: health is answered meanwhile.
            from oci_lsp.engine.process.decode import Decoder

            loaded = self._load(self._report)
            self._decoder = Decoder(
                loaded.model,
                loaded.tokenizer,
                stop_tokens=loaded.stop_tokens,
                context=loaded.context,
                cache_bytes=loaded.cache_bytes,
                measured=loaded.measured,
            )
            self._report("Warming up", 0.95)
            self._decoder.warm_up()
        except Exception as error:
            log.exception("The model could not be loaded")
            known = isinstance(error, OciError)
            self.detail = str(error) if known else f"{type(error).__name__}: {error}"
            self.touch()
            self.status = "error"
        else:
            self._report("", 1.0)
            self.touch()
            self.status = "ready"
        while (job := self._next()) is not None:
            last: Event | None = None
            try:
                last = self._serve(job)
            except CancelledGenerationError:
                pass
            except Exception as error:
                # Not even freeing memory works any more, as after a fault of the GPU: whoever comes
                # next is to start a new engine.
                log.exception("The engine cannot go on")
                last = Failed(500, f"The engine cannot go on: {type(error).__name__}: {error}")
                self.detail = f"The engine cannot go on: {type(error).__name__}: {error}"
                self.status = "error"
                self._decoder = None
            # Before the last event: who has read it finds the queue without the request.
            with self._change:
                self._running = None
            self.touch()
            if last is not None:
                job.put(last)

    def _next(self) -> Job | None:
        """The next request, waited for; None: the worker is to end."""
        with self._change:
            while not self._waiting and not self._closing:
                self._change.wait()
            if self._closing:
                for job in self._waiting:
                    job.put(Failed(503, "The engine is shutting down; try again"))
                self._waiting.clear()
                return None
            self._running = self._waiting.popleft()
            if self._running.place:
                self._running.put(Waiting(0))
            self._tell_places()
            return self._running

    def _serve(self, job: Job) -> Event:
        """Generate for a request; its last event.

        Raises:
            CancelledGenerationError: its client went away.
        """
        if self._decoder is None:
            return Failed(503, f"The model could not be loaded: {self.detail}")
        from oci_lsp.engine.process.model import is_out_of_memory

        counts = job.counts
        try:
            generation = self._generation(job.request, self._decoder)
            if not self._fits(generation, job):
                # What is kept of earlier conversations may be what is in the way.
                log.warning("Out of memory: forgetting earlier conversations")
                self._free()
                self._generate(generation, job)
        except RequestError as error:
            return Failed(error.status, str(error), error.param)
        except CancelledGenerationError:
            raise
        except Exception as error:
            self._free()
            if is_out_of_memory(error):
                log.warning("Out of memory: %s", error)
                return Failed(503, self._out_of_memory())
            log.exception("A generation failed")
            return Failed(500, f"The generation failed: {type(error).__name__}: {error}")
        log.info(
            "%d+%d prompt tokens in %.2f s, %d tokens in %.2f s",
            counts.prompt_tokens - counts.cached_tokens,
            counts.cached_tokens,
            counts.prefill_seconds,
            counts.completion_tokens,
            counts.decode_seconds,
        )
        return Finished(counts)

    def _fits(self, generation: Generation, job: Job) -> bool:
        """Generate; False: the memory ran out before anything was said.

        The error ends here: its traceback would hold what the attempt had allocated.
        """
        from oci_lsp.engine.process.model import is_out_of_memory

        try:
            self._generate(generation, job)
        except Exception as error:
            if not is_out_of_memory(error) or job.counts.completion_tokens:
                raise
            return False
        return True

    def _generate(self, generation: Generation, job: Job) -> None:
        assert self._decoder is not None
        for piece in self._decoder.generate(generation, job.cancelled.is_set, job.counts):
            job.put(piece)

    def _out_of_memory(self) -> str:
        """What to do where the device has no memory for a request."""
        text = (
            "The device has not enough free memory for this request: ask for fewer candidates "
            "(refine.candidates) or a shorter prompt (refine.contextTokens)"
        )
        assert self._decoder is not None
        kind = self._decoder.model.device.type
        smaller = catalogue.smaller(self._model, kind)
        if smaller is None:
            return text
        needed = smaller.memory_bytes(kind) / 1e9
        return f"{text}, or take {smaller.name}, which needs {needed:.1f} GB"

    def _generation(self, request: ChatRequest, decoder: Decoder) -> Generation:
        """The request in tokens.

        Raises:
            RequestError: the chat template refuses it, or there is no room for a reply.
        """
        try:
            encoded = decoder.tokenizer.apply_chat_template(
                list(request.messages), add_generation_prompt=True, return_dict=True
            )
        except Exception as error:
            raise RequestError(f"The model's chat template refuses this: {error}") from error
        prompt: list[int] = list(encoded["input_ids"])
        if len(prompt) >= decoder.context:
            raise RequestError(
                f"The prompt has {len(prompt)} tokens; this model takes {decoder.context} for "
                "prompt and reply together",
                "messages",
            )
        prediction: list[int] = []
        if request.prediction:
            prediction = decoder.tokenizer(request.prediction, add_special_tokens=False)[
                "input_ids"
            ]
        return Generation(
            prompt=prompt,
            rows=request.rows,
            max_tokens=request.max_tokens,
            stop=request.stop,
            after_code=request.stop_after_code,
            definition=request.stop_after_definition,
            prediction=prediction,
        )

    def _free(self) -> None:
        """Give memory back after a failure."""
        assert self._decoder is not None
        self._decoder.forget()
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
