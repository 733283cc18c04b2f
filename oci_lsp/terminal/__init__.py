"""What the commands of `oci-lsp` do in a terminal."""
