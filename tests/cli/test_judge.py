"""llmos judge stats and llmos explain."""

from llmos_cli.explain import lines
from llmos_workers.kernel import keys

TOLD = {
    "mode": "MIXED",
    "reason": "like 'Create a calculator'",
    "to_judge": "0" * 16,
    "trace_id": "0" * 16,
    "candidates": [
        {
            "trace_id": "0" * 16,
            "goal_text": "Create a calculator\x1b[31m",
            "stage": "structure",
            "confidence": 0.4,
            "relatedness": 0.87,
            "agreed": ["calculator"],
            "differed": ["only the new goal says 'small'"],
            "slots": {"file": "a.py"},
            "against": ["the input a.csv changed"],
            "threshold": 0.96,
            "outcomes": {"right": 2, "wrong": 1, "error": 0.004},
            "verdict": {
                "judge": "anthropic/m",
                "answer": "no",
                "at": "2026-11-22T00:00:00Z",
                "label": "",
                "reasons": ["another size"],
            },
        }
    ],
}


def test_no_judge_is_said_in_words(run):
    assert "no judge" in run("judge", "stats").out


def test_the_record_of_a_judge_says_whether_it_is_followed(run, state):
    state.sadd(keys.JUDGES, "anthropic/a", "openai/b")
    state.hset(keys.judge("anthropic/a"), mapping={"yes": 320, "right": 299, "cost_micro": 32_000})
    state.hset(keys.judge("openai/b"), mapping={"yes": 9, "right": 4, "wrong": 2})
    told = run("judge", "stats").out
    assert "anthropic/a: followed at once" in told
    assert "openai/b: on probation" in told
    good, bad = run("judge", "stats", "--json").lines
    assert (good["trusted"], bad["trusted"]) == (True, False)
    assert good["false_bound"] < 0.01 < bad["false_bound"]


def test_an_explanation_tells_all_that_speaks_for_and_against():
    told = "\n".join(lines(TOLD))
    for said in (
        "MIXED: like", "a judge would be asked", "confidence 0.400, relatedness 0.87",
        "0.96 (1 of 3 labelled outcomes were wrong)", "agreed:", "only the new goal says 'small'",
        "file = a.py", "the input a.csv changed", "anthropic/m said no", "another size",
    ):  # fmt: skip
        assert said in told


def test_a_trace_taken_out_of_use_is_followed_nowhere():
    one = TOLD["candidates"][0] | {"threshold": 1.01, "verdict": None}
    told = "\n".join(lines(TOLD | {"candidates": [one], "to_judge": None}))
    assert "nowhere for now" in told
    assert "judge" not in told
