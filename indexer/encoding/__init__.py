"""What the encoder is made of, one concept a file; ``indexer.encoder`` puts them together."""
