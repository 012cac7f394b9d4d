"""The arm as the fleet knows it: a simulator, so that runs can be proved by doing them again."""

from llmos_workers import llm_tool


@llm_tool("MoveArm", effect="read")
def move_arm(x: float) -> str:
    """Move the arm to the position x, in millimetres from the base."""
    del x  # a real simulator would look whether the way is free, and raise ToolError
    return "done"
