"""`oci-lsp trust`: the folders whose code the user lets run from an editor."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from oci_lsp import trust
from oci_lsp.errors import TargetError


def run(options: argparse.Namespace) -> int:
    """Trust a folder, take trust back, or list the trusted ones; the exit status.

    Raises:
        TargetError: there is no such folder, or `--revoke` without one.
    """
    if options.folder is None:
        if options.revoke:
            raise TargetError("Which folder is no longer trusted?", "oci-lsp trust --revoke FOLDER")
        print("\n".join(map(str, trust.folders())) or "No folder is trusted yet.")
        return 0
    folder = Path(options.folder).resolve()
    if options.revoke:
        gone = trust.revoke(folder)
        print("\n".join(f"No longer trusted: {path}" for path in gone) or "It was not trusted.")
        return 0
    if not folder.is_dir():
        raise TargetError(f"There is no folder {options.folder}", "`oci-lsp trust .` is this one.")
    trust.trust(folder)
    print(f"Trusted, with all that is in it: {folder}", file=sys.stderr)
    return 0
