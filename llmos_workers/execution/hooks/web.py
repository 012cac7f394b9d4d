"""WebHook: whether a page may be fetched, before anything is resolved."""

from __future__ import annotations

from collections.abc import Iterable

from llmos_workers.contracts.errors import ToolDenied
from llmos_workers.execution.hooks.base import ALLOW, Hook, HookDecision, HookEvent, ask, deny
from llmos_workers.execution.net.address import is_allowed_host
from llmos_workers.execution.net.url import read_url


class WebHook(Hook):
    """Hosts of security.allowed_hosts (and below them) pass; another public host is a person's
    business; what is no plain address of the public web is refused.
    """

    name = "WebHook"
    judges = True

    def __init__(self, allowed_hosts: Iterable[str] = ()) -> None:
        self._allowed = tuple(allowed_hosts)

    def pre_tool(self, event: HookEvent) -> HookDecision:
        """Judge the address of a WebFetch call."""
        if event.call is None or event.call.name != "WebFetch":
            return ALLOW
        try:
            target = read_url(str(event.call.arguments.get("url", "")))
        except ToolDenied as denied:
            return deny(denied.rule, denied.message)
        if is_allowed_host(target.host, self._allowed):
            return ALLOW
        return ask("web:ask", f"{target.host} is not among security.allowed_hosts")
