"""What a question means and how good the answer is."""
