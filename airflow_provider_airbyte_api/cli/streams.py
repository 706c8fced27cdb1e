"""The standard streams: results go to stdout, and nothing else does."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO


@contextmanager
def logs_to_stderr() -> Iterator[None]:
    """Send to stderr what is written to stdout in the block, also by a logger that has kept the stream or the file."""
    out, err = sys.__stdout__, sys.stderr
    if out is None or sys.stdout is not out:
        with redirect_stdout(err):
            yield
        return
    kept = os.dup(out.fileno())
    try:
        _flush(out)
        os.dup2(err.fileno(), out.fileno())
        with redirect_stdout(err):
            yield
    finally:
        _flush(out)
        os.dup2(kept, out.fileno())
        os.close(kept)


@contextmanager
def results_to_stdout() -> Iterator[None]:
    """Let stdout be for results alone, for the rest of this process: Airflow logs to it while it is imported.

    The block sees a stream of its own as stdout. Whatever has its hands on the file descriptor writes to stderr.
    """
    _reopen_closed_streams()
    results = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors="backslashreplace")
    _flush(sys.stdout)
    os.dup2(2, 1)
    try:
        with redirect_stdout(results):
            yield
    finally:
        with contextlib.suppress(OSError):  # nobody reads any more, which has been said already
            results.close()


def reopen_stdout() -> None:
    """Discard results if stdout is closed (``>&-``): Python has no stream then at all."""
    if sys.stdout is None:
        sys.stdout = _null()  # until the process ends


def _null() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def _reopen_closed_streams() -> None:
    """Open the null device in place of a standard stream that is closed, lest another file take its number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    reopen_stdout()
    if sys.stderr is None:
        sys.stderr = _null()  # as above


def _flush(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
