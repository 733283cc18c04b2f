"""What only type inference finds: a real worker on a real project, and its end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from oci_lsp.source.context import Location, context
from oci_lsp.source.functions import Function, parse
from oci_lsp.source.inference import Inference, questions
from oci_lsp.source.project import Project

PAY = """\
from bank.ledger import Ledger


class Desk:
    def __init__(self):
        self.ledger = Ledger()

    def may_pay(self, name, amount):
        account = self.ledger.find(name)
        return account.balance >= amount
"""
ACCOUNTS = """\
class Account:
    def __init__(self, balance, credit):
        self.balance = balance
        self.credit = credit

    def spendable(self):
        return self.balance + self.credit
"""
LEDGER = """\
from bank.accounts import Account


class Ledger:
    def find(self, name):
        return Account(1, 2)
"""


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    root = tmp_path.resolve()
    (root / "bank").mkdir()
    (root / "bank" / "__init__.py").write_text("")
    (root / "bank" / "accounts.py").write_text(ACCOUNTS)
    (root / "bank" / "ledger.py").write_text(LEDGER)
    (root / "bank" / "pay.py").write_text(PAY)
    return root


def desk(bank: Path) -> tuple[Project, Path, Function]:
    """The project, a file of it, and the function in it that is asked about."""
    target = parse(PAY).named("Desk.may_pay")
    assert target is not None
    return Project(bank), bank / "bank" / "pay.py", target


async def inferred(bank: Path) -> tuple[Location, ...]:
    """What a worker finds."""
    project, path, target = desk(bank)
    inference = Inference()
    async with asyncio.timeout(60):
        await inference.run(project, questions(project, path, target), path)
    return inference.found


async def test_the_class_of_an_untyped_local_name_is_found_and_shown(bank):
    project, path, target = desk(bank)
    found = await inferred(bank)
    accounts = bank / "bank" / "accounts.py"
    assert Location(accounts, "Account") in found
    without = context(project, path, target, tokens=1000).text
    with_it = context(project, path, target, tokens=1000, inferred=found).text
    assert "spendable" not in without
    assert "def spendable(self)" in with_it


async def test_a_cancelled_inference_leaves_no_process(bank):
    project, path, target = desk(bank)
    before = {child.pid for child in psutil.Process().children()}
    running = asyncio.create_task(Inference().run(project, questions(project, path, target), path))
    while not {child.pid for child in psutil.Process().children()} - before:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert {child.pid for child in psutil.Process().children()} <= before


async def test_nothing_of_the_project_is_executed(bank):
    trap = f"open({str(bank / 'trap')!r}, 'w')\n"
    for name in ("sitecustomize.py", "jedi.py", "json.py", "conftest.py", "bank/__init__.py"):
        (bank / name).write_text(trap)
    assert await inferred(bank)
    assert not (bank / "trap").exists()


OWNER = """\
import asyncio, sys
from pathlib import Path

import psutil

from oci_lsp.source.inference import Asked, Inference
from oci_lsp.source.project import Project


async def main():
    path = Path(sys.argv[1])
    project = Project(path.parent.parent)
    # The parameter `amount`, which leads nowhere, so often that it takes minutes.
    asked = Asked(project.file(path), ((8, 28, "type"),) * 500_000, False)
    running = asyncio.create_task(Inference().run(project, [asked], path))
    while not (children := psutil.Process().children()):
        await asyncio.sleep(0.01)
    await asyncio.sleep(1.5)
    print(children[0].pid, flush=True)
    await running


asyncio.run(main())
"""


def test_a_worker_does_not_outlive_an_owner_that_is_killed(bank):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(bank / "bank" / "pay.py")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    with owner, owner.stdout:
        worker = psutil.Process(int(owner.stdout.readline()))
        # It would go on by itself: it is still busy well after it was started.
        assert worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
        owner.kill()
    _, alive = psutil.wait_procs([worker], timeout=5)
    assert not alive
