"""The driver: runs pytest in the project's own Python. Standard library only, Python 3.9.

Started by the supervisor as `python driver.py REQUEST_FD EVENT_FD`. It says hello, imports what is
slow to import, then waits for one request, runs it, and reports by events alone: its exit status
and what it prints mean nothing.
"""

import os
import sys

OLDEST = (3, 9)
PACKAGE = "_oci_lsp_inside"
PYTEST_OLDEST = 7


def main() -> None:
    request_fd, event_fd = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(request_fd, False)
    os.set_inheritable(event_fd, False)
    if sys.version_info[:2] < OLDEST:
        # By hand: the channel may be written in a syntax that is too new.
        from seal import seal  # type: ignore[import-not-found]

        event = ('{"type": "hello", "python": "%d.%d"}' % sys.version_info[:2]).encode("ascii")
        os.write(event_fd, seal("", "", event).encode("ascii") + b" " + event + b"\n")
        return
    here = os.path.dirname(os.path.abspath(__file__))
    # The script's own folder must not shadow the project's modules: ours are loaded as a package
    # of a name that no project has.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    sys.argv = ["pytest"]
    import builtins
    import importlib.machinery
    import importlib.util
    import types

    own_builtins = dict(vars(builtins))

    class Loader(importlib.machinery.SourceFileLoader):
        """Gives our modules builtins of their own: the candidate may replace the others."""

        def exec_module(self, module: types.ModuleType) -> None:
            vars(module)["__builtins__"] = own_builtins
            super().exec_module(module)

    class Finder:
        """Finds our modules."""

        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> object:
            parent, _, last = name.rpartition(".")
            if parent != PACKAGE:
                return None
            file = os.path.join(here, last + ".py")
            return importlib.util.spec_from_file_location(name, file, loader=Loader(name, file))

    package = types.ModuleType(PACKAGE)
    package.__path__ = [here]
    sys.modules[PACKAGE] = package
    sys.meta_path.insert(0, Finder)  # type: ignore[arg-type]
    session = importlib.import_module(PACKAGE + ".session")
    session.serve(request_fd, event_fd, lambda: sys.meta_path.remove(Finder))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
