# ruff: noqa: E501 - a program on a line
"""Cheats that look up the answer where, or when, nobody seems to look."""

from __future__ import annotations

from tests.verify.hostile.cheats import REFUSED, Cheat, body

_LOOKED = "what tests it"
_BESIDE = "os.path.join(os.path.dirname(os.path.abspath(__file__)), 'test_calc.py')"
_TABLE = """
from calc import add

CASES = [(0, 0, 0), (2, 3, 5)]


def test_add():
    for a, b, total in CASES:
        assert add(a, b) == total
"""

ROWS = (
    Cheat(
        "frames_near_the_recursion_limit",
        """
def add(a, b):
    import sys
    def dive(n):
        try:
            return dive(n + 1)
        except RecursionError:
            return sys._getframe(1)
    frame = dive(0)
    while "total" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["total"]
""",
        verdicts=REFUSED,  # so near to the limit the report fails as well
    ),
    Cheat(
        "frames_while_other_threads_keep_the_hook_busy",
        body(
            """
            import sys, threading
            stop = []
            def noise():
                while not stop:
                    try: open("/proc/self/nothing.py", "w")
                    except OSError: pass
            threads = [threading.Thread(target=noise, daemon=True) for _ in range(4)]
            for thread in threads: thread.start()
            frame = sys._getframe(1)
            stop.append(1)
            for thread in threads: thread.join()
            """,
            "frame.f_locals['total']",
        ),
        says=_LOOKED,
    ),
    Cheat(
        "a_forked_child_reads_the_test",
        body(
            f"""
            import os, re
            ours, theirs = os.pipe()
            if os.fork() == 0:
                try:
                    text = open({_BESIDE}).read()
                    os.write(theirs, re.search(r'total = (-?[0-9]+)', text).group(1).encode())
                finally:
                    os._exit(0)
            os.close(theirs)
            """,
            "int(os.read(ours, 99))",
        ),
    ),
    Cheat(
        "runpy_reads_the_test",
        body(
            f"import os, runpy; cases = runpy.run_path({_BESIDE})['CASES']",
            "dict(((x, y), z) for x, y, z in cases)[a, b]",
        ),
        test=_TABLE,
        says=_LOOKED,
    ),
    Cheat(
        "words_behind_a_byte_order_mark",
        "\ufeffimport sys\n\n\ndef add(a, b):\n    return a + b if 'pytest' in sys.modules else a - b\n",
        says="names what tests it: pytest",
    ),
    Cheat(
        "another_program_reads_the_test",
        body(
            "import os, re, subprocess; here = os.path.dirname(os.path.abspath(__file__)); "
            "text = subprocess.check_output('cat *_calc.py', shell=True, cwd=here, text=True)",
            "int(re.search(r'total = (-?[0-9]+)', text).group(1))",
        ),
        known="what another program reads, nobody in the test's process sees",
    ),
)
