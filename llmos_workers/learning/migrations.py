"""The steps that bring data of older releases to this one's schema (kernel/schema).

1. Records of traces without the fields that stand at their defaults: such a field is then no
   reason for a release that does not know it to keep away from the trace.
2. Files of traces in format 2, without counters. What was signed stays signed as it was: the
   counters never were, and an edited file stays an edited one.
"""

from __future__ import annotations

from typing import Any, cast

import redis
from redis.exceptions import WatchError

from llmos_workers.contracts.trace import ExecutionTrace
from llmos_workers.contracts.watch import Watch, unwatched
from llmos_workers.kernel import keys
from llmos_workers.kernel.codec import pack, unpack
from llmos_workers.kernel.schema import Schema, Step
from llmos_workers.kernel.signing import KeyRing
from llmos_workers.kernel.workspace import Workspace
from llmos_workers.learning.trace_fields import COUNTERS
from llmos_workers.learning.traces import TraceManager


def schema_of(
    client: redis.Redis,
    workspace: Workspace,
    signing: KeyRing | None = None,
    watch: Watch = unwatched,
) -> Schema:
    """The schema of a state database, with the steps to this release's."""
    manager = TraceManager(client, workspace, keys=signing)
    return Schema(
        client,
        (
            Step(1, "records of traces without defaults", lambda: shorten_records(client, watch)),
            Step(2, "files of traces without counters (format 2)",
                 lambda: manager.renew_files(watch)),
        ),
    )  # fmt: skip


def shorten_records(client: redis.Redis, watch: Watch = unwatched) -> int:
    """Step 1; how many records changed."""
    names = [
        keys.trace(project.decode(), trace_id.decode())
        for project in sorted(cast("set[bytes]", client.smembers(keys.TRACE_PROJECTS)))
        for trace_id in sorted(
            cast("set[bytes]", client.smembers(keys.trace_ids(project.decode())))
        )
    ]
    return sum(_shorten(client, name) for name in watch("shortening records of traces", names))


def _shorten(client: redis.Redis, name: str) -> bool:
    with client.pipeline() as pipe:
        while True:
            try:
                pipe.watch(name)  # type: ignore[no-untyped-call]
                content = cast("bytes | None", pipe.hget(name, "content"))
                if content is None:
                    return False
                trace = ExecutionTrace.model_validate(unpack(content))
                left_out = {*COUNTERS, "format"}
                short = pack(
                    trace.model_dump(mode="python", exclude=left_out, exclude_defaults=True)
                )
                if unpack(short) == unpack(content):
                    return False
                pipe.multi()
                pipe.hset(name, "content", cast(Any, short))
                pipe.execute()
            except WatchError:
                continue
            return True
