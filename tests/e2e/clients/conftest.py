"""The proxy between the published clients and the recorded streams, and one run of all cases."""

from collections.abc import Iterator, Mapping

import pytest

from tests.e2e.clients.client_programs import Outcome, run_clients
from tests.e2e.clients.matrix import DIALECT_CASES, FORM_CASES, Case
from tests.e2e.clients.replay import ReplayUpstream
from tests.support.sseproxy_process import SseproxyProcess
from tests.support.unreachable import Unreachable

_DIALECTS = ("generic", "openai-chat", "openai-responses", "anthropic", "gemini")
_FORMS = ("openai-chat", "openai-responses", "anthropic", "blank", "event")

_HEAD = """
server: {listen: 127.0.0.1:0, drain: {timeout: 2s, spread: off}}
log: {format: json}
defaults:
  heartbeat: {interval: 20ms}
routes:
"""
_DIALECT = """
  - match: {prefix: /DIALECT}
    upstream: UPSTREAM
    dialect: DIALECT
"""
_FORM = """
  - match: {prefix: /form-FORM}
    upstream: UPSTREAM
    heartbeat: {form: FORM}
"""
# Google's clients do not say that they want a stream where we look for it: the route has to.
_FAILING = """
  - match: {prefix: /late-DIALECT}
    upstream: UPSTREAM
    dialect: DIALECT
    stream: always
    heartbeat: {before_response: 50ms}
    timeouts: {response: 8s, idle: 8s}
  - match: {prefix: /unreachable-DIALECT}
    upstream: UNREACHABLE
    dialect: DIALECT
    stream: always
    heartbeat: {before_response: 50ms}
    timeouts: {connect: 2s}
  - match: {prefix: /refused-DIALECT}
    upstream: REFUSED
    dialect: DIALECT
"""


@pytest.fixture(scope="session")
def upstream() -> Iterator[ReplayUpstream]:
    with ReplayUpstream() as server:
        yield server


@pytest.fixture(scope="session")
def proxy(upstream: ReplayUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SseproxyProcess]:
    with Unreachable() as unreachable:
        config = tmp_path_factory.mktemp("clients") / "sseproxy.yaml"
        config.write_text(_config(upstream.url, unreachable))
        with SseproxyProcess("-c", str(config)) as process:
            yield process


def _config(upstream: str, unreachable: Unreachable) -> str:
    dialects = "".join((_DIALECT + _FAILING).replace("DIALECT", dialect) for dialect in _DIALECTS)
    forms = "".join(_FORM.replace("FORM", form) for form in _FORMS)
    text = _HEAD + dialects + forms
    text = text.replace("UNREACHABLE", unreachable.silent_url).replace("REFUSED", unreachable.refusing_url)
    return text.replace("UPSTREAM", upstream)


@pytest.fixture(scope="session")
def outcomes(upstream: ReplayUpstream, proxy: SseproxyProcess) -> Mapping[Case, Outcome]:
    """What came of every case through the proxy, and of the same cases without it."""
    cases = [*DIALECT_CASES, *FORM_CASES]
    jobs = {case: case.job(proxy.url) for case in cases}
    jobs |= {case.direct(): case.direct().job(upstream.url) for case in cases}
    done = run_clients(jobs.values())
    return {case: done[job] for case, job in jobs.items()}
