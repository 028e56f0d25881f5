"""An adapter put into the weights of its base, and checked there."""
