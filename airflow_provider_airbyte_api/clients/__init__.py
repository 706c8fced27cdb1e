"""The only network I/O of this package: two thin drivers that perform the conversations of ``api``."""
