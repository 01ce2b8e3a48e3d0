"""`python -m dermaexp evaluate RUN… [dataset=…]`: a run's numbers again, or those on other data."""

from __future__ import annotations

import argparse
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dermaexp.core import lean_imports
from dermaexp.core.console import console, print_note, print_table
from dermaexp.core.errors import UserError
from dermaexp.core.files import finite
from dermaexp.core.given_once import Flags
from dermaexp.core.grid import Grid
from dermaexp.core.overrides import command
from dermaexp.core.owned import Kind, write_files
from dermaexp.core.shortened import short_command, short_path
from dermaexp.core.version import __version__
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.folders import dated_folder

if TYPE_CHECKING:
    from dermaexp.inference.evaluation import Evaluation

FIGURES: dict[str, dict[str, Any]] = {  # -> options
    "confusion_matrix": {},
    "per_class_accuracy": {},
    "roc_curves": {},
    "precision_recall_curves": {},
    "reliability": {"calibrate": False},
    "misclassified": {"count": 24},
}
KIND = Kind(
    "evaluation.json",
    re.compile(rf"predictions\.npz|evaluation\.html|figures/({'|'.join(FIGURES)})\.png"),
)


def main() -> None:
    given = _parser().parse_intermixed_args(namespace=Flags())
    overrides = [word for word in given.arguments if "=" in word and not Path(word).exists()]
    runs = [word for word in given.arguments if word not in overrides]
    if not runs:
        raise UserError("no run is given: expected python -m dermaexp evaluate RUN [dataset=…]")
    found = evaluation(runs, overrides, given.split)
    folder = given.output or dated_folder("evaluations")
    words = command("evaluate", *sys.argv[1:])
    write(found, folder, words)
    show(found)
    console.print(f"evaluation: {folder.absolute()}", soft_wrap=True, markup=False)


def evaluation(
    runs: Sequence[str | Path], overrides: Sequence[str] = (), split: str | None = None
) -> Evaluation:
    """Evaluate a run, or an ensemble of several, on their own data or those of the overrides."""
    lean_imports.import_all()
    from dermaexp.inference.evaluation import evaluate_on, evaluate_own

    directories = [RunDirectory(run) for run in runs]
    if not overrides and split is None:
        return evaluate_own(directories)
    return evaluate_on(directories, overrides, split or "test")


def show(found: Evaluation) -> None:
    """Print the numbers as a run prints its own, and what must be known of them."""
    from dermaexp.metrics.names import headlines, labels_of
    from dermaexp.report.summary import INTERVAL, highlighted, print_scores

    for note in found.splits.notes:
        if note.title:
            print_note(*note)
    parts = {name: found.splits.part(name, len(own.targets)) for name, own in _splits(found)}
    numbers = finite(found.numbers)
    columns: dict[str, Any] = {part: numbers[name] for name, part in parts.items()}
    columns[INTERVAL] = numbers[found.split]["intervals"]
    columns[f"majority baseline, {found.split}"] = _baseline(found)
    rows, note_below = labels_of(*headlines(found.task)), ""
    point = highlighted(numbers["operating_points"], parts.get("val"), parts[found.split])
    if point:
        columns, rows, note_below = point.beside(columns), rows | point.labels, point.note
    print_scores(f"{found.name} on {found.data_title}", columns, rows, note_below)
    if len(found.members) > 1:
        print_table(f"Members on {found.test_part}", _members(found), undefined="undefined")
    for line in found.notes:
        console.print(line, soft_wrap=True, markup=False)


def write(found: Evaluation, folder: Path, words: str) -> None:
    """Write evaluation.json, predictions.npz, figures/ and evaluation.html into `folder`."""
    import numpy as np

    from dermaexp.report import figures, html
    from dermaexp.report.page import captions_of
    from dermaexp.report.run_data import RunData
    from dermaexp.report.style import png_bytes

    buffer = io.BytesIO()
    arrays: dict[str, Any] = {}
    for name, own in _splits(found):
        arrays |= {f"{name}_targets": own.targets, f"{name}_probabilities": own.probabilities}
    np.savez_compressed(buffer, **arrays)
    files = {"predictions.npz": buffer.getvalue()}
    shown, captions = [], captions_of({"task": found.task})
    for name, options in FIGURES.items():
        # It has what these figures read of a run.
        png = png_bytes(figures.plot(name, cast(RunData, found), options))
        files[f"figures/{name}.png"] = png
        caption = re.sub(r"\btest\b", found.split, captions[name])
        shown.append({"source": html.data_uri(png), "caption": caption})
    content = finite(_content(found, folder, words))
    page = {**content, "version": __version__, "figures": shown, **_page(found)}
    files["evaluation.html"] = html.render("evaluation.html.j2", page).encode(errors="replace")
    write_files(folder, KIND, files, content)


def _content(found: Evaluation, folder: Path, words: str) -> dict[str, Any]:
    """Return what evaluation.json holds."""
    return {
        "command": short_command(words, folder),
        "version": __version__,
        "name": found.name,
        "data": {**found.splits.record, "task": found.task},
        "split": found.split,
        "samples": {name: len(own.targets) for name, own in _splits(found)},
        "classes": list(found.classes),
        "runs": [
            {
                "name": member.name,
                "path": short_path(member.path, folder),
                found.split: member.numbers,
            }
            for member in found.members
        ],
        **found.numbers,
        "notes": found.notes,
    }


def _page(found: Evaluation) -> dict[str, Any]:
    """Return what the page shows beside the content of evaluation.json."""
    from dermaexp.metrics.names import labels_of, measures
    from dermaexp.report.results import classes_table

    own, interval = finite(found.numbers[found.split]), "95\N{NO-BREAK SPACE}% interval"
    scores = [(found.test_part, own), (interval, own["intervals"])]
    scores.append(("Majority baseline", _baseline(found)))
    return {
        "part": found.test_part,
        "several": found.task == "multi-label",
        "baseline_name": found.numbers.get("majority_class") or "the labels of most images",
        "facts": [
            *((member.name, str(member.path)) for member in found.members),
            ("Data", f"{found.data_title}, {found.test_part}"),
            ("Data fingerprint", found.splits.fingerprint),
        ],
        "tables": {
            "results": Grid.of_scores("Metric", labels_of(*measures(found.task)), scores),
            "members": _members(found) if len(found.members) > 1 else None,
            "classes": classes_table(own),
        },
    }


def _members(found: Evaluation) -> Grid:
    """The runs and, below them, the mean of their probabilities."""
    from dermaexp.metrics.names import METRICS, headlines

    names = headlines(found.task)
    own = [(str(member.path), member.numbers) for member in found.members]
    rows = [
        [name, *(finite(numbers[key]) for key in names)]
        for name, numbers in (*own, (found.name, found.numbers[found.split]))
    ]
    return Grid(["Run", *(METRICS[key].label for key in names)], rows)


def _splits(found: Evaluation) -> list[tuple[str, Any]]:
    return list(found.predictions.items())


def _baseline(found: Evaluation) -> dict[str, float]:
    """The scores of always predicting the largest class of the run's training images."""
    import numpy as np

    from dermaexp.metrics.scores import constant_prediction

    if found.task == "multi-label":
        return finite(found.numbers[found.split]["baseline"])
    label = found.classes.index(found.numbers["majority_class"])
    counts = np.bincount(found.test.targets, minlength=len(found.classes))
    return constant_prediction(counts, label, found.task)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp evaluate",
        description="Compute a run's numbers again, or those of its model on other data. Several "
        "runs also form an ensemble, the mean of their probabilities.",
        epilog="Overrides are those of python -m dermaexp, such as dataset=npz dataset.path=FILE; "
        "classes are matched by name.",
    )
    parser.add_argument(
        "arguments", nargs="+", metavar="RUN|dataset…=VALUE", help="run directories; other data"
    )
    parser.add_argument("--split", choices=("train", "val", "test"), help="of the data")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="for the files; default: a new one in evaluations/",
    )
    return parser
