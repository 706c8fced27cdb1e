"""The only network I/O of this package: two thin clients, one sync and one async, that run the flows of ``api``."""
