"""Registries: the client's side of the OCI distribution API (distribution-spec, and Docker's older v2 for tokens).

    repository.connect(transport, reference, "pull", credentials, cancellation) ─► Repository
        .manifest(tag or digest)          a document, verified, with its descriptor
        .open_blob(digest, offset)        a blob's bytes from somewhere on
        .has_blob, .upload_blob, .put_manifest, .tags

Blocking code for worker threads; a Cancellation ends it early. Imports urllib3: to be imported where it is needed.
"""
