"""HTML pages that need nothing but themselves: the templates here, with every value escaped."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from dermaexp.core.text import fixed, percent

if TYPE_CHECKING:
    from jinja2 import Environment


GENERATOR = '<meta name="generator" content="dermaexp '
FOOTER = re.compile(r"<p>dermaexp \S+\. Not for clinical use\.</p>")


def render(template: str, content: Mapping[str, Any]) -> str:
    """The page that `template` makes of `content`; ValueError for a name that it lacks."""
    from jinja2 import UndefinedError

    try:
        return _environment().get_template(template).render(content)
    except UndefinedError as error:
        raise ValueError(f"the page lacks something: {error}") from error


def is_ours(path: Path) -> bool:
    """Whether `render` made the file; pages of earlier versions have no generator, but a footer."""
    text = path.read_text(encoding="utf-8", errors="replace")
    return GENERATOR in text or FOOTER.search(text) is not None


def data_uri(png: bytes) -> str:
    """The image as an address that holds all of it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@cache
def _environment() -> Environment:
    # Here, so that who only imports a module that makes pages does not wait for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Unlike Jinja's urlencode, which is for queries, it keeps what a path may hold.
    environment.filters |= {"fixed": fixed, "percent": percent, "path_address": quote}
    return environment
