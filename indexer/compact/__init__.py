"""The bundled compact encoder: an open_clip config and its weights, read with `local-dir:`. See README.md here."""
