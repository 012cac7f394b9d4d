"""Checks of ``llmos doctor`` that load the parts they look at: model, index, agents, traces."""

from __future__ import annotations

import importlib.util
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from typing import Any

from llmos_cli.checks import Finding, Patient, fail, ok, unwritable, warn
from llmos_workers.contracts.errors import MalformedFile, UnknownModel

NET_TIMEOUT_S = 5.0
MOST_FILES = 10


def check_model(patient: Patient) -> Iterator[Finding]:
    """There is a key, an endpoint or the stack's rehearsal model, and a price."""
    from llmos_workers.embedded import discovery
    from llmos_workers.kernel.prices import Prices

    sdk = patient.config.sdk
    stack = None if patient.config.redis.url else discovery.read(patient.config.workspace)
    rehearsal = stack.model_url if stack else None
    if sdk.base_url:
        yield ok("model", f"{sdk.model} at {sdk.base_url}")
    elif sdk.api_key is not None:
        yield ok("model", f"{sdk.model} at Anthropic, with a key")
    elif rehearsal:
        yield warn(
            "model", f"the rehearsal model at {rehearsal}: scripted, not an LLM.",
            "Set ANTHROPIC_API_KEY or sdk.base_url and start llmos up again.",
        )  # fmt: skip
    else:
        yield warn(
            "model", "no key and no base_url: goals that need a model fail.",
            "Set ANTHROPIC_API_KEY, or sdk.base_url; llmos up brings a rehearsal model.",
        )  # fmt: skip
    prices = Prices.load(sdk.price_file)
    try:
        prices.resolve(sdk.model)
    except UnknownModel as error:
        yield fail("model price", error.message, error.fix)
        return
    notice = prices.notice(sdk.model)
    yield warn("model price", notice, "Change sdk.model.") if notice else ok("model price", "known")
    if patient.online:
        yield ask_model(patient, prices.resolve(sdk.model), rehearsal)


def ask_model(patient: Patient, model: str, rehearsal_url: str | None) -> Finding:
    """Count the tokens of one word: free, and shows that endpoint and key work."""
    import anthropic

    sdk = patient.config.sdk
    url = sdk.base_url or (None if sdk.api_key else rehearsal_url)
    key = sdk.api_key.get_secret_value() if sdk.api_key else "none" if url else None
    if key is None:
        return fail("model online", "there is nobody to ask.", "See model.")
    try:
        with anthropic.Anthropic(
            api_key=key, base_url=url, max_retries=0, timeout=NET_TIMEOUT_S
        ) as client:
            client.messages.count_tokens(
                model=model, messages=[{"role": "user", "content": "hello"}]
            )
    except anthropic.AuthenticationError as error:
        return fail("model online", f"the key was refused ({error.status_code}).", "Check the key.")
    except anthropic.APIStatusError as error:
        return fail(
            "model online", f"{error.status_code}: {error.message}", "Check model and base_url."
        )
    except anthropic.APIConnectionError as error:
        return fail("model online", f"no answer: {error}", "Check network and base_url.")
    return ok("model online", f"{model} answers")


def check_index(patient: Patient) -> Iterator[Finding]:
    """The server answers, or the embedded index's folder can be written."""
    index = patient.config.index
    if index.qdrant_url is None:
        folder = patient.config.workspace.absolute() / "state"
        there = next(each for each in (folder, *folder.parents) if each.exists())
        if reason := unwritable(there):
            yield fail("index", f"{folder} cannot be written: {reason}.", "See workspace.")
        else:
            yield ok("index", f"embedded, in {folder / 'index'}")
        return
    if importlib.util.find_spec("qdrant_client") is None:
        helps = "pip install 'llmos-workers[qdrant]'"
        yield fail("index", "index.qdrant_url is set, but qdrant-client is not installed.", helps)
        return
    key = index.qdrant_api_key.get_secret_value() if index.qdrant_api_key else ""
    url = index.qdrant_url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        yield fail("index", f"{url} is no http(s) address.", "Correct index.qdrant_url.")
        return
    headers = {"api-key": key} if key else {}
    asked = urllib.request.Request(f"{url}/collections", headers=headers)  # noqa: S310 - checked
    try:
        with urllib.request.urlopen(asked, timeout=NET_TIMEOUT_S) as answer:  # noqa: S310
            answer.read(1)
    except urllib.error.HTTPError as error:
        helps = "Check index.qdrant_api_key." if error.code in (401, 403) else "See its log."
        yield fail("index", f"{url} says {error.code} {error.reason}.", helps)
    except OSError as error:
        yield fail(
            "index", f"{url} does not answer: {error}.", "Start it, or correct index.qdrant_url."
        )
    else:
        yield ok("index", f"Qdrant at {url}")


def check_schema(patient: Patient) -> Iterator[Finding]:
    """This release can work on the data."""
    from llmos_workers.kernel.schema import SCHEMA, Schema

    if not patient.redis_answers:
        return
    found = Schema(patient.client.redis, ()).check()
    if found.version < SCHEMA:
        detail = f"{found.version}; workers bring it to {SCHEMA} when they start"
        yield ok("schema", detail)
    elif found.version > SCHEMA:
        detail = f"{found.version}: a newer release wrote it, this one ({SCHEMA}) can read it"
        yield warn("schema", detail, "Upgrade what is older.")
    else:
        yield ok("schema", str(found.version))


def check_agents(patient: Patient) -> Iterator[Finding]:
    """Every agent file parses."""
    from llmos_workers.evolution.agents import AgentLoader

    loader = AgentLoader(patient.config.workspace)
    names = [agent.name for agent in loader.load_agents()]
    yield from _files("agents", len(names), loader.problems())


def check_traces(patient: Patient) -> Iterator[Finding]:
    """Every trace file parses."""
    from llmos_workers.kernel.workspace import Workspace
    from llmos_workers.learning.trace_folder import TraceFolder

    folder = TraceFolder(Workspace(patient.config.workspace))
    good, bad = 0, []
    for path in folder.files():
        try:
            folder.parse(path)
            good += 1
        except MalformedFile as fault:
            bad.append(fault)
    yield from _files("traces", good, bad)


def check_hooks(patient: Patient) -> Iterator[Finding]:
    """Settings of projects parse, and every hook that they and the settings name can be had."""
    from llmos_workers.execution.hooks.chain import name_of
    from llmos_workers.execution.hooks.external import BrokenHook
    from llmos_workers.execution.hooks.projects import ProjectHooks
    from llmos_workers.kernel.project_settings import ProjectFiles
    from llmos_workers.kernel.projects import ProjectManager
    from llmos_workers.kernel.workspace import Workspace

    workspace = Workspace(patient.config.workspace)
    hooks = ProjectHooks(patient.config, settings=ProjectFiles(workspace).of)
    projects = [folder.name for folder in ProjectManager(workspace).list_projects()]
    good, broken = set(), dict[str, Finding]()
    for project in projects or ["default"]:
        try:
            found = hooks.of_the_user(project)
        except MalformedFile as fault:
            broken[project] = fail("hooks", fault.message, "Correct it: the project stands still.")
            continue
        for hook in found:
            name = name_of(hook)
            if isinstance(hook, BrokenHook):
                words = f"{name} cannot be used ({hook.fault}): every call is denied."
                broken[name] = fail("hooks", words, "See llmos hooks list.")
            else:
                good.add(name)
    yield from broken.values()
    if not broken:
        yield ok("hooks", f"{len(good)} of yours" if good else "none of yours")


def _files(name: str, good: int, problems: Iterable[Any]) -> Iterator[Finding]:
    bad = list(problems)
    if not bad:
        yield ok(name, f"{good} readable")
    for fault in bad[:MOST_FILES]:
        fix = fault.fix or "Correct the file, or delete it; it is skipped until then."
        yield warn(name, fault.message, fix)
    if len(bad) > MOST_FILES:
        yield warn(name, f"{len(bad) - MOST_FILES} more files cannot be read.", "As above.")
