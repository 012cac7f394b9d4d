"""Events move the internal state, and the state changes what may run without asking.

Start a stack first (`llmos up`), then: python examples/sentience_demo.py

While the project is calm, a goal writes its file unasked. After two attacks and a failure, a goal
of the same kind waits for a person. Praise gives self-confidence back; only time gives back
safety. docs/sentience.md says what moves what.
"""

from llmos_workers import LLMOS
from llmos_workers.contracts.state import TriggerType
from llmos_workers.sentience.cognitive_kernel import CognitiveKernel
from llmos_workers.sentience.valence import decay, latent_mode, setpoints

PROJECT = "mood"
BAD = [TriggerType.SAFETY_VIOLATION, TriggerType.SAFETY_VIOLATION, TriggerType.TASK_FAILURE]
GOOD = [TriggerType.USER_FEEDBACK_POSITIVE] * 3 + [TriggerType.TASK_SUCCESS] * 3


def show(llmos: LLMOS, what: str) -> None:
    """The four values, the mode that follows, and what that asks."""
    state = llmos.sentience.get_state(PROJECT)
    values = " ".join(f"{name} {value:+.2f}" for name, value in state.valence)
    policy = CognitiveKernel(llmos.config.sentience).derive_policy(state)
    writes = "asks before it writes" if policy.require_confirmation_for_writes else "writes unasked"
    print(f"{what:17} {values}  {state.latent_mode}: {writes}")


def run(llmos: LLMOS, name: str) -> None:
    """A goal that writes a file; say yes where it asks."""
    handle = llmos.submit(f"Sort the lines of {name}.txt into {name}-sorted.txt", project=PROJECT)
    for event in handle.events(timeout=300):
        if event.kind == "approval":
            break
    for asked in llmos.approvals(project=PROJECT):
        print(f"  {name}: waits for a yes to {asked.tool}, for {asked.reason}")
        llmos.approve(asked.approval_id, by="you")
    print(f"  {name}: {handle.result(300).status}")


with LLMOS() as client:
    folder = client.config.workspace / "projects" / PROJECT / "output"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("calm", "careful"):
        (folder / f"{name}.txt").write_text("pear\napple\n")
    client.sentience.reset(PROJECT)
    show(client, "at first")
    run(client, "calm")
    for event in BAD:
        client.sentience.trigger(event, "shown in the demo", project=PROJECT)
        show(client, event.value)
    run(client, "careful")
    for event in GOOD:
        client.sentience.trigger(event, "shown in the demo", project=PROJECT)
    show(client, "after praise")
    settings = client.config.sentience
    later = decay(client.sentience.get_state(PROJECT).valence, setpoints(settings), 4 * 3600)
    print(f"in four hours     safety {later.safety:+.2f}: {latent_mode(later)}")
