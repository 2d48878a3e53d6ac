"""What is said of a result beside it: in-toto statements, for `--attest`, `--provenance` and `--sbom`."""
