"""Classes of rewordings that say the same, beside near ones that do not."""

from __future__ import annotations

import pytest

from llmos_workers.learning.matching.compare import compare
from llmos_workers.learning.matching.embedder import bundled_embedder
from llmos_workers.learning.matching.lexicon import lexicon, variants
from llmos_workers.learning.matching.parse import parse
from llmos_workers.learning.matching.tokens import Kind

FOLLOW = 0.92


def confidence(one: str, other: str) -> float:
    return compare(one, other, bundled_embedder().embed).confidence


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # a verb whose second part stands behind its object
        ("Roll back the release", "roll the release back"),
        ("Zip up the logs folder", "please zip the logs directory up"),
        # a light verb with the noun of the deed
        ("Back up the wiki database", "make a backup of the wiki database"),
        ("Summarize minutes.docx", "write a summary of minutes.docx"),
        # asking for instead of ordering
        ("Show the open invoices", "give me the open invoices"),
        # passive and "should be"
        ("Copy report.pdf to /srv/share", "report.pdf should be copied to /srv/share"),
        # all, before a plural
        ("Archive all invoices", "archive the invoices"),
        ("Archive every invoice in inbox/", "archive all invoices in inbox/"),
        # the kind of a thing beside the thing
        ("Lint src/app.py", "lint the file src/app.py"),
        ("Count the rows of the clients table", "count the rows of clients"),
        # leaving out
        ("List the users without admins", "list the users excluding admins"),
        # order
        ("List the builds, newest first", "list the builds from newest to oldest"),
        # into which language
        (
            "Translate notes.txt from German to French",
            "make a French translation of the German notes.txt",
        ),
        ("Book a 30-minute call", "schedule a half-hour call"),
        # finding what is then dealt with
        ("Stop the container using port 99", "find the container using port 99 and stop it"),
    ],
)
def test_what_only_words_it_differently_follows(one: str, other: str) -> None:
    assert confidence(one, other) >= FOLLOW


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Roll back the release", "roll out the release"),
        ("Turn the heating on", "turn the heating off"),
        ("Test the app", "add tests to the app"),
        ("Make a copy of a.txt", "make a backup list of a.txt"),
        ("Archive all invoices", "archive some invoices"),
        ("Archive all invoices", "archive the invoice"),
        ("Summarize the letters", "summarize each letter"),
        ("Copy all images to backup", "copy all files to backup"),
        ("List the files in /srv", "list the folders in /srv"),
        ("Delete the user", "delete the user table"),
        ("List the users without admins", "list the users including admins"),
        ("List the builds, newest first", "list the builds, oldest first"),
        ("List all but the first two", "list all, the first two too"),
        ("Show the commits since 1 May", "show the commits on 1 May"),
        ("Count .py files", "count .pyc files"),
        ("Find the duplicates", "find the duplicates and delete them"),
        ("Make it 300 pixels wide", "make it 300 pixels high"),
        ("List the letters and the folders", "list the letters in all folders"),
        ("Find all files named 'a b'", "search all files for 'a b'"),
        ("Show words of 'a' that 'b' lacks", "show words of 'b' that 'a' lacks"),
        ("Pack the tree under ..", "pack the tree under the current directory"),
        ("Show files in a folder", "show files in the current folder"),
        ("Print an enumerated list of users", "print a list of users"),
        ("Lock files that have all bits set", "lock files that have any bits set"),
        ("Count the lines of each file", "count the lines of all files"),
        ("Translate it from German to French", "a German translation of the French text"),
        ("Render it in German, it is in French", "render it in French, it is in German"),
        ('Put "x" on the wall', 'search the wall for "x"'),
    ],
)
def test_what_says_more_or_else_does_not_follow(one: str, other: str) -> None:
    assert confidence(one, other) < FOLLOW
    assert confidence(other, one) < FOLLOW


def test_a_pattern_stands_for_all_its_wordings() -> None:
    assert variants("(show|list) [all] files") == [
        "show all files",
        "show files",
        "list all files",
        "list files",
    ]


def test_a_name_inside_a_sentence_is_no_verb() -> None:
    kinds = {t.text: t.kind for t in parse("copy it from Downloads to Archive").tokens}
    assert kinds["Downloads"] is kinds["Archive"] is Kind.WORD


def test_the_tables_only_name_classes_that_exist() -> None:
    lex = lexicon()
    actions = set(lex.tables["action"].values())
    assert {action for tails in lex.apart.values() for _, action in tails} <= actions
    assert {action for pair in lex.compatible for action in pair} <= actions
