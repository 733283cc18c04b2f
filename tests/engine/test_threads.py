"""The number of threads follows what steps cost; the machine is played by a cost function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from oci_lsp.engine.process.threads import Threads, busy_others


class Machine:
    """Costs of a step by its number of threads and the busy processes beside it."""

    def __init__(self, cores: int) -> None:
        self.cores = cores
        self.busy = 0
        self.threads = 0
        self.spent = 0.0

    def use(self, threads: int) -> None:
        self.threads = threads

    def step(self) -> float:
        lacking = max(0, self.threads + self.busy - self.cores)
        # One thread without a core is waited for by all; a lone thread waits for nobody.
        penalty = 4 if lacking and self.threads > 1 else 1
        seconds = 0.1 / float(self.threads**0.6) * penalty
        self.spent += seconds
        return seconds

    def run(self, threads: Threads, steps: int, rows: int = 1) -> list[int]:
        used = []
        for _ in range(steps):
            used.append(self.threads)
            threads.step(rows, self.step())
        return used


def crew(machine: Machine, busy: Callable[[], int] = lambda: 0) -> Threads:
    threads = Threads(machine.cores, machine.use, busy, machine.cores)
    threads.begin()
    return threads


def test_an_idle_machine_gives_all_its_threads() -> None:
    machine = Machine(2)
    assert set(machine.run(crew(machine), 200)) == {2}


def test_a_missing_core_takes_threads_away_and_a_free_one_gives_them_back() -> None:
    machine = Machine(2)
    threads = crew(machine)
    machine.run(threads, 20)
    machine.busy = 1
    used = machine.run(threads, 100)
    assert used.count(1) > 85
    machine.busy = 0
    assert machine.run(threads, 150)[-40:] == [2] * 40


def test_beside_a_busy_process_the_choice_costs_little() -> None:
    machine = Machine(2)
    threads = crew(machine)
    machine.run(threads, 20)
    machine.busy, machine.spent = 1, 0.0
    machine.run(threads, 200)
    assert machine.spent < 1.25 * 200 * 0.1  # against one thread all the time


def test_a_row_that_ends_as_its_test_begins_does_not_hide_the_missing_core() -> None:
    machine = Machine(2)
    threads = crew(machine)
    machine.run(threads, 40, rows=4)
    machine.busy = 1
    assert machine.run(threads, 60, rows=3).count(1) > 45


def test_a_trial_ends_where_the_rows_change() -> None:
    machine = Machine(2)
    machine.busy = 1
    threads = crew(machine, lambda: 1)
    while machine.threads == 1:
        machine.run(threads, 1, rows=4)
    machine.run(threads, 1, rows=1)
    assert machine.threads == 1


def test_a_machine_that_is_slower_as_a_whole_is_not_tried_again_and_again() -> None:
    machine = Machine(2)
    threads = crew(machine)
    machine.run(threads, 20)
    used = []
    for _ in range(100):
        used.append(machine.threads)
        threads.step(1, machine.step() * 2)
    assert used.count(1) < 10


def test_with_many_cores_one_busy_process_costs_one_thread() -> None:
    machine = Machine(8)
    threads = crew(machine)
    machine.run(threads, 20)
    machine.busy = 1
    assert machine.run(threads, 40)[-5:].count(7) >= 4


def test_steps_that_are_slow_for_another_reason_change_nothing_for_long() -> None:
    machine = Machine(2)
    threads = crew(machine)
    machine.run(threads, 20)
    for _ in range(100):
        threads.step(1, machine.step() * 5)  # the whole machine is slow
    assert machine.run(threads, 200)[-50:].count(2) > 40


def test_more_rows_in_a_step_are_no_sign_of_a_missing_core() -> None:
    machine = Machine(2)
    threads = crew(machine)
    machine.run(threads, 20, rows=1)
    for _ in range(20):
        threads.step(8, machine.step() * 4)
    assert threads.count == 2


def test_a_request_begins_with_the_cores_that_are_free() -> None:
    used: list[int] = []
    busy = 0
    threads = Threads(4, used.append, lambda: busy, 4)
    threads.begin()
    assert used[-1] == 4
    busy = 4
    threads.begin()
    assert used[-1] == 1


def test_a_single_thread_is_left_alone() -> None:
    used: list[int] = []
    threads = Threads(1, used.append, lambda: 0, 4)
    threads.begin()
    threads.step(1, 1.0)
    assert used == []


@pytest.mark.parametrize(
    ("text", "others"),
    [("cpu 1 2\nprocs_running 4\nprocs_blocked 0\n", 3), ("procs_running 1\n", 0), ("odd", 0)],
)
def test_runnable_threads_besides_ours(tmp_path: Path, text: str, others: int) -> None:
    stat = tmp_path / "stat"
    stat.write_text(text)
    assert busy_others(stat) == others


def test_no_such_file_means_nobody_is_known_to_be_busy(tmp_path: Path) -> None:
    assert busy_others(tmp_path / "none") == 0
