"""What of a trace is signed, and what its signature is worth.

Signed is all that decides what a replay does and which goals it answers: goal, wordings, vetoes,
slots, steps, inputs, outputs, answer and flags. Not signed is what merely counts or follows from
the rest (``UNSIGNED``). A field at its default takes no part, so that a later version of llmos
with more fields still knows the signatures of this one; a default must therefore never change
its meaning.
"""

from __future__ import annotations

import json

from llmos_workers.contracts.base import unknown_fields
from llmos_workers.contracts.trace import ExecutionTrace, Standing
from llmos_workers.kernel.signing import KeyRing, Trust, Verdict
from llmos_workers.learning.trace_fields import COUNTERS

KIND = "trace"
UNSIGNED = frozenset({*COUNTERS, "format", "revision", "goal_signature", "signature", "standing"})

_STANDING = {
    Verdict.GOOD: Standing.SIGNED,
    Verdict.MISSING: Standing.UNSIGNED,
    Verdict.WRONG: Standing.EDITED,
    Verdict.UNKNOWN_KEY: Standing.UNKNOWN_KEY,
}
_WORDS = {
    Standing.UNSIGNED: "nobody signed it",
    Standing.EDITED: "it was edited by hand",
    Standing.UNKNOWN_KEY: "it is signed by a key that is not trusted here",
    Standing.NEWER: "a newer release of llmos wrote it, with more than this one understands",
    Standing.UNCHECKED: "its signature was not checked",
}


def signed_bytes(trace: ExecutionTrace) -> bytes:
    """What a signature of the trace is made of: canonical JSON."""
    content = trace.model_dump(mode="json", exclude=set(UNSIGNED), exclude_defaults=True)
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def sealed(trace: ExecutionTrace, keys: KeyRing) -> ExecutionTrace:
    """The trace with a signature of this workspace. Raises as KeyRing.sign does."""
    signature = keys.sign(KIND, signed_bytes(trace))
    return trace.model_copy(update={"signature": signature, "standing": Standing.SIGNED})


def judged(trace: ExecutionTrace, keys: KeyRing | Trust) -> ExecutionTrace:
    """The trace with the standing that its signature gives it."""
    standing = _STANDING[keys.check(KIND, signed_bytes(trace), trace.signature)]
    if standing is Standing.SIGNED and unknown_fields(trace):
        standing = Standing.NEWER
    return trace.model_copy(update={"standing": standing})


def objection(trace: ExecutionTrace) -> str:
    """Why the trace may neither be followed nor help; "" when nothing is against it."""
    if trace.standing is Standing.SIGNED:
        return ""
    if trace.standing is Standing.NEWER:
        return f"{_WORDS[trace.standing]}; upgrade this worker"
    return f"{_WORDS[trace.standing]}; approve it with {_approval(trace)}"


def taint_objection(trace: ExecutionTrace) -> str:
    """Why a trace learned from content from outside may not be followed yet; "" when it may.
    It may help a model meanwhile, whose run is then tainted, too.
    """
    if not trace.tainted or trace.approved_by:
        return ""
    return f"the learning run read untrusted content; approve it with {_approval(trace)}"


def _approval(trace: ExecutionTrace) -> str:
    project = "" if trace.project == "default" else f" --project {trace.project}"
    return f"llmos traces approve {trace.trace_id}{project}"
