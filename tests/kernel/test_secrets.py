"""What is taken for a secret value, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_workers.kernel import secrets
from llmos_workers.kernel.secrets import find_secrets, reference, replace, secrets_of_file

VALUE = "hunter2-hunter2"
PEM = (
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n"
    "-----END PRIVATE KEY-----\n"
)


@pytest.mark.parametrize(
    ("text", "value", "name"),
    [
        (f"API_KEY={VALUE}", VALUE, "API_KEY"),
        (f'{{"db_password": "{VALUE}"}}', VALUE, "db_password"),
        (f"export AWS_SECRET_ACCESS_KEY='{VALUE}'", VALUE, "AWS_SECRET_ACCESS_KEY"),
        (f"my-auth-token: {VALUE}", VALUE, "my-auth-token"),
        (f"clientSecret={VALUE}", VALUE, "clientSecret"),
        (f"STRIPE_KEY = {VALUE}", VALUE, "STRIPE_KEY"),
        (f"Log in; the password is {VALUE}.", VALUE, "password"),
        ('passphrase = "correct horse 7 battery"', "correct horse 7 battery", "passphrase"),
        ("use sk-ant-api03-AbC_123-xyz now", "sk-ant-api03-AbC_123-xyz", "anthropic-key"),
        ("ghp_abcdefghij0123456789", "ghp_abcdefghij0123456789", "token"),
        ("id AKIAABCDEFGHIJKLMNOP", "AKIAABCDEFGHIJKLMNOP", "aws-key"),
        (f"Authorization: Bearer {VALUE}x", f"{VALUE}x", "authorization"),
        (f"export DB_PASS={VALUE}", VALUE, "DB_PASS"),
        (f"Server=db;Pwd={VALUE};", VALUE, "Pwd"),
        (f"<password>{VALUE}</password>", VALUE, "password"),
        (f"curl -u admin:{VALUE} http://h", VALUE, "user-password"),
        (f"curl --user 'admin:{VALUE}' http://h", VALUE, "user-password"),
        (f"machine h login ann password {VALUE}", VALUE, "user-password"),
        (f"mysql -h db -p{VALUE} shop", VALUE, "database-password"),
        (
            "key SG.abcdefghijklmnop.qrstuvwxyzABCDEF",
            "SG.abcdefghijklmnop.qrstuvwxyzABCDEF",
            "sendgrid-key",
        ),
        ("GOCSPX-abcdefghijklmnopqrstuvwx", "GOCSPX-abcdefghijklmnopqrstuvwx", "client-secret"),
        (
            "https://hooks.slack.com/services/T0000/B0000/XyZ012345678",
            "services/T0000/B0000/XyZ012345678",
            "webhook",
        ),
        (f"redis://:{VALUE}@db:6379/0", VALUE, "url-password"),
    ],
)
def test_values_are_found_with_their_names(text: str, value: str, name: str) -> None:
    assert find_secrets(text) == {value: name}
    assert value not in replace(text, find_secrets(text))


@pytest.mark.parametrize(
    "harmless",
    [
        "token = get_token()",
        "password: str = None",
        "secret = settings.secret_value",
        "the secret: keep it short",
        "tokenizer=bert-base-v2-uncased",
        "max_tokens: 8192000000",
        "token_expiry: 2026-11-22T10:00",
        "KEY_FILE=/etc/ssl/key2.pem",
        "password=$DB_PASSWORD2",
        "api_key: your-api-key-1",
        "raise Error(\"bad token: 'the 2nd word of it'\")",
        "basic authentication is required",
        "http://a.example/b?c=d@e",
        "postgres://user:{password}@host/db and redis://user:$PW@host and ftp://me:password@host",
        "from huggingface_hub import hf_hub_download, hf_raise_for_status",
        'api_key="<together_api_key1>"',
        "The keyboard: logitech-mx-3000",
        'secrets["DB"] = None',
        "3 pass, 12 tests in 4.2s: all_pass=7_of_7_tests",
        "pwd=/home/ann/project2/src; cd $pwd",
        "if (password > minimum_length1) ok",
        "mysql -h db -p shop && mkdir -p2024-reports",
        "sort -u out:2024-11-22.txt; tar -u app:latest-v2",
        "sudo -u postgres pg_dump shop",
    ],
)
def test_what_only_speaks_of_secrets_is_none(harmless: str) -> None:
    assert find_secrets(harmless) == {}
    assert replace(harmless, {}) == harmless


def test_in_a_configuration_a_plain_word_is_a_value() -> None:
    text = "password: correcthorse\n"
    assert find_secrets(text) == {}
    assert find_secrets(text, config=True) == {"correcthorse": "password"}


def test_short_passwords_are_blanked_in_urls_only() -> None:
    text = "redis://:a@db:6379/0 is a database"
    assert (
        replace(text, find_secrets(text))
        == "redis://:«secret:url-password»@db:6379/0 is a database"
    )


def test_private_keys_go_as_a_block_also_when_cut_at_either_end() -> None:
    for shown in (PEM, PEM[:60], PEM.split("\n", 1)[1]):
        assert "MII" not in replace(shown, find_secrets(shown))
        assert "AQEF" not in replace(shown, find_secrets(shown))


@pytest.mark.parametrize(
    ("path", "text", "values"),
    [
        (".env", "DB_PASSWORD=correct horse\nPLAIN=1\n", {"correct horse"}),
        (
            "app/.env.local",
            'MAILER="8f3ka93kf93kf9sd8f7"\nHOST=example.org\n',
            {"8f3ka93kf93kf9sd8f7"},
        ),
        (".netrc", "machine h login me password opensesame\n", {"opensesame"}),
        (".pgpass", "h:5432:db:me:opensesame\n", {"opensesame"}),
        (".npmrc", "//r/:_authToken=abcdef-123456\n", {"abcdef-123456"}),
    ],
)
def test_files_of_secrets_are_read_as_such(path: str, text: str, values: set[str]) -> None:
    assert set(secrets_of_file(path, text)) == values


def test_each_line_of_a_key_file_is_known() -> None:
    assert {"MIIEvQIBADANBgkqhkiG9w0B", "AQEFAASCBKcwggSjAgEAAoIB"} <= set(
        secrets_of_file("id_rsa", PEM)
    )


@given(st.text(), st.sampled_from([VALUE, PEM, "sk-ant-api03-AbC_123-xyz"]))
def test_replacing_again_changes_nothing(before: str, value: str) -> None:
    text = f"{before} api_key={value}"
    once = replace(text, find_secrets(text))
    assert replace(once, find_secrets(once)) == once


PIECES = (
    *(
        "key",
        "API_KEY",
        "secret",
        "Token",
        "passWord",
        "access-key",
        "A_KEY",
        "PASSPHRASE",
        "passwd",
    ),
    *("credentials", "privatekey", "keyboard", "s", " ", "_", "=", ":", "\n", "x1y2z3w4", "İ"),
)


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_the_quick_way_to_a_name_finds_what_the_plain_one_finds(text: str) -> None:
    quick = [match.span() for match in secrets._keywords(text)]
    assert quick == [match.span() for match in secrets._KEYWORD.finditer(text)]


def test_a_reference_is_one_word_whatever_the_name() -> None:
    assert reference("a b»c") == "«secret:a_b_c»"
