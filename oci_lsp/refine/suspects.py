"""Which function a failing test blames: spectrum-based fault localisation, Ochiai's coefficient.

Abreu, Zoeteweij and van Gemund, "On the Accuracy of Spectrum-based Fault Localization",
TAICPART-MUTATION 2007: the more red and the fewer green tests enter a function, the likelier it is
at fault, and of eight such coefficients Ochiai's ranks the faulty one highest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Named:
    """A function by its file and its qualified name."""

    path: Path
    qualname: str


@dataclass(frozen=True)
class Spectrum:
    """What one test entered.

    Attributes:
        entered: functions in the order in which they were first called.
        raising: of these, those that the failure's traceback passed, the outermost first.
    """

    entered: tuple[Named, ...]
    raising: tuple[Named, ...] = ()


@dataclass(frozen=True)
class Suspect:
    """A function that may be at fault; `score` is Ochiai's coefficient, above 0 up to 1."""

    function: Named
    score: float


def suspects(
    spectra: Mapping[str, Spectrum], red: Collection[str], green: Collection[str]
) -> dict[str, tuple[Suspect, ...]]:
    """The suspects of each red test, the first suspect first.

    Of equal scores the one comes first that is nearer to where the traceback ends, then the one
    that the test entered later: callees before those who call them.

    Args:
        spectra: by test; those of tests that are neither red nor green tell nothing.
    """
    failed = Counter(f for test in red for f in set(spectra[test].entered))
    passed = Counter(f for test in green for f in set(spectra[test].entered))

    def ochiai(function: Named) -> float:
        hits = failed[function]
        return hits / math.sqrt(len(red) * (hits + passed[function]))

    def ranked(one: Spectrum) -> tuple[Suspect, ...]:
        inward = one.raising[::-1]
        order = {function: number for number, function in enumerate(one.entered)}

        def place(suspect: Suspect) -> tuple[float, int, int]:
            raised = suspect.function in inward
            distance = inward.index(suspect.function) if raised else len(inward)
            return -suspect.score, distance, -order[suspect.function]

        return tuple(sorted((Suspect(f, ochiai(f)) for f in order), key=place))

    return {test: ranked(spectra[test]) for test in red}
