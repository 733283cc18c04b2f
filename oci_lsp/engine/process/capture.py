"""Work that is done again and again on the same tensors: captured once, then replayed.

For a few tokens a GPU is done sooner than Python has told it what to do: a 1.5B's step is some
1,500 kernels. A CUDA graph tells it all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

Results = tuple[torch.Tensor, ...]
Work = Callable[[], Results]
"""Computes from tensors that stay where they are; what it decides in Python never changes."""


class Capture(Protocol):
    """A way to have work done again."""

    def first(self, work: Work) -> Results:
        """Do work that has not been done yet: it may lay things out that later runs find."""
        ...

    def record(self, work: Work) -> Work:
        """The same work, to be done again; its results are good until it is done once more.

        Raises:
            Exception: the work, or the memory left, does not allow it. It may have been done.
        """
        ...


class EagerCapture:
    """Calls the work again each time."""

    def first(self, work: Work) -> Results:
        """See `Capture.first`."""
        return work()

    def record(self, work: Work) -> Work:
        """See `Capture.record`."""
        return work


class GraphCapture:
    """CUDA graphs.

    They share a memory pool: what they compute on the way is over before the next one runs. Their
    results are never given to another graph, since they are held here.
    """

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        # Warm-up and capture on one stream, as graphs that share a pool want it.
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def first(self, work: Work) -> Results:
        """See `Capture.first`."""
        caller = torch.cuda.current_stream()
        self._stream.wait_stream(caller)
        with torch.cuda.stream(self._stream):
            results = work()
        caller.wait_stream(self._stream)
        return results

    def record(self, work: Work) -> Work:
        """See `Capture.record`."""
        graph = torch.cuda.CUDAGraph()
        # The outer block brings the caller's stream back where a capture fails.
        with (
            torch.cuda.stream(self._stream),
            torch.cuda.graph(
                graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
            ),
        ):
            results = work()

        def replay() -> Results:
            graph.replay()
            return results

        return replay
