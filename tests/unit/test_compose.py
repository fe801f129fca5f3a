"""The production files name nothing that the code does not have; seen without a container."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from starlette.routing import Route
from temporalio.envconfig import ClientConfig

from app import probes
from app.__main__ import cli
from app.embedded import temporal_server
from app.settings import Settings as ApiSettings
from tests.unit.test_settings_docs import API, WORKER
from worker.build import GRACE

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if "build" in service)
ENV_EXAMPLE = dict(
    line.split("=", 1)
    for line in (ROOT / ".env.example").read_text().splitlines()
    if line and not line.startswith("#")
)
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMMANDS = set(typer.main.get_command(cli).commands)  # type: ignore[attr-defined]  # it is a group
#: What a service may wait for.
CONDITIONS = ("service_healthy", "service_completed_successfully")


def test_the_shape_is_that_of_production() -> None:
    assert set(OURS) == {"api", "migrate", "worker"}
    assert {"postgres", "temporal", "temporal-ui"} <= set(SERVICES)


@pytest.mark.parametrize("name", OURS)
def test_our_commands_exist(name: str) -> None:
    assert "entrypoint" not in SERVICES[name]
    (command,) = SERVICES[name]["command"]
    assert command in COMMANDS


@pytest.mark.parametrize("name", OURS)
def test_our_variables_are_settings_that_the_process_reads(name: str) -> None:
    given = SERVICES[name]["environment"]
    fields = WORKER if name == "worker" else API
    for variable, value in given.items():
        known = variable in API or variable in WORKER
        assert known or variable in ("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE")
        # Only what all of ours share may be of no use to one of them.
        shared = variable in SERVICES["migrate"]["environment"]
        assert variable in fields or shared or variable.startswith("TEMPORAL_"), value
    assert "@postgres:5432/signalbox" in given["DATABASE_URL"]


def test_temporal_s_variables_are_temporal_s(monkeypatch: pytest.MonkeyPatch) -> None:
    given = SERVICES["worker"]["environment"]
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", "/dev/null")
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"):
        monkeypatch.setenv(name, given[name])
    config = ClientConfig.load_client_connect_config()
    assert config.get("target_host") == "temporal:7233"
    assert config.get("namespace") == temporal_server.NAMESPACE


def test_what_the_reader_has_to_fill_in_is_what_is_asked_for() -> None:
    asked = re.findall(r"(?<!\$)\$\{([A-Z_]+)(:[?-][^}]*)?\}", TEXT)
    assert {name for name, _ in asked} == set(ENV_EXAMPLE)
    for name, otherwise in asked:
        # What must be given is empty in the example; the rest has the default that it shows.
        if otherwise.startswith(":?"):
            assert ENV_EXAMPLE[name] == ""
        else:
            assert otherwise == f":-{ENV_EXAMPLE[name]}"


def test_the_defaults_are_those_of_the_settings() -> None:
    for variable in ("SIGNALBOX_PORT", "WORKFLOW_MAX_CONCURRENT_RUNS"):
        assert ENV_EXAMPLE[variable] == str(API[variable].default)


def test_the_api_listens_where_its_port_is_published_and_asked_for_its_health() -> None:
    api = SERVICES["api"]
    port = api["environment"]["SIGNALBOX_PORT"]
    assert api["environment"]["SIGNALBOX_HOST"] == "0.0.0.0"
    (published,) = api["ports"]
    assert published == f"127.0.0.1:${{SIGNALBOX_PORT:-{port}}}:{port}"
    assert f"EXPOSE {port}" in DOCKERFILE
    kind, program, flag, code = api["healthcheck"]["test"]
    assert (kind, program, flag) == ("CMD", "python", "-c")
    (url,) = re.findall(r"'(http://[^']*)'", code)
    paths = [route.path for route in probes.router.routes if isinstance(route, Route)]
    assert url in [f"http://127.0.0.1:{port}{path}" for path in paths]
    compile(code, "healthcheck", "exec")


def test_services_wait_for_what_they_need() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert how["condition"] in CONDITIONS, name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], (name, other)
            else:
                # One that is started again for ever never completes.
                assert SERVICES[other]["restart"] == "on-failure", (name, other)
    for name in ("api", "worker"):
        assert {"migrate", "temporal-namespace"} <= set(SERVICES[name]["depends_on"])


def test_volumes_are_declared_or_files_of_ours() -> None:
    declared = set(COMPOSE["volumes"])
    used = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).is_file(), source
            else:
                used.add(source)
    assert used == declared


def test_temporal_is_told_the_same_as_the_embedded_server() -> None:
    temporal = SERVICES["temporal"]
    (volume,) = temporal["volumes"]
    source, target, mode = volume.split(":")
    assert mode == "ro"
    assert target == f"/etc/temporal/{temporal['environment']['DYNAMIC_CONFIG_FILE_PATH']}"
    settings = yaml.safe_load((ROOT / source).read_text())
    embedded = {key: yaml.safe_load(value) for key, value in temporal_server.DYNAMIC_CONFIG.items()}
    assert {key: one["value"] for key, (one,) in settings.items()} == embedded


def test_temporal_is_the_release_that_is_embedded() -> None:
    program = Path(sys.executable).parent / "temporal"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"Server ([\d.]+), UI ([\d.]+)", said)
    assert found is not None
    server, ui = found.groups()
    images = {name: service.get("image") for name, service in SERVICES.items()}
    assert images["temporal"] == f"temporalio/server:{server}"
    assert images["temporal-schema"] == f"temporalio/admin-tools:{server}"
    assert images["temporal-namespace"] == f"temporalio/admin-tools:{server}"
    assert images["temporal-ui"] == f"temporalio/ui:{ui}"


def test_the_namespace_keeps_histories_as_long_as_the_embedded_one() -> None:
    service = SERVICES["temporal-namespace"]
    (script,) = service["command"]
    words = temporal_server.retention("temporal", "here")
    assert " ".join(words[: words.index("--namespace")]) in script
    assert service["environment"]["TEMPORAL_NAMESPACE"] == temporal_server.NAMESPACE


@pytest.mark.parametrize("name", ["temporal-schema", "temporal-namespace"])
def test_scripts_are_shell(name: str) -> None:
    assert SERVICES[name]["entrypoint"] == ["/bin/sh", "-euc"]
    (script,) = SERVICES[name]["command"]
    subprocess.run(["/bin/sh", "-n"], input=script.replace("$$", "$"), text=True, check=True)


def test_the_worker_has_the_time_to_stop_that_it_takes() -> None:
    grace = SERVICES["worker"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > GRACE


def test_the_image_holds_what_it_needs_and_nothing_else() -> None:
    copied = [
        source
        for line in DOCKERFILE.splitlines()
        if line.startswith("COPY ")
        for source in line.split()[1:-1]
    ]
    for source in copied:
        assert (ROOT / source).exists(), source
    # Whatever is not let in cannot be copied, and nothing is let in for nothing.
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignore[0] == "*"
    assert sorted(line[1:] for line in ignore if line.startswith("!")) == sorted(copied)
    for room in ("engine", "store", "workflows", "activities", "worker", "app", "examples"):
        assert room in copied


def test_the_image_runs_our_commands_as_nobody_special() -> None:
    entrypoint = re.search(r'^ENTRYPOINT \["(\w+)"\]$', DOCKERFILE, re.MULTILINE)
    default = re.search(r'^CMD \["(\w+)"\]$', DOCKERFILE, re.MULTILINE)
    user = re.search(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)
    assert entrypoint is not None
    assert default is not None
    assert user is not None
    assert entrypoint[1] == "signalbox"
    assert default[1] in COMMANDS
    assert int(user[1]) > 0


def test_a_pepper_and_a_database_leave_no_data_directory_to_make() -> None:
    """The containers have no volume, so nothing that counts may be written in them."""
    for name in OURS:
        given = SERVICES[name]["environment"]
        assert {"DATABASE_URL", "SIGNALBOX_KEY_PEPPER"} <= set(given)
        assert "volumes" not in SERVICES[name]
    assert "SIGNALBOX_DATA_DIR" not in TEXT
    assert ApiSettings.model_fields["key_pepper"].is_required()
