"""`python -m oci_lsp.lsp`: the server on stdin and stdout, without the command line around it."""

import sys

from oci_lsp.lsp.server import main_stdio

sys.exit(main_stdio())
