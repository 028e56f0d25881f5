"""Xet: large files in chunks that are stored once, as hf_xet sends and asks for them."""
