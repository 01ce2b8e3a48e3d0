"""search.json, what a search for hyper-parameters found, and what its page says of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NotRequired, cast

from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from dermaexp.compare.varied_keys import overrides_text, value_text
from dermaexp.core.errors import UserError
from dermaexp.core.files import read_json
from dermaexp.core.grid import Cell, Grid
from dermaexp.core.text import counted, fixed
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.schemas import Count, CountOrNull, NumberOrNull, Share, Text, check

FILE = "search.json"
FEWEST = 3  # finished trials from which an importance is estimated


class Trial(TypedDict):
    number: Count
    state: Text  # Optuna's own: running, waiting, complete, pruned or fail
    value: NumberOrNull  # of a pruned one the last that it reported
    params: dict[str, Any]
    runs: list[Text]
    pruned_after: NotRequired[CountOrNull]  # epochs


class Search(TypedDict):
    """All trials by number, and the `importances` of the keys, the largest first, if known."""

    schema: Count
    data: Text
    places: Text
    trials: Annotated[list[Trial], Field(min_length=1)]
    importances: dict[str, Share]


def read_search(folder: Path) -> Search | None:
    """The search that a sweep's `folder` holds, if any; UserError if its file is damaged."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        check(Search, path, content)
    except ValueError as error:
        raise UserError(
            f"{path} is damaged ({error}): the search's command writes it anew"
        ) from error
    return cast(Search, content)


def ran_in(folder: Path, runs: Sequence[str]) -> bool:
    """Whether the `runs` of a trial are in the search's `folder`, not on another machine."""
    return all((folder / run).is_dir() for run in runs)


def scores(search: Search) -> dict[int, float]:
    """The score of each finished trial by its number."""
    return {
        trial["number"]: trial["value"]
        for trial in search["trials"]
        if trial["state"] == "complete" and trial["value"] is not None
    }


def pruned(search: Search) -> list[Trial]:
    """The pruned trials, whose last values are not compared with the scores of finished ones."""
    return [trial for trial in search["trials"] if trial["state"] == "pruned"]


def pruned_table(search: Search, folder: Path) -> Grid | None:
    """A row for each pruned trial, with a link to its run; None if there is none."""
    found = pruned(search)
    keys = list(search["trials"][0]["params"])
    columns = ["trial", "after epoch", "val AUROC then", *keys, "run"]
    rows = [
        {
            "trial": trial["number"],
            "after epoch": trial.get("pruned_after"),
            "val AUROC then": fixed(trial["value"], 4),
            **{key: value_text(value) for key, value in trial["params"].items()},
            "run": _link(trial["runs"], folder),
        }
        for trial in found
    ]
    return Grid.of(columns, rows, texts=["trial", *keys, "run"]) if found else None


def _link(runs: Sequence[str], folder: Path) -> Cell:
    """The first of a trial's runs, with the address of its page, or of its folder without one."""
    run = next(iter(runs), "")
    if not (run and ran_in(folder, [run])):
        return Cell("elsewhere")
    page = RunDirectory(folder / run).report
    return Cell(run, address=f"{run}/{page.name}" if page.is_file() else f"{run}/")


def numbers(search: Search, *states: str) -> list[int]:
    """The numbers of the trials in these states."""
    return [trial["number"] for trial in search["trials"] if trial["state"] in states]


def summary(search: Search, folder: Path) -> list[str]:
    """Says how many trials ended how, which is the best, and which ran on other machines."""
    states = {
        "finished": ["complete"],
        "pruned": ["pruned"],
        "failed": ["fail"],
        "still running": ["running", "waiting"],
    }
    counts = {name: len(numbers(search, *state)) for name, state in states.items()}
    lines = [f"Trials: {', '.join(f'{n} {name}' for name, n in counts.items() if n)}."]
    if found := scores(search):
        best = max(found, key=found.__getitem__)
        (params,) = (one["params"] for one in search["trials"] if one["number"] == best)
        lines.append(
            f"Trial {best} is the best: val macro AUROC {found[best]:.4f} with {search['places']}, "
            f"by {overrides_text(params)}."
        )
    if away := [one["number"] for one in search["trials"] if not ran_in(folder, one["runs"])]:
        runs = "their runs" if away[1:] else "its runs"
        lines.append(
            f"{counted('trial', away).capitalize()} ran elsewhere: {runs} are not on this page."
        )
    return lines


def why_no_history(search: Search) -> str:
    """Why there is no plot of the scores; "" if there is one."""
    done = len(scores(search))
    return "" if done > 1 else f"A history takes 2 finished trials: there is {done or 'none'}."


def why_no_importances(search: Search) -> str:
    """Why the importance of the keys is not known; "" if it is."""
    found = scores(search)
    keys = list(search["trials"][0]["params"])
    if search["importances"]:
        return ""
    if len(keys) == 1:
        return f"The search varies {keys[0]} only: there is no other key to compare it with."
    if len(found) < FEWEST:
        return f"An importance takes {FEWEST} finished trials: there are {len(found) or 'none'}."
    return "All trials score alike: no config key shows an effect."
