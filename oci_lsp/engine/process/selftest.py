"""A real NF4 product, held against the dense one; run by `oci-lsp doctor` in a process of its own.

`python -m oci_lsp.engine.process.selftest cpu|cuda` prints one JSON object: `device`, `torch`,
`bitsandbytes`, `error` (the largest of the product, relative to the dense product's largest) and
`milliseconds` (of one row's product). What is wrong is printed as `{"failed": WHY}`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

# A layer of the 1.5B model; one row is a decoded token, many are a prompt.
_IN, _OUT = 1536, 1536
_ROWS = (1, 64)
_REPEATS = 20


def main(device: str) -> int:
    """Print what was found; 0: the kernels compute."""
    try:
        found = _examine(device)
    except Exception as error:  # noqa: BLE001 - a broken installation fails in ways of its own
        found = {"failed": f"{type(error).__name__}: {error}"}
    print(json.dumps(found))  # noqa: T201 - the answer to who started this process
    return 1 if "failed" in found else 0


def _examine(device: str) -> dict[str, Any]:
    import bitsandbytes as bnb
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"built for CUDA {built}, cannot use the GPU" if built else "a CPU build"
        return {"failed": f"torch {torch.__version__} is {why}"}
    torch.manual_seed(0)
    dense = torch.randn(_OUT, _IN, dtype=torch.bfloat16) / _IN**0.5
    layer = bnb.nn.Linear4bit(_IN, _OUT, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
    layer.weight = bnb.nn.Params4bit(
        dense, requires_grad=False, compress_statistics=True, quant_type="nf4", module=layer
    )
    layer = layer.to(device)
    # Before the first product, which lays the weights out anew on a CPU.
    kept = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
    with torch.inference_mode():
        errors = [_error(layer, kept, rows) for rows in _ROWS]
        row = torch.randn(1, _IN, dtype=torch.bfloat16, device=device)
        start = time.perf_counter()
        for _ in range(_REPEATS):
            last = layer(row)
        # Work on a GPU is done only when its result is here.
        last.cpu()
        milliseconds = (time.perf_counter() - start) / _REPEATS * 1000
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "torch": torch.__version__,
        "bitsandbytes": bnb.__version__,
        "error": max(errors),
        "milliseconds": milliseconds,
    }


def _error(layer: Any, weights: Any, rows: int) -> float:
    """The largest difference to the dense product, relative to its largest value."""
    import torch

    given = torch.randn(rows, _IN, dtype=torch.bfloat16, device=weights.device)
    wanted = given.float() @ weights.T
    return float((layer(given).float() - wanted).abs().max() / wanted.abs().max())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
