"""The table of candidates that rage: what each does, and what may become of it.

A row's body runs once, at the first call of `add`. It sees `BAIT`, what the host laid out, and
`tried(what, call, *arguments)`, which notes a call that should have been refused and was not. A
candidate with such a note fails; one without adds up as it should and passes.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

MEMORY_MB = 256
PROCESSES = 40

_HEAD = '''
import array, ctypes, errno, glob, json, mmap, os, pathlib, re, resource, shutil, signal, socket
import subprocess, sys, tempfile, threading, time

BAIT = {bait!r}
LIBC = ctypes.CDLL(None, use_errno=True)
HERE = pathlib.Path(__file__).parent
NOTED = []


def tried(what, call, *arguments):
    try:
        result = call(*arguments)
    except (OSError, ValueError, IndexError):  # an empty file has no first byte
        return None
    if isinstance(call, ctypes._CFuncPtr) and result < 0:
        return None
    NOTED.append(what)
    return result


def forked(work):
    """Run in a child that never comes back; its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def rage():
{body}


def add(a, b, done=[]):
    if not done:
        done.append(1)
        rage()
        if NOTED:
            raise RuntimeError("got through: " + ", ".join(map(str, NOTED)))
    return a + b
'''


@dataclass(frozen=True)
class Row:
    """One candidate.

    Attributes:
        verdicts: what the verdict may be.
        says: one of these must be in the feedback or the summary; empty: nothing is asked.
        timeout: seconds that the run gets.
        reduced: whether it is contained without a sandbox, too.
    """

    name: str
    body: str
    verdicts: tuple[str, ...] = ("passed",)
    says: tuple[str, ...] = ()
    timeout: float = 15.0
    reduced: bool = False

    def text(self, bait: dict[str, object]) -> str:
        """The candidate's module."""
        body = textwrap.indent(textwrap.dedent(self.body).strip("\n"), "    ")
        return _HEAD.format(bait=bait, body=body)


CRASHED = ("crashed",)
LATE = ("timed_out",)
SHORT = 1.2

BOMBS = (
    Row(
        "fork bomb",
        """
        while True:
            try: os.fork()
            except OSError: pass
        """,
        # Where it takes the processor from what counts processes, time is over first.
        (*CRASHED, *LATE),
        ("processes", "did not end"),
        reduced=True,
    ),
    Row(
        "fork bomb in new sessions, parents gone",
        """
        def spread():
            while True:
                try:
                    if os.fork(): os._exit(0)
                    os.setsid()
                    if os.fork() == 0: os.fork()
                except OSError: pass
        for _ in range(20):
            if os.fork() == 0: spread()
        time.sleep(60)
        """,
        CRASHED + LATE,
        timeout=3,
    ),
    Row(
        "thread bomb",
        """
        threading.stack_size(64 << 10)
        while True:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        """,
        ("crashed", "failed"),
        ("threads", "can't start new thread"),
        reduced=True,
    ),
    Row(
        "memory bomb",
        "x = []\nwhile True: x.append(bytearray(b'1') * (8 << 20))",
        ("failed", "crashed"),
        ("MemoryError", f"{MEMORY_MB} MB"),
        reduced=True,
    ),
    Row(
        "memory bomb in children",
        """
        for _ in range(4):
            forked(lambda: (bytearray(b'1') * (100 << 20), time.sleep(60)))
        time.sleep(60)
        """,
        CRASHED,
        (f"{MEMORY_MB} MB",),
        reduced=True,
    ),
    Row(
        "memory bomb in shared pages",
        """
        maps = []
        while True:
            maps.append(mmap.mmap(-1, 16 << 20))
            maps[-1].write(b'1' * (16 << 20))
        """,
        CRASHED,
        (f"{MEMORY_MB} MB",),
    ),
    Row(
        "memory bomb in memory files",
        """
        fds = []
        while True:
            fds.append(os.memfd_create("x"))
            os.write(fds[-1], b'1' * (16 << 20))
        """,
        CRASHED,
        (f"{MEMORY_MB} MB",),
    ),
    Row(
        "memory bomb in children that hide their maps",
        """
        def hide():
            LIBC.prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
            x = bytearray(b'1') * (100 << 20)
            time.sleep(60)
        for _ in range(4): forked(hide)
        time.sleep(60)
        """,
        CRASHED,
        (f"{MEMORY_MB} MB",),
    ),
    *(
        Row(
            f"disk bomb in {place}",
            f"""
            with open({path}, 'wb') as file:
                while True: file.write(b'1' * (1 << 20))
            """,
            ("crashed", "failed"),
            (f"{MEMORY_MB} MB", "No space left"),
        )
        for place, path in [
            ("/dev/shm", "'/dev/shm/x'"),
            ("/dev", "'/dev/x'"),
            ("/tmp", "'/tmp/x'"),
            ("the project", "HERE / 'x'"),
            ("the hidden home", "BAIT['home'] + '/.ssh/x'"),
        ]
    ),
    Row("a sparse file of a terabyte", "open(HERE / 'x', 'wb').truncate(1 << 40)"),
    Row(
        "as many files as can be",
        """
        n = 0
        while True:
            n += 1
            os.close(os.open(f'{HERE}/f{n}', os.O_CREAT))
        """,
        ("crashed", "failed", "timed_out"),
        timeout=SHORT,
    ),
    Row(
        "folders without a bottom",
        """
        os.chdir(HERE)
        for _ in range(3000):
            os.mkdir('d' * 50)
            os.chdir('d' * 50)
        os.chdir(HERE)
        """,
        reduced=True,
    ),
)

OUTPUT = (
    *(
        Row(name, body, ("failed", "crashed"), ("No space left", "MB"), reduced=reduced)
        for name, body, reduced in [
            ("print without an end", "while True: print('x' * 10_000)", False),
            ("stderr without an end", "while True: print('x' * 10_000, file=sys.stderr)", False),
            ("no newline ever", "while True: print('x' * 10_000, end='')", False),
            ("os.write(1) without an end", "while True: os.write(1, b'x' * 100_000)", False),
        ]
    ),
    Row(
        "a child prints without an end",
        """
        child = subprocess.Popen([sys.executable, '-c', "while True: print('x' * 10_000)"])
        time.sleep(60)
        """,
        LATE + CRASHED,
        timeout=SHORT,
    ),
    Row(
        "the log is filled up",
        """
        logs = [n for n in range(3, 200) if os.path.exists(f'/proc/self/fd/{n}')
                and os.readlink(f'/proc/self/fd/{n}').endswith('driver.log')]
        assert logs
        while True: os.write(logs[0], b'x' * 100_000)
        """,
        ("crashed", "failed", "broken"),  # pytest itself may be the first that cannot write
        (f"{MEMORY_MB} MB", "No space left", "File too large"),
    ),
    Row(
        "terminal escape codes everywhere",
        r"""
        nasty = '\x1b]0;owned\x07 \x1b[2J \x9b31m \x7f \r over \u202e desrever \ud800'
        sys.stdout.buffer.write(nasty.encode('utf-8', 'surrogatepass'))
        raise type(nasty, (ValueError,), {})(nasty)
        """,
        ("failed",),
        (r"\x1b[2J",),
        reduced=True,
    ),
    Row(
        "an exception of many megabytes",
        "raise ValueError('x' * (30 << 20))",
        ("failed",),
        ("ValueError",),
    ),
)

LOOPS = (
    Row("loop", "while True: pass", LATE, ("candidate.py",), SHORT, reduced=True),
    Row("loop in a regular expression", "re.match('(a+)+$', 'a' * 64 + 'b')", LATE, timeout=SHORT),
    Row("sleep", "time.sleep(600)", LATE, ("in rage",), SHORT, reduced=True),
    Row("deadlock", "lock = threading.Lock(); lock.acquire(); lock.acquire()", LATE, timeout=SHORT),
    Row(
        "every signal ignored",
        """
        for number in signal.valid_signals():
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        while True: pass
        """,
        LATE,
        timeout=SHORT,
    ),
    Row(
        "every signal blocked",
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nwhile True: pass",
        LATE,
        timeout=SHORT,
    ),
    Row("stops itself", "os.kill(os.getpid(), signal.SIGSTOP)", LATE, timeout=SHORT, reduced=True),
    Row("stops its group", "os.killpg(0, signal.SIGSTOP)", LATE, timeout=SHORT),
    Row("stops the supervisor", "os.kill(os.getppid(), signal.SIGSTOP)", LATE, timeout=SHORT),
    Row("an alarm", "signal.setitimer(signal.ITIMER_REAL, 0.1)\ntime.sleep(9)", CRASHED),
    Row("a thread that never ends", "threading.Thread(target=time.sleep, args=(600,)).start()"),
    Row("an exit that never ends", "import atexit; atexit.register(time.sleep, 600)"),
)

SIGNALS = (
    Row("kills its group", "os.killpg(0, signal.SIGKILL)", CRASHED),
    Row("kills everything", "os.kill(-1, signal.SIGKILL); time.sleep(9)", CRASHED),
    Row(
        "kills the supervisor",
        """
        forked(lambda: (os.setsid(), time.sleep(600)))
        os.kill(os.getppid(), signal.SIGKILL); time.sleep(9)
        """,
        CRASHED,
        reduced=True,
    ),
    Row(
        "interrupts the supervisor", "os.kill(os.getppid(), signal.SIGINT); time.sleep(9)", CRASHED
    ),
    Row(
        "kills process 1",
        """
        for number in signal.valid_signals():
            try: os.kill(1, number)
            except OSError: pass
        """,
        ("passed", "crashed"),
    ),
    Row(
        "kills processes of the host",
        "tried('kill', os.kill, BAIT['pid'], 0)\ntried('group', os.killpg, BAIT['pid'], 0)",
    ),
    Row("a segmentation fault", "ctypes.string_at(0)", CRASHED, ("signal 11",), reduced=True),
    Row(
        "a core dump",
        """
        tried('limit', resource.setrlimit, resource.RLIMIT_CORE, (1 << 30, 1 << 30))
        if NOTED: time.sleep(99)
        os.chdir(HERE)
        os.abort()
        """,
        CRASHED,
        ("signal 6",),
    ),
    Row(
        "precedence and higher limits",
        """
        tried('nice', os.setpriority, os.PRIO_PROCESS, 0, -10)
        tried('fifo', os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))
        tried('nice of all', os.setpriority, os.PRIO_PGRP, os.getppid(), -5)
        for name in ('RLIMIT_DATA', 'RLIMIT_CPU', 'RLIMIT_CORE', 'RLIMIT_RTPRIO'):
            tried(name, resource.setrlimit, getattr(resource, name), (-1, -1))
        tried('oom', pathlib.Path('/proc/self/oom_score_adj').write_text, '-1000')
        """,
    ),
    Row("another program takes its place", "os.execv('/bin/sleep', ['sleep', '600'])", CRASHED),
    Row("every file closed", "os.closerange(0, 4096); time.sleep(600)", CRASHED + LATE, (), SHORT),
)

LEFT_BEHIND = (
    Row(
        "daemons that hold the stream of results",
        "forked(lambda: (os.setsid(), time.sleep(600)))\nos._exit(0)",
        CRASHED,
        reduced=True,
    ),
    Row(
        "grandchildren in sessions of their own",
        """
        def away():
            os.setsid()
            forked(lambda: time.sleep(600))
            forked(lambda: (os.closerange(0, 4096), os.setsid(), time.sleep(600)))
        for _ in range(3): forked(away)
        """,
        reduced=True,
    ),
    Row(
        "a child that keeps the captured output",
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])",
    ),
    Row(
        "children without a name, stopped",
        """
        pid = forked(lambda: time.sleep(600))
        os.kill(pid, signal.SIGSTOP)
        """,
    ),
)
