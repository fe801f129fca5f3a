"""The settings of the API, as an environment gives them."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.settings import Settings
from worker.settings import Settings as WorkerSettings

PEPPER = "pepper for tests only"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    monkeypatch.setenv("SIGNALBOX_KEY_PEPPER", PEPPER)


def test_the_defaults_are_those_of_one_machine(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.database_url == f"sqlite:///{tmp_path}/signalbox.db"
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.max_concurrent_runs == 10
    assert settings.task_queue == "signalbox"
    assert settings.pepper == PEPPER.encode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKFLOW_MAX_CONCURRENT_RUNS", "0"),
        ("WORKFLOW_MAX_CONCURRENT_RUNS", "-1"),
        ("WORKFLOW_MAX_CONCURRENT_RUNS", "many"),
        ("SIGNALBOX_PORT", "65536"),
        ("SIGNALBOX_API_KEY", "x" * 31),
        ("SIGNALBOX_KEY_PEPPER", "tiny pepper"),
        ("SIGNALBOX_SECRETS_KEY", "a passphrase is no key"),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert name in str(caught.value)
    if not value.lstrip("-").isdigit():
        assert value not in str(caught.value)


@pytest.mark.parametrize("url", ["http://u:hunter2@mail", "smtp://", "smtp://u:hunter2@mail:x"])
def test_a_mail_server_that_is_none_is_not_shown(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SIGNALBOX_SMTP_URL", url)
    with pytest.raises(ValidationError) as caught:
        WorkerSettings()
    assert "SIGNALBOX_SMTP_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_mail_server_and_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SIGNALBOX_SMTP_URL", raising=False)
    assert WorkerSettings().mail_server is None
    monkeypatch.setenv("SIGNALBOX_SMTP_URL", "smtps://u:hunter2@mail.example.com")
    settings = WorkerSettings()
    assert settings.mail_server is not None
    assert (settings.mail_server.port, settings.mail_server.password) == (465, "hunter2")
    assert "hunter2" not in repr(settings) + repr(settings.mail_server)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALBOX_API_KEY", "k" * 32)
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@db/signalbox")
    shown = repr(Settings())
    assert not any(secret in shown for secret in ("k" * 32, "hunter2", PEPPER))


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert "\n" not in field.description, name


def test_both_processes_agree_on_the_settings_they_share() -> None:
    workers = WorkerSettings.model_fields
    shared = {name for name, field in Settings.model_fields.items() if name in workers}
    assert shared >= {"database_url", "data_dir", "max_concurrent_runs", "task_queue"}
    for name in shared:
        ours, theirs = Settings.model_fields[name], workers[name]
        assert ours.validation_alias == theirs.validation_alias, name
        assert (ours.default, ours.annotation) == (theirs.default, theirs.annotation), name


@pytest.mark.parametrize(("setting", "last"), [("here", 1), ("here:3", 3), ("there", 5), ("", 5)])
def test_a_failpoint_ends_the_process_at_the_visit_asked_for(setting: str, last: int) -> None:
    program = (
        "from app.services.failpoints import failpoint\n"
        "for n in range(5):\n"
        "    print(n, flush=True)\n"
        "    failpoint('here')\n"
        "    failpoint('elsewhere')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"SIGNALBOX_FAILPOINT": setting},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert len(done.stdout.split()) == last, done.stderr
    assert done.returncode == (137 if last < 5 else 0)
