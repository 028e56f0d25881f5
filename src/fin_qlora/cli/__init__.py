"""The command line ``fin-qlora``: one module a noun; each parses, calls the library and prints."""
