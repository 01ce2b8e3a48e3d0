"""README.md and docs/*.md: their limits, their links, and that every command in them composes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser

from dermaexp.launch.config_folder import config_folder

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
LONGEST = 120  # characters of a line
COMMAND = re.compile(r"^(?:\$ )?python -m dermaexp(?:\.audit)? (.*?)(?: +#.*)?$", re.MULTILINE)
CODE = re.compile(r"^\s*```\n(.*?)^\s*```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
OWN = ("--config-dir", "resume=", "model=mlp", "dataset=mine", "model=cn ")  # not in conf/


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_are_short(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert page != README or len(lines) <= 150
    is_wide = [line for line in lines if len(line) > LONGEST]
    assert [line for line in is_wide if page == README or not line.startswith("|")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for path, heading in LINK.findall(page.read_text(encoding="utf-8")):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not heading or heading in headings(target), heading


@pytest.mark.slow
@pytest.mark.usefixtures("configs_read_once")
def test_commands_compose() -> None:
    found = {tuple(overrides(c)) for page in PAGES for c in commands(page.read_text("utf-8"))}
    assert len(found) > 40
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        for given in sorted(found):
            compose("config", list(given))


def headings(page: Path) -> list[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def commands(text: str) -> Iterator[str]:
    """What follows the program's name in every command of a page."""
    text = text.replace("\\\n", " ").replace("\\|", "|")
    for code in (*CODE.findall(text), *INLINE.findall(text)):
        for arguments in COMMAND.findall(re.sub(r"^ +", "", code, flags=re.MULTILINE)):
            if not any(own in f"{arguments} " for own in OWN):
                yield arguments


def overrides(arguments: str) -> list[str]:
    """The overrides of a command, of a swept key its first value."""
    given = [word for word in shlex.split(arguments, comments=True) if "=" in word]
    parsed = OverridesParser.create().parse_overrides(given)
    return [
        f"{one.key_or_group}={next(one.sweep_string_iterator())}" if one.is_choice_sweep() else text
        for one, text in zip(parsed, given, strict=True)
        if not one.is_sweep_override() or one.is_choice_sweep()
    ]
