"""What a finished run leaves: the adapter's folder and its canaries."""
