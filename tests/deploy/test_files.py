"""Are the files of deploy/ right, each for the program that reads it, and do they agree with each other?"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from sseproxy import __version__
from sseproxy.cli import new_parser
from sseproxy.config.loader import load
from tests.support.programs import require

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUSTOMIZE = sorted(path.parent for path in DEPLOY.rglob("kustomization.yaml"))
MANIFESTS = [
    folder / name
    for folder in KUSTOMIZE
    for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
]
CONFIGS = sorted(DEPLOY.rglob("sseproxy.yaml"))
#: Seconds that a process needs once its last stream has ended.
RESERVE = 5

# The oldest that knows native sidecars, and the newest that the schemas are there for.
VERSIONS = ["1.29", kubernetes_validate.latest_version()]


def parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    return path.relative_to(DEPLOY).as_posix()


def container(folder: Path) -> dict[str, Any]:
    """That of sseproxy."""
    spec = pod(folder)
    (found,) = (each for each in [*spec.get("initContainers", []), *spec["containers"]] if each["name"] == "sseproxy")
    return dict(found)


def pod(folder: Path) -> dict[str, Any]:
    return dict(parsed(folder / "deployment.yaml")["spec"]["template"]["spec"])


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


@pytest.mark.parametrize("path", CONFIGS, ids=name_of)
def test_every_configuration_is_right_and_safe(path: Path) -> None:
    config = load(path, flags={}, environ={})
    assert config.routes
    assert config.warnings == ()


def test_every_command_line_is_one() -> None:
    """Of the image, of Compose, of Kubernetes, and of the unit."""
    docker = (DEPLOY / "Dockerfile").read_text()
    lines = [json.loads(line) for line in re.findall(r"^CMD (\[.*\])$", docker, re.MULTILINE)]
    lines += [json.loads(line)[1:] for line in re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", docker, re.MULTILINE)]
    lines += [parsed(DEPLOY / "compose.yaml")["services"]["sseproxy"]["command"]]
    lines += [container(folder)["args"] for folder in KUSTOMIZE]
    unit = (DEPLOY / "systemd/sseproxy.service").read_text()
    lines += [line.split() for line in re.findall(r"^Exec\w+=/opt/sseproxy/bin/sseproxy (.*)$", unit, re.MULTILINE)]
    assert len(lines) == 3 + len(KUSTOMIZE) + 2
    for line in lines:
        assert new_parser().parse_args(line).command


# ---- Kubernetes


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=name_of)
def test_manifests_have_the_schema_of_their_kind(path: Path, version: str) -> None:
    kubernetes_validate.validate(parsed(path), version, strict=True)


def test_the_schema_finds_a_key_that_does_not_exist() -> None:
    wrong = parsed(KUSTOMIZE[0] / "deployment.yaml")
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 5
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("folder", KUSTOMIZE, ids=name_of)
def test_a_base_names_files_that_are_there_and_images_that_are_used(folder: Path) -> None:
    base = parsed(folder / "kustomization.yaml")
    assert base["kind"] == "Kustomization"
    (generated,) = base["configMapGenerator"]
    assert [name for name in [*base["resources"], *generated["files"]] if not (folder / name).is_file()] == []
    assert {volume["configMap"]["name"] for volume in pod(folder)["volumes"]} == {generated["name"]}
    containers = [*pod(folder).get("initContainers", []), *pod(folder)["containers"]]
    assert {each["image"] for each in containers} == {image["name"] for image in base["images"]}
    assert {image["newTag"] for image in base["images"] if image["name"] == "sseproxy"} == {__version__}


@pytest.mark.parametrize("folder", KUSTOMIZE, ids=name_of)
def test_names_and_ports_agree(folder: Path) -> None:
    deployment, service = parsed(folder / "deployment.yaml"), parsed(folder / "service.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    mine = container(folder)
    ports = {port["name"]: port["containerPort"] for port in mine["ports"]}
    config = load(folder / "sseproxy.yaml", flags={}, environ={each["name"]: each["value"] for each in mine["env"]})
    assert ports == {"http": config.server.listen[0].port, "admin": config.admin.listen.port if config.admin else None}
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    probes = [mine[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert probes == [{"path": path, "port": "admin"} for path in ("/healthz", "/readyz", "/healthz")]
    assert f"{mine['volumeMounts'][0]['mountPath']}/sseproxy.yaml" in mine["args"]


@pytest.mark.parametrize("folder", KUSTOMIZE, ids=name_of)
def test_a_pod_has_time_to_drain(folder: Path) -> None:
    server = load(folder / "sseproxy.yaml", flags={}, environ={}).server
    hooks = [each["lifecycle"] for each in [container(folder), *pod(folder)["containers"]] if "lifecycle" in each]
    pauses = [int(hook["preStop"]["exec"]["command"][1]) for hook in hooks]
    # Connections are accepted for a while: by a hook, where another process ends first, or else by the delay.
    assert (len(pauses), server.drain_delay > 0) in ((1, False), (0, True))
    assert server.drain_limit is not None
    assert sum(pauses) + server.drain_limit + RESERVE <= pod(folder)["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("folder", KUSTOMIZE, ids=name_of)
def test_sseproxy_has_no_rights_that_it_does_not_need(folder: Path) -> None:
    rights = {**pod(folder)["securityContext"], **container(folder)["securityContext"]}
    assert rights == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(folder)["automountServiceAccountToken"] is False


def test_the_sidecar_is_one() -> None:
    (sidecar,) = pod(DEPLOY / "kubernetes/sidecar")["initContainers"]
    assert sidecar["restartPolicy"] == "Always"


# ---- Docker and Compose


def test_docker_copies_what_is_there_and_lets_in_what_it_copies() -> None:
    docker = (DEPLOY / "Dockerfile").read_text()
    sources = [name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", docker, re.MULTILINE) for name in line.split()]
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in ignored
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source.partition('/')[0]}" in ignored
    assert "--require-hashes -r requirements.lock" in docker
    assert re.findall(r"^USER (\d+)$", docker, re.MULTILINE) == ["10001"]


def test_docker_compose_reads_the_stack() -> None:
    program = require("docker-compose")
    done = subprocess.run(
        [program, "-f", DEPLOY / "compose.yaml", "config"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert set(services) == {"app", "sseproxy", "nginx", "redis", "prometheus", "grafana"}
    assert {name for name, service in services.items() if service.get("profiles")} == {"prometheus", "grafana"}
    mounted = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    assert [path for path in mounted if path.startswith("/") and not Path(path).is_file()] == []


def test_compose_gives_the_drain_its_time() -> None:
    stack = parsed(DEPLOY / "compose.yaml")
    config = load(DEPLOY / "compose/sseproxy.yaml", flags={}, environ={})
    assert config.server.drain_limit is not None
    assert config.server.drain_limit + RESERVE <= seconds(stack["services"]["sseproxy"]["stop_grace_period"])
    (network,) = stack["networks"]["default"]["ipam"]["config"]
    assert [str(trusted) for trusted in config.server.trusted_proxies] == [network["subnet"]]


# ---- systemd and Prometheus


def unit() -> str:
    return (DEPLOY / "systemd/sseproxy.service").read_text()


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    program = require("systemd-analyze")
    # It wants to see the programs that are to be started.
    (tmp_path / "sseproxy.service").write_text(unit().replace("/opt/sseproxy/bin/sseproxy", sys.executable))
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning"}
    done = subprocess.run(
        [program, "verify", tmp_path / "sseproxy.service"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    complaints = [line for line in done.stderr.splitlines() if "sseproxy" in line]
    assert (done.returncode, complaints) == (0, [])


def test_systemd_waits_for_the_drain() -> None:
    config = load(DEPLOY / "systemd/sseproxy.yaml", flags={}, environ={})
    (granted,) = re.findall(r"^TimeoutStopSec=(\w+)$", unit(), re.MULTILINE)
    assert config.server.drain_limit is not None
    assert config.server.drain_limit + RESERVE <= seconds(granted)


def test_prometheus_asks_where_the_admin_listener_is() -> None:
    (here,) = parsed(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"]
    (pods,) = parsed(DEPLOY / "prometheus/kubernetes.yml")["scrape_configs"]
    admin = load(DEPLOY / "systemd/sseproxy.yaml", flags={}, environ={}).admin
    assert admin is not None
    assert here["static_configs"] == [{"targets": [str(admin.listen)]}]
    kept = pods["relabel_configs"][0]
    for folder in KUSTOMIZE:
        assert {f"{container(folder)['name']};{port['name']}" for port in container(folder)["ports"]} >= {kept["regex"]}


def test_compose_lets_prometheus_and_grafana_find_each_other() -> None:
    services = parsed(DEPLOY / "compose.yaml")["services"]
    config = load(DEPLOY / "compose/sseproxy.yaml", flags={}, environ=services["sseproxy"]["environment"])
    assert config.admin is not None
    (job,) = parsed(DEPLOY / "compose/prometheus.yml")["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    name, _, port = target.partition(":")
    assert name in services
    assert (name in config.admin.hosts, int(port)) == (True, config.admin.listen.port)
    inside = dict(volume.split(":")[:2] for each in ("prometheus", "grafana") for volume in services[each]["volumes"])
    assert [path for path in inside if not (DEPLOY / path).is_file()] == []
    assert parsed(DEPLOY / "compose/prometheus.yml")["rule_files"] == [Path(inside["./prometheus/alerts.yml"]).name]
    (source,) = parsed(DEPLOY / "grafana/datasource.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = parsed(DEPLOY / "grafana/dashboards.yml")["providers"]
    assert str(Path(inside["./grafana/sseproxy.json"]).parent) == provider["options"]["path"]
