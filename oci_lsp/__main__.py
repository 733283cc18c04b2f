"""`python -m oci_lsp` is `oci-lsp`."""

import sys

from oci_lsp.cli import main

sys.exit(main())
