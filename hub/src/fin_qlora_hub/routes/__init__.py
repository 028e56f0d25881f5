"""The hub's HTTP interface, one module for each noun."""
