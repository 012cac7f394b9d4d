"""docs/configuration.md tells every setting as the models have it."""

from __future__ import annotations

from pathlib import Path

from llmos_workers.config_docs import settings_table, variables_table
from llmos_workers.config_keys import FALLBACK_VARIABLES, OTHER_VARIABLES, all_keys, variable_of

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_page_holds_the_current_tables() -> None:
    text = PAGE.read_text()
    assert settings_table() in text and variables_table() in text, (  # noqa: PT018
        "run: python -m llmos_workers.config_docs docs/configuration.md"
    )


def test_the_page_names_every_variable() -> None:
    text = PAGE.read_text()
    variables = [*map(variable_of, all_keys()), *OTHER_VARIABLES, *FALLBACK_VARIABLES]
    assert [name for name in variables if f"`{name}" not in text] == []
