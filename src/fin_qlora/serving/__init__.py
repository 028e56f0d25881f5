"""Adapters for an engine that serves them: what may be served, fetched and checked.

It is imported inside the engine's own environment, which lacks most of what this package needs
elsewhere (peft, trl, datasets), and in engines that never asked for it: importing it does nothing.
"""
