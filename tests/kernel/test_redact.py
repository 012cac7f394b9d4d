"""Secrets do not pass."""

from __future__ import annotations

from llmos_workers.kernel.redact import Redactor, secrets_of


def test_values_of_secret_variables_are_replaced_longest_first() -> None:
    environ = {
        "ANTHROPIC_API_KEY": "abcdefgh12345678",
        "DB_PASSWORD": "abcdefgh",
        "GITHUB_TOKEN": "short",
        "PATH": "/usr/bin:/bin",
        "SSL_KEY_FILE": "/etc/ssl/key.pem",
    }
    redactor = Redactor(secrets_of(environ))
    assert redactor.redact("k=abcdefgh12345678 p=abcdefgh") == "k=[redacted] p=[redacted]"
    assert redactor.redact("short /usr/bin:/bin /etc/ssl/key.pem") == (
        "short /usr/bin:/bin /etc/ssl/key.pem"
    )


def test_keys_and_passwords_in_urls_are_seen_without_being_known() -> None:
    redactor = Redactor()
    assert redactor.redact("use sk-ant-api03-AbC_123-xyz now") == "use «secret:anthropic-key» now"
    assert (
        redactor.redact("redis://:hunter2@db:6379/0") == "redis://:«secret:url-password»@db:6379/0"
    )
    assert redactor.redact("http://a.example/b?c=d@e") == "http://a.example/b?c=d@e"


def test_secrets_can_be_added_later() -> None:
    redactor = Redactor()
    redactor.add("from-a-file-1")
    assert redactor.redact("x from-a-file-1 y") == "x [redacted] y"
