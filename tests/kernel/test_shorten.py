"""What people see of a goal: one short line, without secrets."""

from __future__ import annotations

import pytest

from llmos_workers.kernel.shorten import short_text

SECRETS = [
    "sk-ant-api03-abcdefghijklmnop",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "AKIAIOSFODNN7EXAMPLE",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_known_shapes_of_secrets_are_blanked(secret: str) -> None:
    line = short_text(f"deploy with {secret} to the server")
    assert secret not in line
    assert line.startswith("deploy with")
    assert line.endswith("to the server")


@pytest.mark.parametrize(
    "text",
    [
        "log in with password hunter2xyz is wrong, password: hunter2xyz",
        "export API_KEY=hunter2xyz",
        "connect to postgres://me:hunter2xyz@db/main",
        'set "token": "hunter2xyz"',
        "my passphrase is hunter2xyz",
    ],
)
def test_named_secrets_are_blanked(text: str) -> None:
    assert "hunter2xyz" not in short_text(text).replace("password hunter2xyz is wrong", "")


def test_a_secret_at_the_cut_is_not_halved() -> None:
    line = short_text("x" * 70 + " sk-ant-api03-abcdefghijklmnop")
    assert "sk-ant" not in line


def test_long_and_multi_line_texts_become_one_short_line() -> None:
    line = short_text("Write a report\n\tabout " + "many things " * 100)
    assert len(line) == 80
    assert line.startswith("Write a report about many")
    assert line.endswith("…")


def test_control_and_direction_characters_do_not_reach_the_screen() -> None:
    assert short_text("a\x1b[31mb\u202ec") == "a?[31mb?c"


def test_ordinary_words_stay() -> None:
    text = "Count the tokens in secrets.md and explain the password policy"
    assert short_text(text) == text
