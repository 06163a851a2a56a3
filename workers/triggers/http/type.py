"""The ``http`` trigger type."""

from __future__ import annotations

from collections.abc import Iterator, Set

from kubecdc.manifest.finding import Finding
from kubecdc.workers.sensor.policy import Policy
from kubecdc.workers.triggers.contract import Context, Trigger, TriggerType
from kubecdc.workers.triggers.http.address import BadAddress, parse
from kubecdc.workers.triggers.http.manifest import Http
from kubecdc.workers.triggers.http.request import HttpRequest


class HttpType(TriggerType[Http]):
    """Makes an HTTP request for each event."""

    model = Http
    example = "{url: …}"
    policies = frozenset({"status"})
    fixed = {"tls": "make a trigger of each server"}  # noqa: RUF012 - declared as a ClassVar by the base

    def problems(self, config: Http, written: Set[str]) -> Iterator[Finding]:
        """An address that is not one of HTTP."""
        if "url" in written:
            return
        try:
            parse(config.url)
        except BadAddress as e:
            yield Finding(("url",), str(e), e.hint)

    def build(self, config: Http, policy: Policy, context: Context) -> Trigger[HttpRequest]:
        """The trigger. The HTTP client is imported here."""
        from kubecdc.workers.triggers.http.trigger import HttpTrigger

        return HttpTrigger(
            allow=policy.status.allow if policy.status else (),
            tls=config.tls,
            keys=context.keys,
            concurrency=context.concurrency,
            addresses=context.addresses,
            own=config.url,
        )
