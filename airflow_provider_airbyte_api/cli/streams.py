"""Redirection of the standard streams, so that only results go to stdout."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO


@contextmanager
def logs_to_stderr() -> Iterator[None]:
    """Redirect stdout to stderr in the block, including loggers that hold the stream or its file descriptor."""
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
    """Reserve stdout for results for the rest of the process, because Airflow logs to it while it is imported.

    The block uses a separate stream as stdout. Code that writes to the file descriptor writes to stderr.
    """
    _reopen_closed_streams()
    results = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding, errors="backslashreplace")
    _flush(sys.stdout)
    os.dup2(2, 1)
    try:
        with redirect_stdout(results):
            yield
    finally:
        with contextlib.suppress(OSError):  # the reader has closed the pipe, which was reported before
            results.close()


def reopen_stdout() -> None:
    """Discard results if stdout is closed (``>&-``), because Python then has no stream for it."""
    if sys.stdout is None:
        sys.stdout = _null()  # until the process ends


def _null() -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")


def _reopen_closed_streams() -> None:
    """Open the null device for each closed standard stream, so that no other file gets its descriptor."""
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
