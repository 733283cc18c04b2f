"""The driver: runs pytest in the project's own Python. Standard library only, Python 3.9.

Started by the supervisor as `python driver.py REQUEST_FD EVENT_FD`. It says hello, imports what is
slow to import, then waits for one request, runs it, and reports by events alone: its exit status
and what it prints mean nothing.
"""

import os
import sys

OLDEST = (3, 9)
PYTEST_OLDEST = 7


def main() -> None:
    request_fd, event_fd = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(request_fd, False)
    os.set_inheritable(event_fd, False)
    if sys.version_info[:2] < OLDEST:
        # By hand: the channel may be written in a syntax that is too new.
        event = '{"type": "hello", "nonce": "", "sequence": 0, "python": "%d.%d"}\n'
        os.write(event_fd, (event % sys.version_info[:2]).encode("ascii"))
        return
    here = os.path.dirname(os.path.abspath(__file__))
    # The script's own folder must not shadow the project's modules: ours are loaded as a package
    # of a name that no project has.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    sys.argv = ["pytest"]
    import importlib
    import types

    package = types.ModuleType("_oci_lsp_inside")
    package.__path__ = [here]
    sys.modules[package.__name__] = package
    session = importlib.import_module("_oci_lsp_inside.session")
    session.serve(request_fd, event_fd)


if __name__ == "__main__":
    main()
