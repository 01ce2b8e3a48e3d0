"""The verbs of the command line: `python -m dermaexp VERB …`. Imports none of them."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Sequence

from dermaexp.core.errors import UserError, nearest_of

VERBS = {  # -> the module whose `main` reads sys.argv
    "compare": "dermaexp.compare.__main__",
    "report": "dermaexp.report.__main__",
    "audit": "dermaexp.audit.__main__",
    "predict": "dermaexp.inference.predict",
    "evaluate": "dermaexp.inference.evaluate",
    "explain": "dermaexp.inference.explain",
    "export": "dermaexp.inference.export",
    "completion": "dermaexp.inference.completion",
    "ls": "dermaexp.inference.ls",
    "rm": "dermaexp.inference.rm",
    "card": "dermaexp.inference.card",
    "demo": "dermaexp.inference.demo",
}
OVERRIDE = re.compile(r"[-+~]|.*=")  # begins one, or a flag


def verb_of(arguments: Sequence[str]) -> str | None:
    """Return the verb that the arguments begin with, None where they are overrides and flags.

    Raises UserError for a first word that is nearly a verb.
    """
    if not arguments or OVERRIDE.match(arguments[0]):
        return None
    word = arguments[0]
    if word in VERBS:
        return word
    if near := nearest_of(word, VERBS):
        raise UserError(f"the verb {word} is unknown: did you mean '{near}'?")
    return None


def run(verb: str) -> None:
    """Run the verb with the other arguments of sys.argv."""
    sys.argv[:2] = [f"python -m dermaexp {verb}"]
    importlib.import_module(VERBS[verb]).main()
