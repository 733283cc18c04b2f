"""Every shape of project: the wrong function fails for its own reason, the right one passes."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.verify.projects import buffers, doings, layouts, options, paths, places, styles, texts
from tests.verify.projects.shape import Shape, see

# What these are about could be told from a test's name or place: a pass is confirmed by a run more.
CONFIRMED = (*layouts.SHAPES, *places.SHAPES, *doings.SHAPES, *styles.SHAPES)
SHAPES = (*CONFIRMED, *options.SHAPES, *paths.SHAPES, *buffers.SHAPES, *texts.SHAPES)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
async def test_verdicts_are_true(shape: Shape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for module in shape.needs:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    for name, value in shape.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    folder = Path(tempfile.mkdtemp(prefix=".oci-", dir=Path.home())) if shape.at_home else tmp_path
    try:
        seen = await see(shape, folder, confirm=shape in CONFIRMED)
    finally:
        if shape.at_home:
            shutil.rmtree(folder)
    assert seen.wrong.verdict == "failed", (seen.wrong.summary, seen.wrong.feedback)
    assert shape.says in seen.wrong.summary + seen.wrong.feedback
    assert seen.right.verdict == "passed", (seen.right.summary, seen.right.feedback)
    assert seen.after == seen.before


def test_shapes_are_many_and_named():
    assert len(SHAPES) >= 80
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)
