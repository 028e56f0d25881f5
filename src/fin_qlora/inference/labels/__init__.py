"""Labels side by side behind one prompt: which tokens they share, where they stand, their sums."""
