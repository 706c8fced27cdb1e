"""The table and the plot in ``docs/performance.md``."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias

from benchmarks.bench_slices import TASKS, SliceStats
from benchmarks.bench_triggers import INTERVAL, TriggerStats
from benchmarks.bench_workers import PROCESSES, SOURCES, WorkerStats
from benchmarks.environments import LATENCY, ROOT
from benchmarks.parsing import Parsing

PAGE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "images" / "waiting.svg"
BEGIN, END = "<!-- measured: written by make bench -->", "<!-- end of what was measured -->"
NONE = "-"
Measure: TypeAlias = Callable[[TriggerStats], float | None]


@dataclass(frozen=True)
class Measured:
    """All that one run measured. ``works`` has a third one, ``disk``: ours with ``disk_cache``."""

    crowds: list[TriggerStats]
    bursts: list[TriggerStats]
    parses: dict[str, Parsing]
    works: dict[str, WorkerStats]
    slices: dict[str, SliceStats]
    airflow_version: str
    official_version: str

    def crowd(self, provider: str, count: int) -> TriggerStats | None:
        return next((each for each in self.crowds if (each.provider, each.count) == (provider, count)), None)


def table(measured: Measured) -> str:
    """Return everything as Markdown."""
    rows: list[tuple[str, str, str, str]] = []
    for count in sorted({crowd.count for crowd in measured.crowds}):
        ours, official = measured.crowd("ours", count), measured.crowd("official", count)
        if ours is None:
            continue
        for name, of, unit in WAITING:
            pair = of(ours), (None if official is None else of(official))
            rows.append((f"{count:,} waiting: {name}", *_cells(pair[0], pair[1], unit)))
    ours, official = measured.bursts
    rows.append(
        (
            f"{ours.count} that start in one iteration of the loop: longest stall",
            *_cells(1000 * ours.longest_stall, 1000 * official.longest_stall, "ms"),
        )
    )
    ours_parse, official_parse = measured.parses["ours"], measured.parses["official"]
    rows.append(
        (
            "parsing: import of operators and sensors",
            *_cells(1000 * ours_parse.seconds, 1000 * official_parse.seconds, "ms"),
        )
    )
    ours_work, official_work, disk = (measured.works[name] for name in ("ours", "official", "disk"))
    ours_slice, official_slice = measured.slices["ours"], measured.slices["official"]
    rows += [
        ("one sync, polled 3 times: requests", *_cells(_total(ours_work), _total(official_work), "")),
        (f"{PROCESSES} processes that start together: tokens", *_cells(ours_work.tokens, official_work.tokens, "")),
        ("the same with `disk_cache`", *_cells(disk.tokens, None, "")),
        (f"{SOURCES:,} sources listed", *_cells(ours_work.list_seconds, official_work.list_seconds, "s")),
    ]
    rows += [
        (f"{TASKS} deferred tasks on a whole Airflow: {name}", *_cells(of(ours_slice), of(official_slice), unit))
        for name, of, unit in SLICES
    ]
    head = "| | this package | official | ratio |\n|---|---:|---:|---:|\n"
    return head + "\n".join(f"| {' | '.join(row)} |" for row in rows)


WAITING: list[tuple[str, Measure, str]] = [
    ("longest stall of the event loop", lambda crowd: 1000 * crowd.longest_stall, "ms"),
    ("requests in a poll interval", lambda crowd: crowd.requests_per_interval, ""),
    ("peak concurrent requests", lambda crowd: crowd.peak_in_flight, ""),
    ("memory for each", lambda crowd: crowd.bytes_each / 1024, "KB"),
    ("CPU for 1,000 jobs and poll", lambda crowd: 1000 * crowd.cpu_per_1000_and_poll, "ms"),
    ("end of a job to its event, median", lambda crowd: crowd.median_delay, "s"),
    ("end of a job to its event, maximum", lambda crowd: crowd.longest_delay, "s"),
]


SLICES: list[tuple[str, Callable[[SliceStats], float | None], str]] = [
    ("CPU of a worker for a task that does nothing", lambda each: 1000 * each.nothing[0], "ms"),
    ("CPU of a worker for each start", lambda each: 1000 * each.start[0], "ms"),
    ("CPU of a worker for each resume", lambda each: 1000 * each.resume[0], "ms"),
    ("requests to the API server for each start", lambda each: each.start[2], ""),
    ("requests to the API server for each resume", lambda each: each.resume[2], ""),
    ("CPU of the API server for each start", lambda each: 1000 * each.start[1], "ms"),
    ("CPU of the API server for each resume", lambda each: 1000 * each.resume[1], "ms"),
    ("end of the jobs to success, median", lambda each: each.delay, "s"),
]


def write(measured: Measured) -> None:
    """Put the table into the page, and draw the plot."""
    PLOT.parent.mkdir(exist_ok=True)
    _draw(measured, PLOT)
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    facts = (
        f"Measured on {datetime.now(timezone.utc):%Y-%m-%d} on {_machine()}, with Python {platform.python_version()}, "
        f"Airflow {measured.airflow_version} and apache-airflow-providers-airbyte {measured.official_version}; the "
        f"server takes {1000 * LATENCY:.0f} ms for each reply, the poll interval is {INTERVAL:.0f} s."
    )
    image = f"![Longest stall, requests and memory against waiting syncs](images/{PLOT.name})"
    PAGE.write_text(f"{before}{BEGIN}\n{facts}\n\n{table(measured)}\n\n{image}\n{END}{after}")


def _cells(ours: float | None, official: float | None, unit: str) -> tuple[str, str, str]:
    ratio = NONE if not ours or official is None else f"{official / ours:,.2g}"
    if ours and official is not None and official / ours >= 10:  # noqa: PLR2004
        ratio = f"{official / ours:,.0f}"
    return _cell(ours, unit), _cell(official, unit), ratio


def _cell(value: float | None, unit: str) -> str:
    if value is None:
        return NONE
    digits = 0 if abs(value - round(value)) < 0.005 and unit == "" else 1  # noqa: PLR2004
    return f"{value:,.{digits}f} {unit}".strip()


def _total(work: WorkerStats) -> int:
    return sum(work.sync_requests.values())


def _machine() -> str:
    names = [line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    cpu = names[0] if names else platform.machine()
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({cpu}), {gigabytes:.0f} GB, {platform.system()}"


def _cpu_lines() -> list[str]:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.read_text().splitlines() if cpuinfo.exists() else []


def _draw(measured: Measured, path: Path) -> None:
    import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore] # only `make bench` installs it
    import matplotlib.pyplot as plt  # type: ignore[import-not-found,unused-ignore] # as above

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "airbyte"
    panels: list[tuple[str, Measure]] = [
        ("longest stall of the event loop (ms)", lambda crowd: 1000 * crowd.longest_stall),
        ("requests in a poll interval", lambda crowd: crowd.requests_per_interval),
        ("memory for each (KB)", lambda crowd: crowd.bytes_each / 1024),
    ]
    figure, axes = plt.subplots(1, len(panels), figsize=(12, 3.6))
    for axis, (title, of) in zip(axes, panels, strict=True):
        for provider, label, colour in (("ours", "this package", "#615eff"), ("official", "official 6.2.0", "#888888")):
            points = [(each.count, of(each)) for each in measured.crowds if each.provider == provider]
            axis.plot(*zip(*points, strict=True), marker="o", label=label, color=colour)
        axis.set(title=title, xlabel="waiting syncs", xscale="log", yscale="log")
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
