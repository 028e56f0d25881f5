"""An adapter on its base: read and checked, asked, joined by others."""
