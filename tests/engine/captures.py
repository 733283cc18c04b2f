"""Ways to capture a step without a GPU: one that fixes what Python decided, one that fails."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from oci_lsp.engine.process.capture import EagerCapture


class _Recorder(TorchDispatchMode):
    """Writes down each operation of torch with its very arguments, as a CUDA graph does."""

    def __init__(self):
        super().__init__()
        self.done = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default:
            raise RuntimeError("operation not permitted when stream is capturing")
        results = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, results))
        return results


class Recorded(EagerCapture):
    """A CUDA graph's stand-in: what Python decided while it was recorded never changes.

    What is replayed also writes to the memory that the first results lay in.
    """

    def __init__(self):
        self.recorded = self.replays = 0

    def record(self, work):
        with _Recorder() as recorder:
            results = work()
        self.recorded += 1

        def replay():
            self.replays += 1
            now: dict[int, torch.Tensor] = {}
            for func, args, kwargs, old in recorder.done:
                args, kwargs = tree_map_only(
                    torch.Tensor, lambda tensor: now.get(id(tensor), tensor), (args, kwargs)
                )
                new = func(*args, **kwargs)
                for before, after in zip(tree_flatten(old)[0], tree_flatten(new)[0], strict=True):
                    if isinstance(before, torch.Tensor):
                        now[id(before)] = after
            for result in results:
                result.copy_(now[id(result)].clone())
            return results

        return replay


class Broken(EagerCapture):
    """Fails half-way through, from the given capture on."""

    def __init__(self, good=0):
        self.good = good
        self.failed = 0

    def record(self, work):
        if self.good:
            self.good -= 1
            return work
        self.failed += 1
        work()
        raise RuntimeError("operation not permitted when stream is capturing")
