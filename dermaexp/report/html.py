"""Self-contained HTML pages from the templates here, with every value escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dermaexp.core.text import cell_text, fixed, percent

if TYPE_CHECKING:
    from jinja2 import Environment


GENERATOR = '<meta name="generator" content="dermaexp '


def render(template: str, content: Mapping[str, Any]) -> str:
    """Render `template` with `content`; ValueError for a name that is missing there."""
    from jinja2 import UndefinedError

    try:
        return _environment().get_template(template).render(content)
    except UndefinedError as error:
        raise ValueError(f"a value of the page is missing: {error}") from error


def is_ours(path: Path) -> bool:
    """Say whether `render` made the file."""
    return GENERATOR in path.read_text(encoding="utf-8", errors="replace")


def data_uri(png: bytes) -> str:
    """Return an address that holds the whole image."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@cache
def _environment() -> Environment:
    # Imported here, as most importers of this module render no page.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Unlike Jinja's urlencode, which is for queries, `quote` keeps what a path may hold.
    environment.filters |= {"cell": cell_text, "fixed": fixed, "percent": percent}
    environment.filters["path_address"] = quote
    return environment
