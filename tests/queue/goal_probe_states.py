"""The waiting states, in the order in which the probe's ``park<N>`` goals take them.

WAITING_CHILDREN is for goals with members, see tests/spine/test_plan.py. Apart from the
probe tasks, which a test process must not import beside llmos's own.
"""

from llmos_workers.contracts.goal import GoalState

STATES = [
    GoalState.WAITING_APPROVAL,
    GoalState.WAITING_FLIGHT,
    GoalState.WAITING_RATE,
    GoalState.PARKED,
]
