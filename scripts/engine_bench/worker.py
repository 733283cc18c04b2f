"""One way of generating in a process of its own: `python worker.py WAY MODEL THREADS`.

Reads requests as JSON lines and answers each with one. The ways are in `ways.py`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine_bench import ways


def main() -> None:
    """Load, say so, answer until the requests end."""
    name, model, threads = sys.argv[1:]
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    started = time.perf_counter()
    way = ways.load(name, model, int(threads))
    print(json.dumps({"loaded": time.perf_counter() - started}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(way(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
