"""Golden renders: committed texts that say what is rendered."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
import yaml

from helm import Rendered

FOLDER = Path(__file__).parent / "golden"


def canonical(release: Rendered) -> str:
    """All objects as YAML in one form, whichever Helm wrote them."""
    ordered = sorted(release.objects, key=lambda o: (o["kind"], o["metadata"]["name"]))
    return yaml.safe_dump_all(ordered, sort_keys=True, allow_unicode=True, width=100)


def compare(request: pytest.FixtureRequest, name: str, text: str) -> None:
    """Fails where the text is not the golden one; `--write-golden` makes it so."""
    path = FOLDER / name
    if request.config.getoption("--write-golden"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return
    assert path.exists(), f"{path} is missing; pytest --write-golden writes it"
    expected = path.read_text()
    difference = "\n".join(difflib.unified_diff(expected.splitlines(), text.splitlines(), lineterm="", n=2))
    assert not difference, f"{path.name} is not what is rendered (--write-golden accepts it):\n{difference}"
