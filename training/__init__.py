"""Recipes that made the bundled models. Nothing else in the project imports this package."""
