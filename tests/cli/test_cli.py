"""``airflow airbyte …`` and ``python -m airflow_provider_airbyte_api …``."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from airflow_provider_airbyte_api.__main__ import main
from airflow_provider_airbyte_api.cli import commands
from airflow_provider_airbyte_api.clients.clock import CLOCK
from airflow_provider_airbyte_api.testing import LocalAirbyte
from airflow_provider_airbyte_api.testing.seed import STRIPE_TO_BIGQUERY, STRIPE_TO_POSTGRES, WORKSPACE_ID
from tests.helpers.clock import wait_until
from tests.versions import before, since

MODULE = [sys.executable, "-m", "airflow_provider_airbyte_api"]
AIRFLOW = [str(Path(sys.executable).parent / "airflow"), "airbyte"]


@pytest.fixture(autouse=True)
def _as_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")  # the commands change it; this changes it back
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def slow_airbyte(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalAirbyte]:
    with LocalAirbyte(job_seconds=3.0) as local:
        monkeypatch.setenv("AIRFLOW_CONN_AIRBYTE_API_DEFAULT", local.airflow_connection)
        yield local


def plain(text: str) -> str:
    """Return ``text`` without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(AIRFLOW, id="airflow airbyte", marks=since("3.2", "it has no commands of providers")),
        pytest.param(MODULE, id="python -m"),
    ],
)
def test_the_doctor_prints_the_diagnosis_and_sets_the_exit_status(airbyte: LocalAirbyte, program: list[str]) -> None:
    well = subprocess.run([*program, "doctor"], capture_output=True, text=True, timeout=60, check=False)
    assert well.returncode == 0, well.stderr
    assert "Connected to Airbyte 2.1.0 (community)" in well.stdout
    airbyte.client_secret = "changed"
    ill = subprocess.run(
        [*program, "doctor", "airbyte_api_default"], capture_output=True, text=True, timeout=60, check=False
    )
    assert ill.returncode == 1
    assert "The client id or the client secret is wrong." in ill.stderr
    assert "Traceback" not in ill.stderr


def test_a_connection_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], database: None) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "nobody"])
    assert "Airflow connection 'nobody' was not found. Create it" in str(ended.value)


@pytest.fixture
def webhook_token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW__AIRBYTE_API__WEBHOOK", "True")
    monkeypatch.setenv("AIRFLOW__AIRBYTE_API__WEBHOOK_TOKEN", "0123456789abcdef&x")
    return "0123456789abcdef%26x"


@since("3.1", "the webhook is a plugin's app")
def test_the_url_of_the_webhook_is_printed_and_set(
    airbyte: LocalAirbyte, capsys: pytest.CaptureFixture[str], webhook_token: str
) -> None:
    url = f"https://airflow.example.com/af/airbyte/webhook/airbyte_api_default?token={webhook_token}"
    before = json.loads(json.dumps(airbyte.workspaces))
    main(["webhook", "--base-url", "https://airflow.example.com/af/"])
    assert capsys.readouterr().out == f"{url}\n"
    assert airbyte.workspaces == before
    main(["webhook", "--base-url", "https://airflow.example.com/af", "--set"])
    assert capsys.readouterr().out == f"{url}\n"
    for workspace in before:
        workspace["notifications"]["success"]["webhook"] = {"enabled": True, "url": url}
    assert airbyte.workspaces == before


@since("3.1", "the webhook is a plugin's app")
def test_a_webhook_over_plain_http_has_a_warning(
    airbyte: LocalAirbyte, caplog: pytest.LogCaptureFixture, webhook_token: str
) -> None:
    main(["webhook", "--base-url", "http://airflow.example.com"])
    assert "without a body, unless a proxy" in caplog.text


@since("3.1", "the webhook is a plugin's app")
@pytest.mark.parametrize("arguments", [["--base-url", "airflow.example.com"], ["--base-url", "ftp://airflow"]])
def test_an_address_that_airbyte_cannot_call_is_rejected(webhook_token: str, arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="--base-url https://"):
        main(["webhook", *arguments])


@since("3.1", "the webhook is a plugin's app")
def test_the_webhook_has_no_url_while_it_is_off() -> None:
    with pytest.raises(SystemExit, match="Set the options webhook and webhook_token"):
        main(["webhook"])


@before("3.1", "it has no webhook")
def test_an_airflow_without_the_webhook_says_so_before_it_changes_airbyte(
    airbyte: LocalAirbyte, webhook_token: str
) -> None:
    with pytest.raises(SystemExit, match=r"needs Airflow 3\.1"):
        main(["webhook", "--base-url", "https://airflow.example.com", "--set"])
    assert not airbyte.requests_to("PATCH", f"/workspaces/{WORKSPACE_ID}")


@pytest.mark.parametrize("what", ["sources", "connections"])
@pytest.mark.parametrize("output", ["json", "yaml", "table", "plain"])
def test_what_there_is_can_be_listed(
    airbyte: LocalAirbyte, capsys: pytest.CaptureFixture[str], what: str, output: str
) -> None:
    main([what, "--workspace-id", WORKSPACE_ID, "--output", output])
    text = plain(capsys.readouterr().out)
    rows = airbyte.sources if what == "sources" else airbyte.connections
    if output in ("json", "yaml"):
        expected = [{name: value for name, value in row.items() if name != "configuration"} for row in rows]
        assert (json.loads(text) if output == "json" else yaml.safe_load(text)) == expected
    else:
        assert all(row["name"] in text for row in rows)


def test_the_newest_jobs_can_be_listed(airbyte: LocalAirbyte, capsys: pytest.CaptureFixture[str]) -> None:
    for age in range(30, 0, -1):
        airbyte.add_job(STRIPE_TO_BIGQUERY, "failed" if age == 5 else "succeeded", age=float(age))
    main(["jobs", "--limit", "3", "-o", "json"])
    assert [row["jobId"] for row in json.loads(plain(capsys.readouterr().out))] == [30, 29, 28]
    main(["jobs", "--status", "failed", "--connection-id", STRIPE_TO_BIGQUERY, "-o", "json"])
    assert [row["jobId"] for row in json.loads(plain(capsys.readouterr().out))] == [26]


def test_a_sync_is_started(slow_airbyte: LocalAirbyte, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sync", STRIPE_TO_BIGQUERY, "-o", "json"])
    said = capsys.readouterr()
    assert json.loads(plain(said.out))[0]["status"] == "pending"
    assert "Started job 1 of 'Stripe → BigQuery': http" in said.err
    assert len(slow_airbyte.jobs) == 1


def test_a_sync_is_waited_for_with_a_line_for_each_change(
    airbyte: LocalAirbyte, capsys: pytest.CaptureFixture[str]
) -> None:
    airbyte.script_jobs("running", "running", "succeeded")
    main(["sync", STRIPE_TO_BIGQUERY, "--wait", "--poll-interval", "0.05", "-o", "json"])
    said = capsys.readouterr()
    lines = said.err.splitlines()
    states = [line.partition(" after ")[0] for line in lines if "Job 1 is" in line]
    assert [state.partition(",")[0] for state in states] == ["Job 1 is running", "Job 1 is succeeded"]
    assert states[-1].endswith(", 250,000 rows, 104.9 MB")
    assert "250,000 rows" in lines[-1]
    assert json.loads(plain(said.out))[0]["rows_synced"] == 250_000


@pytest.mark.parametrize(
    ("status", "connection_id", "message"),
    [("failed", STRIPE_TO_BIGQUERY, "failed"), ("succeeded", STRIPE_TO_POSTGRES, "inactive")],
)
def test_an_unsuccessful_sync_has_a_nonzero_exit_status(
    airbyte: LocalAirbyte, status: str, connection_id: str, message: str
) -> None:
    airbyte.script_jobs("running", status)
    with pytest.raises(SystemExit) as ended:
        main(["sync", connection_id, "--wait", "--poll-interval", "0.05"])
    assert message in str(ended.value)


def on_a_terminal(*arguments: str, width: int = 200) -> tuple[int, str, str]:
    """Run a command whose stderr is a terminal, and return its status, its stdout and what the terminal got."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(width)}
    process = subprocess.Popen([*MODULE, *arguments], stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # that is how a terminal ends
        while piece := os.read(ours, 4096):
            seen += piece
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out.decode(), seen.decode()


def test_on_a_terminal_one_line_moves(slow_airbyte: LocalAirbyte) -> None:
    slow_airbyte.connections[0]["name"] = "[/foo] [bold]x"
    status, out, seen = on_a_terminal(
        "sync", STRIPE_TO_BIGQUERY, "--wait", "--poll-interval", "0.2", "-o", "json", width=120
    )
    assert status == 0, seen
    text = plain(seen)
    assert "of '[/foo] [bold]x'" in text
    assert re.search(r"Job 1 is running, [\d,]+ rows, .*B", text), text
    assert re.search(r"0:00:0\d", text), "the time that has passed"
    assert json.loads(out)[0]["status"] == "succeeded"


def test_the_progress_has_the_rate_since_the_last_poll(
    slow_airbyte: LocalAirbyte, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "PROGRESS_INTERVAL", 0.3)
    main(["sync", STRIPE_TO_BIGQUERY, "--wait", "--poll-interval", "0.2"])
    lines = [line for line in capsys.readouterr().err.splitlines() if "Job 1 is running" in line]
    assert re.search(
        r"^Job 1 is running, [\d,]+ rows, [\d.]+ MB \([1-9][\d,]* rows/s, [\d.]+ MB/s\) after 0:", lines[-1]
    )


def test_where_there_is_no_terminal_a_line_at_intervals_says_how_a_sync_is_doing(
    airbyte: LocalAirbyte, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = itertools.count(0.0, 5.0)
    monkeypatch.setattr(CLOCK, "monotonic", lambda: next(passed))
    airbyte.script_jobs(*["running"] * 9, "succeeded")
    main(["sync", STRIPE_TO_BIGQUERY, "--wait", "--poll-interval", "0.01"])
    lines = [line for line in capsys.readouterr().err.splitlines() if "Job 1 is running" in line]
    assert 2 <= len(lines) < 9
    assert re.search(r" after 0:0\d:\d\d\.$", lines[-1])


def test_ctrl_c_leaves_the_sync_alone_and_says_so(slow_airbyte: LocalAirbyte) -> None:
    slow_airbyte.script_jobs("running")
    arguments = [*MODULE, "sync", STRIPE_TO_BIGQUERY, "--wait", "--poll-interval", "0.2"]
    # A shell's background jobs, and what they start, ignore Ctrl-C.
    process = subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a lock does not matter here
    )
    wait_until(lambda: slow_airbyte.requests_to("GET", "/jobs/1"), 60)
    threading.Timer(0.3, process.send_signal, [signal.SIGINT]).start()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Job 1 is still running in Airbyte: http" in errors
    assert "Traceback" not in errors
    assert slow_airbyte.cancelled == []


def test_airflows_command_line_waits_for_no_code_of_ours() -> None:
    program = (
        "import airflow.cli.cli_config, sys; before = set(sys.modules)\n"
        "from airflow_provider_airbyte_api.cli.definition import get_airbyte_cli_commands\n"
        "get_airbyte_cli_commands()\n"
        "print('loaded', *sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert [name for name in loaded if not name.startswith("airflow_provider_airbyte_api")] == ["loaded"]


@pytest.mark.parametrize(
    "arguments",
    [["jobs", "--limit", "-1"], ["jobs", "--limit", "many"], ["sync", STRIPE_TO_BIGQUERY, "--poll-interval", "0"]],
)
def test_an_argument_that_cannot_be_used_is_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "invalid number" in capsys.readouterr().err


def test_an_already_running_sync_is_reported_and_no_job_started(airbyte: LocalAirbyte) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "running")
    with pytest.raises(SystemExit) as ended:
        main(["sync", STRIPE_TO_BIGQUERY])
    assert "A job of 'Stripe → BigQuery' is already running; no job was started." in str(ended.value)
    assert len(airbyte.jobs) == 1


def test_a_pipe_that_nobody_reads_on_is_no_traceback(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW__CORE__UNIT_TEST_MODE")  # in which Airflow itself logs to stdout
    airbyte.sources.extend({**airbyte.sources[0], "sourceId": str(number)} for number in range(3000))
    command = f"{' '.join(MODULE)} sources -o yaml | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr


# -- what others wrote -------------------------------------------------------------------------------------------

ODD_NAMES = ["[prod] x", "[bold]x[/bold]", "[/foo]", "a \x1b[31m red", ":warning: x", "tail\\"]


@pytest.mark.parametrize("output", ["table", "plain"])
def test_a_name_is_shown_as_it_is_and_commands_no_terminal(
    airbyte: LocalAirbyte, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    made = [{**airbyte.connections[0], "connectionId": str(uuid.uuid4()), "name": name} for name in ODD_NAMES]
    airbyte.connections.extend(made)
    main(["connections", "-o", output])
    text = plain(capsys.readouterr().out)
    assert all(name.replace("\x1b", "\ufffd") in text for name in ODD_NAMES)
    assert "\x1b" not in text


def test_an_error_in_airbytes_words_commands_no_terminal(airbyte: LocalAirbyte) -> None:
    airbyte.respond_with(403, path="/connections", times=9, body=json.dumps({"message": "\x1b[2J gone\x00 [/foo]"}))
    with pytest.raises(SystemExit) as ended:
        main(["connections"])
    assert "[/foo]" in str(ended.value)
    assert "\x1b" not in str(ended.value)


def test_jobs_are_shown_with_their_connections_names_and_how_long_they_took(
    airbyte: LocalAirbyte, capsys: pytest.CaptureFixture[str]
) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    airbyte.add_job(str(uuid.uuid4()), "failed")  # its connection has been deleted
    main(["jobs"])
    text = plain(capsys.readouterr().out)
    assert "Stripe → BigQuery" in text
    assert re.search(r"\b0:\d\d:\d\d\b", text)
    main(["jobs", "-o", "json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["connectionName"] for row in rows] == [None, "Stripe → BigQuery"]
    assert not {"connection", "time", "reason"} & rows[0].keys()


def test_jobs_are_shown_with_the_reasons_of_failed_ones(
    airbyte: LocalAirbyte, capsys: pytest.CaptureFixture[str]
) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    airbyte.fail_job(airbyte.add_job(STRIPE_TO_BIGQUERY).job_id, "The password is wrong.")
    main(["jobs", "-o", "plain"])
    assert "source, config_error: The password is wrong." in plain(capsys.readouterr().out)
    main(["jobs", "-o", "json"])
    failed, succeeded = json.loads(capsys.readouterr().out)
    assert failed["failureReason"]["message"] == "The password is wrong."
    assert "failureReason" not in succeeded


def test_a_sync_that_is_waited_for_says_why_it_failed(airbyte: LocalAirbyte, caplog: pytest.LogCaptureFixture) -> None:
    airbyte.script_jobs("running", "failed", reason="The password is wrong.")
    with pytest.raises(SystemExit) as ended:
        main(["sync", STRIPE_TO_BIGQUERY, "--wait", "--poll-interval", "0.02"])
    assert str(ended.value).startswith("Sync failed: source, config_error: The password is wrong. Job 1 of ")
    assert "Attempt 1 of 1 (failed, " in caplog.text


def test_jobs_are_shown_without_names_where_connections_may_not_be_listed(
    airbyte: LocalAirbyte, capsys: pytest.CaptureFixture[str]
) -> None:
    airbyte.add_job(STRIPE_TO_BIGQUERY, "succeeded")
    airbyte.respond_with(403, path="/connections", times=9)
    main(["jobs"])
    said = capsys.readouterr()
    assert STRIPE_TO_BIGQUERY in said.out
    assert "Could not get the connections' names." in said.err


def test_a_status_that_does_not_exist_is_refused_with_those_that_do(airbyte: LocalAirbyte) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["jobs", "--status", "bogus"])
    assert str(ended.value).startswith("status is 'bogus', expected one of pending, queued, running,")
    assert airbyte.requests == []


# -- where it is written to --------------------------------------------------------------------------------------


def shell(command: str, monkeypatch: pytest.MonkeyPatch) -> subprocess.CompletedProcess[str]:
    monkeypatch.delenv("AIRFLOW__CORE__UNIT_TEST_MODE")  # in which Airflow itself logs to stdout
    return subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("arguments", "noise"),
    [
        ("connections", {"AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"}),
        ("jobs", {"AIRFLOW__CORE__FERNET_KEY": ""}),
        (f"sync {STRIPE_TO_BIGQUERY} --wait --poll-interval 0.1", {"AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG"}),
    ],
)
def test_json_is_all_that_is_on_stdout(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, arguments: str, noise: dict[str, str]
) -> None:
    for name, value in noise.items():
        monkeypatch.setenv(name, value)
    done = shell(f"{' '.join(MODULE)} {arguments} -o json", monkeypatch)
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)


@pytest.mark.parametrize(
    ("arguments", "closed"),
    [
        ("doctor", ">&-"),
        ("connections", ">&- 2>&-"),
        ("connections -o json", "<&- >&- 2>&-"),
        ("connections -o json", "2>&-"),
        ("--help", ">&-"),
    ],
)
def test_a_stream_that_is_closed_is_no_traceback(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch, arguments: str, closed: str
) -> None:
    done = shell(f"{' '.join(MODULE)} {arguments} {closed}", monkeypatch)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) == (closed == "2>&-")


@since("3.2", "it has no commands of providers")
def test_a_stream_that_is_closed_is_no_traceback_of_airflows_command_either(
    airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = shell(f"{' '.join(AIRFLOW)} connections -o json >&-", monkeypatch)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="This system has no /dev/full")
def test_a_full_disk_is_an_error_message(airbyte: LocalAirbyte, monkeypatch: pytest.MonkeyPatch) -> None:
    done = shell(f"{' '.join(MODULE)} connections -o json > /dev/full", monkeypatch)
    assert done.returncode == 1
    assert "Could not write the result: [Errno 28]" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    done = shell(f"{' '.join(MODULE)} jobs --help", monkeypatch)
    assert done.returncode == 0
    assert "--status" in done.stdout
