"""How vectors are made and where they live: pictures, encoder, vectors, catalogue, library, pipeline."""
