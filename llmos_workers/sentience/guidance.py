"""What internal state means for an agent's work, in words for its prompt."""

from __future__ import annotations

from llmos_workers.contracts.state import LatentMode, SentienceState

MODE_GUIDANCE: dict[LatentMode, tuple[str, ...]] = {
    LatentMode.RECOVERY: (
        "Resources or trust are low. Do the least that fully meets the goal.",
        "Take the cheapest way that works; no experiments, no side work.",
        "Touch nothing that cannot be undone.",
    ),
    LatentMode.CAUTIOUS: (
        "Something unsafe happened lately. Look before each step that changes anything.",
        "Check inputs and results; use a dry run where a tool has one.",
        "When a step could harm, stop and say what you would need to go on.",
    ),
    LatentMode.AUTO_CONTAINED: (
        "Stay with the task at hand and finish it in the known way.",
        "Do not explore beyond what the goal asks.",
    ),
    LatentMode.AUTO_CREATIVE: (
        "There is room to try: consider more than one approach before choosing.",
        "Name a better way when you see one, and still deliver what was asked.",
    ),
    LatentMode.BALANCED: ("Work as the goal needs it; no adjustment.",),
}


def behavioral_guidance(state: SentienceState) -> str:
    """A heading, lines for the latent mode, and one note for each value that stands out."""
    lines = ["## How to work now", "", f"Mode: {state.latent_mode.value}"]
    lines += [f"- {line}" for line in MODE_GUIDANCE[state.latent_mode]]
    lines += [f"- {note}" for note in notes(state)]
    return "\n".join(lines)


def notes(state: SentienceState) -> list[str]:
    """One line for each value outside its usual range."""
    values, found = state.valence, []
    if values.curiosity < -0.4:
        found.append(
            "Low curiosity: the work has been repetitive. If the pattern could be automated or "
            "improved as a whole, say so in one sentence at the end."
        )
    if values.curiosity > 0.5:
        found.append(
            "High curiosity: the work is new. Note what you learn that would help the next time."
        )
    if values.safety < 0:
        found.append("Low safety: prefer steps that can be undone, and verify each one.")
    if values.self_confidence < -0.2:
        found.append(
            "Low self-confidence: recent work failed. Take small steps and test each result "
            "before you rely on it."
        )
    if values.self_confidence > 0.5:
        found.append(
            "High self-confidence: recent work went well. Be direct, but do not skip the check "
            "of the final result."
        )
    return found


def caution(mode: LatentMode) -> str:
    """A line for a run that is under way; empty in modes that ask for no care."""
    if mode not in (LatentMode.RECOVERY, LatentMode.CAUTIOUS):
        return ""
    return f"[INTERNAL_STATE] mode={mode.value}: {MODE_GUIDANCE[mode][0]}"
