#!/usr/bin/env python3
"""Follows what llmos learned on a device, with a small local model for goals worded otherwise.

usage: run_agentic_follower.py BUNDLE "goal" --key ed25519:... --endpoint URL [options]

Takes run_follower.py beside it, and all of its options (see its --help), and:

  --endpoint URL   a server on this device that speaks OpenAI's chat completions with
                   response_format json_schema: llama.cpp (http://127.0.0.1:8080), Ollama
                   (http://127.0.0.1:11434). Also from LLMOS_EDGE_ENDPOINT.
  --model NAME     which of its models, where it has several: granite4:1b, qwen2.5-coder:1.5b.
                   Also from LLMOS_EDGE_MODEL. A key it asks for: LLMOS_EDGE_API_KEY.
  --timeout SECS   how long it may think (default: 60)

Prints one JSON report. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, bundle or no model.

What run_follower.py is sure of is done without the model. Otherwise it may fill in the values of
the one trace whose words the goal has, and nothing else: it chooses no trace and no call. What it
says is believed only where each value stands in the goal, of the kind that was learned, and the
rest of the goal is then a known wording: the same words in the same places, but for politeness,
articles, phrases with "to", "from", "using", "via" that stand elsewhere, and words that bundle
(match.alike) or device ("words": {"move": ["bring"], "": ["robot"]}) count as the same, or as
nothing. So a wrong answer of the model is a refusal. See docs/edge.md.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
import time
import unicodedata

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from edge_runtime.run_follower import Data, Found, Token

    Element = tuple[str, str]
    """("slot", name), or kind and text of a word or value that stands fast."""
    Chunk = tuple[str, list[Element]]
    """What leads in ("" for nothing), and what follows."""

if TYPE_CHECKING or __package__:
    from edge_runtime import run_follower as base
else:  # two files in one folder of a device; -I takes that folder off the path
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import run_follower as base

OPTIONS = ("--endpoint", "--model", "--timeout")
MAX_ANSWER_BYTES = 1_000_000
MAX_CHOICES = 64
MAX_READINGS = 2_000
MAX_EXAMPLES = 3
ARTICLES = frozenset({"a", "an", "the"})
MOVABLE = {
    "to": "to", "into": "to", "onto": "to", "from": "from", "using": "using", "via": "via",
}  # fmt: skip
"""Phrases that these lead in mean the same wherever they stand in the goal."""
BEFORE = re.compile(
    r"[\s,]*(?:please|kindly|(?:could|can|would|will) you|go ahead and|let's"
    r"|i (?:want|need|would like) you to|i'd like you to)\b[\s,]*",
    re.IGNORECASE,
)
AFTER = re.compile(r"[\s,]+(?:please|thanks|thank you)[\s.!?]*$", re.IGNORECASE)
SYSTEM = (
    "You fill in the arguments of a known task. Answer with one JSON object. "
    "Copy each value from the request, letter for letter."
)


# -- What the goal says beside its values --------------------------------------------------------


def bare(goal: str) -> str:
    """The goal without politeness around it."""
    goal = unicodedata.normalize("NFC", goal).strip()
    while True:
        shorter = AFTER.sub("", goal)
        found = BEFORE.match(shorter)
        shorter = shorter[found.end() :] if found else shorter
        if shorter == goal:
            return goal
        goal = shorter


def is_article(part: Token, after: Any, *, first: bool, behind: int) -> bool:
    """Whether a word is an article, and no name ("press button A"): written small, in front of
    something, and "a" near the beginning of its phrase, ``behind`` words of which stand before it.
    """
    _, said, written, _ = part
    if said not in ARTICLES or not (first or written.islower()):
        return False
    if after[0] in ("", "other") or (after[0] == "word" and after[1] in MOVABLE):
        return False
    return said == "the" or behind <= 1


def harmless(words: Any) -> set[str]:
    """Words as they are compared; those that turn a goal around ("not", "all") never count."""
    if not isinstance(words, list):
        raise base.Unusable(f"{words!r} is no list of words")
    return {str(word).lower() for word in words} - base.LOADED


class Wording:
    """One known wording of an item, and how a goal is held against it."""

    def __init__(self, item: Data, text: str, words: dict[str, list[str]]) -> None:
        """``words``: what the device counts as the same word; those under "" say nothing."""
        self.slots = {slot["name"]: slot for slot in item["match"]["slots"]}
        self.idle = harmless(words.get("", []))
        self.alike: dict[str, set[str]] = {}
        for known in (item["match"].get("alike", {}), words):
            for word, others in known.items():
                self.alike.setdefault(word.lower(), set()).update(harmless(others))
        made = base.template_of(bare(text), list(self.slots.values()))
        self.usable = made is not None and not self.runs_together(made)
        self.chunks = self.chunks_of(made or [])
        self.fixed = [part for _, chunk in self.chunks for part in chunk if part[0] != "slot"]
        self.leads = [lead for lead, _ in self.chunks]

    def runs_together(self, made: list[Any]) -> bool:
        """Whether two values follow each other, and words do not tell where one ends."""
        pairs = [pair for pair in zip(made, made[1:]) if pair[0][0] == pair[1][0] == "slot"]
        return any(self.is_a(part, "word") for pair in pairs for part in pair)

    def same(self, known: Element, said: Element) -> bool:
        """Whether what a goal says in some place is what this wording says."""
        if known[0] == said[0] == "word":
            return known[1] == said[1] or said[1] in self.alike.get(known[1], ())
        return known == said

    def chunks_of(self, parts: list[Any]) -> list[Chunk]:
        """What stands between commas and the words that lead in; without what says nothing."""
        chunks: list[Chunk] = [("", [])]
        for at, part in enumerate(parts):
            kind, said = part[0], part[1]
            after = parts[at + 1] if at + 1 < len(parts) else ("", "")
            if kind == "word" and (
                said in self.idle
                or (said == "file" and self.is_a(after, "file"))
                or is_article(part, after, first=at == 0, behind=len(chunks[-1][1]))
            ):
                continue
            if (kind, said) == ("other", ","):
                chunks.append(("", []))
            elif kind == "word" and said in MOVABLE:
                chunks.append((MOVABLE[said], []))
            elif (kind, said) == ("word", "at") and self.is_a(after, "number"):
                chunks.append(("at", []))
            else:
                chunks[-1][1].append((kind, said))
        return [chunk for chunk in chunks if chunk[0] or chunk[1]]

    def is_a(self, part: Any, kind: str) -> bool:
        """Whether a part is a value of a kind, itself or in its slot."""
        if part[0] != "slot":
            return bool(part[0] == kind)
        pieces = base.tokens_of(self.slots[part[1]]["value"])
        return not self.slots[part[1]]["quoted"] and {piece[0] for piece in pieces} == {kind}

    def fits(self, parts: list[Any]) -> bool:
        """Whether a goal, with holes where its values stand, is this wording."""
        said = self.chunks_of(parts)
        if len(said) != len(self.chunks):
            return False
        known = self.chunks
        if len(set(self.leads)) == len(self.leads):  # no two phrases that could change places
            known, said = sorted(known), sorted(said)
        return all(
            one[0] == two[0] and len(one[1]) == len(two[1]) and all(map(self.same, one[1], two[1]))
            for one, two in zip(known, said)
        )

    def may_fit(self, goal: str) -> bool:
        """Whether the goal has all words of this wording, and beside them only what values of its
        slots could be. Decided before the model is asked anything.
        """
        parts = base.tokens_of(bare(goal))
        left = [part for _, chunk in self.chunks_of(parts) for part in chunk]
        for known in self.fixed:
            fitting = [part for part in left if self.same(known, part)]
            if not fitting:
                return False
            left.remove(known if known in fitting else fitting[0])
        wanted = []
        for slot in self.slots.values():
            pieces = [("quote",)] if slot["quoted"] else base.tokens_of(slot["value"])
            wanted += [piece[0] for piece in pieces]
        words = [said for kind, said in left if kind == "word"]
        if words and ("word" not in wanted or base.LOADED.intersection(words)):
            return False
        others = [kind for kind, _ in left if kind != "word"]
        return sorted(others) == sorted(kind for kind in wanted if kind != "word")


# -- Values --------------------------------------------------------------------------------------


def spans(slot: Data, goal: str) -> Iterator[tuple[int, int, str]]:
    """(first token, one behind the last, text) of each piece of a goal that may be a slot's value:
    of the learned kind, and as many words, but for names with capital letters.
    """
    tokens = base.tokens_of(goal)
    if slot["quoted"]:
        for at, token in enumerate(tokens):
            if token[0] == "quote":
                yield at, at + 1, token[2][1:-1]
        return
    old = base.tokens_of(slot["value"])
    for at in range(len(tokens)):
        for end in range(at + 1, min(len(tokens), at + max(len(old), base.MAX_PHRASE_WORDS)) + 1):
            taken = tokens[at:end]
            if not base.fits(slot, taken) or (len(taken) != len(old) and not named(old, taken)):
                continue
            yield at, end, goal[taken[0][3] : taken[-1][3] + len(taken[-1][2])]


def named(*values: list[Token]) -> bool:
    """Whether all words begin with a capital letter, as names do."""
    return all(part[0] == "word" and part[2][0].isupper() for value in values for part in value)


def choices(item: Data, goal: str) -> dict[str, list[str]]:
    """What the model may say for each slot. Raises Refusal where there is nothing."""
    found = {}
    for slot in item["match"]["slots"]:
        texts = list(dict.fromkeys(text for _, _, text in spans(slot, goal)))
        if not texts:
            raise base.Refusal(f"nothing in the goal could be {slot['name']}")
        if len(texts) > MAX_CHOICES:
            raise base.Refusal(f"too much in the goal could be {slot['name']}")
        found[slot["name"]] = texts
    return found


def with_holes(item: Data, goal: str, values: dict[str, str]) -> list[Any] | None:
    """The goal's tokens with ("slot", name) where the values stand. None unless each stands there
    once, as it is, and no two share a word.
    """
    tokens: list[Any] = list(base.tokens_of(goal))
    holes: dict[int, tuple[int, str]] = {}
    taken: set[int] = set()
    for slot in item["match"]["slots"]:
        places = [(at, end) for at, end, text in spans(slot, goal) if text == values[slot["name"]]]
        if len(places) != 1 or taken & set(range(*places[0])):
            return None
        taken |= set(range(*places[0]))
        holes[places[0][0]] = (places[0][1], slot["name"])
    made: list[Any] = []
    for at, token in enumerate(tokens):
        if at in holes:
            made.append(("slot", holes[at][1]))
        elif at not in taken:
            made.append(token)
    return made


def reads_as(item: Data, wordings: list[Wording], goal: str, values: dict[str, str]) -> bool:
    """Whether the goal with these values is a known wording."""
    made = with_holes(item, goal, values)
    return made is not None and any(known.fits(made) for known in wordings)


def readings(
    item: Data, wordings: list[Wording], goal: str, allowed: dict[str, list[str]]
) -> list[Data]:
    """All values with which the goal is a known wording. Raises Refusal for too many to look at."""
    count = 1
    for texts in allowed.values():
        count *= len(texts)
    if count > MAX_READINGS:
        raise base.Refusal("the goal can be read in too many ways")
    ways = [dict(zip(allowed, texts)) for texts in itertools.product(*allowed.values())]
    return [values for values in ways if reads_as(item, wordings, goal, values)]


def check_values(item: Data, wordings: list[Wording], goal: str, values: Any) -> dict[str, str]:
    """The values that a model gave, when they are surely what the goal says. Raises Refusal."""
    slots = item["match"]["slots"]
    names = [slot["name"] for slot in slots]
    if not isinstance(values, dict) or sorted(values) != sorted(names):
        raise base.Refusal("the model did not give each argument once")
    if not all(isinstance(value, str) for value in values.values()):
        raise base.Refusal("the model gave an argument that is no text")
    allowed = choices(item, goal)
    for name in names:
        if values[name] not in allowed[name]:
            raise base.Refusal(f"the goal does not say {values[name]!r} for {name}")
    if not reads_as(item, wordings, goal, values):
        raise base.Refusal("with the model's values the goal is no known wording")
    if len(readings(item, wordings, goal, allowed)) > 1:
        raise base.Refusal("the goal can be read in more than one way")
    shown = base.write_json(item["steps"])
    for slot in slots:
        new = values[slot["name"]]
        why = base.objection_to_value(slot, new)
        if not why and new != slot["value"] and not base.holds(shown, slot["name"]):
            why = f"no call shows the value of {slot['name']}"
        if why:
            raise base.Refusal(why)
    check_vetoes(item, values)
    return {name: values[name] for name in names}


def check_vetoes(item: Data, values: dict[str, str]) -> None:
    """Raise Refusal where people said no to a known wording with these values."""
    longest_first = sorted(item["match"]["slots"], key=lambda slot: -len(slot["value"]))
    for text in item["match"]["wordings"]:
        said = text
        for at, slot in enumerate(longest_first):
            said = said.replace(slot["value"], f"\0{at}\0")
        for at, slot in enumerate(longest_first):
            said = said.replace(f"\0{at}\0", values[slot["name"]])
        if base.is_vetoed(item["match"], said):
            raise base.Refusal("people said that this goal is not this trace's")


# -- The model -----------------------------------------------------------------------------------


class Model:
    """A server on this device that speaks OpenAI's chat completions."""

    def __init__(self, endpoint: str, name: str = "", timeout: float = 60.0, key: str = "") -> None:
        """Raises Unusable for an address that is none. ``timeout`` in seconds, for all of it."""
        from urllib.parse import urlsplit

        try:
            url = urlsplit(endpoint if "//" in endpoint else f"http://{endpoint}")
            self.host, self.port, self.tls = url.hostname or "", url.port, url.scheme == "https"
        except ValueError:
            url, self.host = urlsplit(""), ""
        if url.scheme not in ("http", "https") or not self.host or url.query:
            raise base.Unusable(f"{endpoint!r} is no address of a model: http://127.0.0.1:8080")
        path = url.path.rstrip("/")
        if not path.endswith("/chat/completions"):
            path += "/chat/completions" if path.endswith("/v1") else "/v1/chat/completions"
        self.path, self.name, self.timeout, self.key = path, name, timeout, key

    def fill(self, item: Data, goal: str, allowed: dict[str, list[str]]) -> Any:
        """What the model says the arguments are, unchecked. Raises Refusal when it says nothing."""
        body = {
            "messages": messages(item, goal),
            "temperature": 0,
            "max_tokens": 64 + 4 * sum(len(max(texts, key=len)) for texts in allowed.values()),
            "stream": False,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "arguments", "strict": True, "schema": schema(allowed)},
            },
        }
        if self.name:
            body["model"] = self.name
        status, data = self.post(json.dumps(body).encode())
        if status != 200:
            said = data[:200].decode("utf-8", "replace").strip()
            raise base.Refusal(f"the model's server answered {status}: {said}")
        try:
            choice = json.loads(data)["choices"][0]
            text, ended = choice["message"]["content"], choice.get("finish_reason")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            raise base.Refusal("the model's server did not answer as OpenAI's does") from None
        if ended == "length":
            raise base.Refusal("the model's answer was cut off")
        try:
            return json.loads(text, object_pairs_hook=once)
        except (ValueError, TypeError, RecursionError):
            raise base.Refusal("the model's answer is not JSON") from None

    def post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises Refusal: not there, too slow, too long."""
        import http.client

        kind = http.client.HTTPSConnection if self.tls else http.client.HTTPConnection
        ends = time.monotonic() + self.timeout
        connection = kind(self.host, self.port, timeout=self.timeout)
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            connection.request("POST", self.path, body, headers)
            answer = connection.getresponse()
            data = b""
            while part := answer.read1(65_536):
                data += part
                if len(data) > MAX_ANSWER_BYTES:
                    raise base.Refusal("the model's answer is too long")
                if time.monotonic() > ends:
                    raise TimeoutError
            return answer.status, data
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError) or "timed out" in str(error):  # 3.9: its own class
                why = f"the model did not answer within {self.timeout:g} s"
                raise base.Refusal(why) from None
            where = f"{self.host}:{self.port or (443 if self.tls else 80)}"
            raise base.Refusal(f"no model can be reached at {where}: {error}") from None
        finally:
            connection.close()


def once(pairs: list[tuple[str, Any]]) -> Data:
    """An object whose names are all different. Raises ValueError."""
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a name twice")
    return dict(pairs)


def schema(allowed: dict[str, list[str]]) -> Data:
    """What an answer may be: each argument, as one of what the goal says."""
    return {
        "type": "object",
        "properties": {name: {"type": "string", "enum": texts} for name, texts in allowed.items()},
        "required": list(allowed),
        "additionalProperties": False,
    }


def messages(item: Data, goal: str) -> list[Data]:
    """Known wordings with their values, as if they had been asked; then the goal."""
    values = json.dumps({slot["name"]: slot["value"] for slot in item["match"]["slots"]})
    made = [{"role": "system", "content": SYSTEM}]
    for text in item["match"]["wordings"][:MAX_EXAMPLES]:
        made.append({"role": "user", "content": text})
        made.append({"role": "assistant", "content": values})
    return [*made, {"role": "user", "content": goal}]


# -- The goal ------------------------------------------------------------------------------------


def candidate(items: list[Data], goal: str, device: Data, error: base.NoMatch) -> Data:
    """The one item whose structure the goal has. Raises NoMatch."""
    if error.fitting:
        raise error
    found = []
    for item in items:
        trace = item["match"]
        if trace["exact_only"] or base.is_vetoed(trace, goal):
            continue
        if not trace["slots"]:
            error.against[item["id"]] = "it has no arguments that a model could fill in"
            continue
        if not any(known.may_fit(goal) for known in wordings_of(item, device)):
            error.against[item["id"]] = "the goal has other words than any known wording"
            continue
        found.append(item)
    if not found:
        raise error
    if len(found) > 1:
        names = ", ".join(item["id"] for item in found)
        raise base.NoMatch(f"more than one trace could do this: {names}", error.against)
    return found[0]


def wordings_of(item: Data, device: Data) -> list[Wording]:
    """The wordings of an item in which each value has its place."""
    made = [Wording(item, text, device["words"]) for text in item["match"]["wordings"]]
    return [known for known in made if known.usable]


def helper(model: Model | None) -> base.Helper:
    """What is asked where no trace surely fits."""

    def ask(items: list[Data], goal: str, device: Data, error: base.NoMatch, report: Data) -> Found:
        if model is None:
            raise base.Unusable(
                f"{error}, and no model is configured that could help: --endpoint URL "
                "(llama.cpp, Ollama), or LLMOS_EDGE_ENDPOINT"
            )
        item = candidate(items, goal, device, error)
        asked, began = bare(goal), time.monotonic()
        said = model.fill(item, asked, choices(item, asked))
        took = round(time.monotonic() - began, 3)
        report["model"] = {"name": model.name, "seconds": took, "said": json.dumps(said)[:500]}
        values = check_values(item, wordings_of(item, device), asked, said)
        return item, values, error.against

    return ask


def model_of(given: Data) -> Model | None:
    """The model that options or the environment name; None for none. Raises Unusable."""
    endpoint = given.get("--endpoint") or os.environ.get("LLMOS_EDGE_ENDPOINT", "")
    name = given.get("--model") or os.environ.get("LLMOS_EDGE_MODEL", "")
    try:
        timeout = float(given.get("--timeout", "60"))
    except ValueError:
        timeout = 0.0
    if not 0 < timeout <= 3600:
        raise base.Unusable("--timeout is a number of seconds, up to 3600")
    if not endpoint:
        return None
    return Model(endpoint, name, timeout, os.environ.get("LLMOS_EDGE_API_KEY", ""))


def main(arguments: list[str]) -> int:
    """The exit code."""
    if "--help" in arguments or "-h" in arguments:
        print(__doc__)
        return 0
    return base.tell(arguments, OPTIONS, lambda given: helper(model_of(given)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
