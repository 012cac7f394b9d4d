"""The states of a goal as a drawing, from the table in the code. Pure."""

from __future__ import annotations

from llmos_workers.contracts.goal import FINAL_STATES, TRANSITIONS, WAITING_STATES, GoalState

INK, GREY, LINE, ACCENT = "#1d2428", "#5b676e", "#9aa6ac", "#0b6e63"
WIDTH, HEIGHT, BOX_W, BOX_H = 860, 436, 150, 40
UNDER_WAY = tuple(s for s in GoalState if s not in WAITING_STATES | FINAL_STATES)
PLACES = {state: (60 + 295 * number, 90) for number, state in enumerate(UNDER_WAY)}
WAITING_BOX, FINAL_BOX, TOP_BOX = (30, 262, 380, 150), (450, 262, 380, 150), (30, 24, 800, 176)


def states_svg() -> str:
    """Three frames: under way, waiting, final. Raises ValueError when the table no longer has
    the form that this draws: all of a frame alike towards the other frames.
    """
    _check()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="system-ui, sans-serif" role="img" aria-label="States of a goal">',
        f'<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="{GREY}"/>'
        "</marker></defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _frame(TOP_BOX, "under way"),
        _frame(WAITING_BOX, "waiting: no worker is held"),
        _frame(FINAL_BOX, "final: nothing follows"),
    ]
    for state, (x, y) in PLACES.items():
        parts.append(_box(x, y, state))
    for group, (x, y, _, _) in ((WAITING_STATES, WAITING_BOX), (FINAL_STATES, FINAL_BOX)):
        ordered = [state for state in GoalState if state in group]
        parts += [
            _box(
                x + 20 + 175 * (number % 2),
                y + 32 + 38 * (number // 2),
                state,
                width=165,
                height=32,
            )
            for number, state in enumerate(ordered)
        ]
    parts += [
        _inner(before, after)
        for before in UNDER_WAY
        for after in UNDER_WAY
        if after in TRANSITIONS[before]
    ]
    parts += [
        _arrow("M190 200V262", both=True),  # under way <-> waiting
        _arrow("M640 200V262"),  # under way -> final
        _arrow("M410 337H450"),  # waiting -> final
        "</svg>\n",
    ]
    return "\n".join(parts)


def _check() -> None:
    groups = (frozenset(UNDER_WAY), WAITING_STATES, FINAL_STATES)
    want = {(0, 1), (0, 2), (1, 0), (1, 2)}
    for i, one in enumerate(groups):
        for j, other in enumerate(groups):
            if i == j == 0:
                continue
            hits = {after in TRANSITIONS[before] for before in one for after in other}
            if hits != {(i, j) in want}:
                raise ValueError(
                    f"the drawing does not fit the table: {sorted(one)} to {sorted(other)}"
                )


def _inner(before: GoalState, after: GoalState) -> str:
    (x1, y1), (x2, _) = PLACES[before], PLACES[after]
    top, bottom, middle = y1, y1 + BOX_H, y1 + BOX_H // 2
    far = abs(UNDER_WAY.index(after) - UNDER_WAY.index(before)) > 1
    if before is after:
        path = f"M{x1 + BOX_W - 44} {bottom}c0 30 30 30 30 2"
    elif x1 < x2 and far:
        path = f"M{x1 + 100} {top}C{x1 + 160} {top - 46} {x2 - 10} {top - 46} {x2 + 50} {top - 2}"
    elif x1 < x2:
        path = f"M{x1 + BOX_W} {middle - 8}H{x2 - 2}"
    elif far:
        low, right = bottom + 56, x2 + BOX_W + 20
        path = f"M{x1 + 40} {bottom}C{x1 - 20} {low} {right} {low} {x2 + 90} {bottom + 2}"
    else:
        path = f"M{x1} {middle + 8}H{x2 + BOX_W + 2}"
    return _arrow(path)


def _frame(place: tuple[int, int, int, int], title: str) -> str:
    x, y, width, height = place
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="10" fill="#f6f8f8" '
        f'stroke="#dfe5e7"/><text x="{x + 16}" y="{y + 21}" font-size="13" '
        f'fill="{GREY}">{title}</text>'
    )


def _box(x: int, y: int, state: GoalState, *, width: int = BOX_W, height: int = BOX_H) -> str:
    colour = ACCENT if state is GoalState.SUCCEEDED else LINE
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="#ffffff" '
        f'stroke="{colour}"/><text x="{x + width // 2}" y="{y + height // 2 + 5}" font-size="13" '
        f'font-weight="600" text-anchor="middle" fill="{INK}">{state}</text>'
    )


def _arrow(path: str, *, both: bool = False) -> str:
    ends = 'marker-start="url(#end)" ' if both else ""
    return (
        f'<path d="{path}" fill="none" stroke="{GREY}" stroke-width="1.4" {ends}'
        'marker-end="url(#end)"/>'
    )
