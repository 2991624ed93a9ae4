"""Pictures that do not exist yet; knows nothing of the other rooms."""
