"""What `oci-lsp doctor` looks at."""
