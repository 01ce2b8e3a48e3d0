"""One run directory, one HTML page: `python -m dermaexp.report RUN_DIR …`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.core.grid import Grid
from dermaexp.core.shortened import short_command, shortened
from dermaexp.core.tasks import task_of
from dermaexp.core.text import names_and_values, size_text
from dermaexp.core.version import __version__
from dermaexp.report import html
from dermaexp.report.results import results_of
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.record import RunRecord, Split

CAPTIONS = {  # in this order; other figures follow by name
    "learning_curves": "Accuracy and loss of train and val over the epochs.",
    "confusion_matrix": "Confusion matrix of the test images: a row is a true class.",
    "per_class_accuracy": "Recall of each class on test, with 95 % Wilson intervals.",
    "roc_curves": "ROC curves on test, each class against the rest.",
    "precision_recall_curves": "Precision-recall curves on test, each class against the rest. "
    "Dotted: the class's share of the images, the precision of random scores.",
    "reliability": "Accuracy over confidence on test, in bins, with 95 % Wilson intervals. ECE, "
    "the expected calibration error, is the mean gap between the two.",
    "misclassified": "Misclassified test images, most confident first.",
    "montage": "Training images before augmentation, a row per class.",
}
LABEL_CAPTIONS = CAPTIONS | {  # of several labels an image
    "confusion_matrix": "Test images with and without each label, predicted at a probability of "
    "0.5: a row is what is true.",
    "per_class_accuracy": "AUROC, average precision and F1 of each label on test, with 95 % "
    "intervals (Newcombe, Boyd); F1, at a probability of 0.5, has none.",
    "roc_curves": "ROC curves on test, each label against its absence.",
    "precision_recall_curves": "Precision-recall curves on test, each label against its absence. "
    "Dotted: the share of the images that have the label, the precision of random scores.",
    "reliability": "Share of the labels that are present over their probability on test, in bins, "
    "with 95 % Wilson intervals. ECE, the expected calibration error, is the mean gap of the two.",
    "misclassified": "Test images with a wrong label at a probability of 0.5, the most confident "
    "one first.",
    "montage": "Training images before augmentation, a row per label; an image may be in several.",
}
FORMATS = {"epoch": ".0f", "lr": ".4g", "seconds": ".2f"}  # in the history; four decimals otherwise


def write_report(directory: RunDirectory) -> Path:
    """Write report.html from the files of a run, ended or not; returns its path.

    The page says what the run did not leave. Raises UserError for a folder without a run, or with
    files that cannot be read.
    """
    record = record_of(directory)
    try:
        page = html.render("report.html.j2", _content(directory, record))
    except ValueError as error:
        raise _damaged(directory, error) from error
    if directory.report.exists() and not html.is_ours(directory.report):
        raise UserError(
            f"{directory.report} was not written by dermaexp, and would be overwritten: move it "
            "away"
        )
    write_bytes(directory.report, page.encode(errors="replace"))
    return directory.report


def record_of(directory: RunDirectory) -> RunRecord:
    """Return run.json; UserError for a folder without one, or where it is damaged."""
    if not directory.has_run():
        raise UserError(f"{directory.path} is no run directory: expected a run.json in it")
    try:
        return directory.read_run()
    except ValueError as error:
        raise _damaged(directory, error) from error


def _damaged(directory: RunDirectory, error: ValueError) -> UserError:
    return UserError(f"{directory.path} holds a file that is damaged: {error}")


def _content(directory: RunDirectory, record: RunRecord) -> dict[str, Any]:
    """Return the values that report.html.j2 shows."""
    commands = _commands(record)
    run = shortened(record, directory.path)
    return {
        "version": __version__,
        "run": run,
        "name": run.get("name", directory.path.absolute().name),
        "data": run.get("data"),
        "results": shortened(results_of(directory), directory.path),
        "figures": _figures(directory, captions_of(record.get("data", {}))),
        "history": _history(directory),
        "commands": {
            label: short_command(command, directory.path) for label, command in commands.items()
        },
        "provenance": _provenance(run),
        "config": _yaml(run["config"]) if "config" in run else None,
        "files": _files(directory),
    }


def captions_of(data: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the figures' captions for the `data` of run.json."""
    return LABEL_CAPTIONS if task_of(data) == "multi-label" else CAPTIONS


def _figures(directory: RunDirectory, captions: Mapping[str, str]) -> list[dict[str, str]]:
    order = list(captions)
    files = sorted(
        directory.figures.glob("*.png"),
        key=lambda file: (order.index(file.stem) if file.stem in order else len(order), file.stem),
    )
    return [
        {
            "source": html.data_uri(file.read_bytes()),
            "caption": captions.get(file.stem, file.stem.replace("_", " ")),
        }
        for file in files
    ]


def _history(directory: RunDirectory) -> Grid | None:
    rows = directory.read_history() if directory.has_history() else []
    if not rows:
        return None
    headings = [key.replace("_", " ").replace("auroc", "AUROC") for key in rows[0]]
    return Grid(
        headings,
        [
            [
                "" if value != value else format(value, FORMATS.get(key, ".4f"))
                for key, value in row.items()
            ]
            for row in rows
        ],
    )


def _commands(run: Mapping[str, Any]) -> dict[str, str]:
    """Return label -> command: as given, to run a sweep's job alone, to resume the run."""
    program, commands = ["python", "-m", "dermaexp"], {"Command": run["command"]}
    try:
        given = shlex.split(run["command"])[3:]
    except ValueError as error:
        raise ValueError(f"run.json: command: {error}") from error
    if {"-m", "--multirun"} & set(given):
        alone = [word for word in _flags(given) if word not in ("-m", "--multirun")]
        commands = {
            "Command of the sweep": run["command"],
            "Command of this job alone": shlex.join([*program, *alone, *run.get("overrides", [])]),
        }
    if run["status"] != "finished":
        commands["Command to resume, from the run's folder"] = shlex.join([*program, "resume=."])
    return commands


def _flags(words: Sequence[str]) -> list[str]:
    """Return the flags with their values: the command line puts all overrides behind them."""
    flags: list[str] = []
    for word in words:
        if not (word.startswith("-") or flags[-1:] == ["--config-dir"] or flags[-1:] == ["-cd"]):
            break
        flags.append(word)
    return flags


def _provenance(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return label -> text; None for what is not known (yet)."""
    data, device, versions = (run.get(key) or {} for key in ("data", "device", "versions"))
    details = [f"{key} {value}" for key, value in device.items() if key not in ("type", "name")]
    known = [device["name"]] if "name" in device else []
    side = {"Input size": f"{run['input_size']} pixels"} if "input_size" in run else {}
    start = {}
    if file := run.get("initial_weights"):
        start = {"Initial weights": f"{file['file']}, SHA-256 {file['sha256']}"}
    return {
        "Status": run["status"],
        "Started": run.get("started"),
        "Resumed": "; ".join(_resumption(attempt) for attempt in run.get("resumed", [])),
        "Finished": run.get("finished"),
        "Device": ", ".join([*known, *details]),
        "Seed": run.get("seed"),
        **side,
        **start,
        "Data": data.get("name"),
        "Split": _split(data.get("split")),
        "Left out": "; ".join(data.get("skipped", ())),
        "Data fingerprint": data.get("fingerprint"),
        "Test fingerprint": data.get("test_fingerprint"),
        "Config digest": run.get("config_digest"),
        "Code digest": run.get("code_digest"),
        "Git commit": run.get("git_commit"),
        "Versions": names_and_values(versions),
        "Platform": run.get("platform"),
    }


def _split(split: Split | None) -> str | None:
    if split is None:
        return None
    match split["kind"]:
        case "grouped":
            return f"fold {split['fold']} of 0 to {split['folds'] - 1}"
        case "random":
            shares = " / ".join(f"{share:.0%}" for share in split["shares"])
            return f"random, {shares}, split seed {split['split_seed']}"
        case "corrected":
            return f"corrected: {split['moved']:,} images moved to train, with their lesions"
    return split["kind"]


def _resumption(attempt: Mapping[str, Any]) -> str:
    before = attempt.get("earlier_epochs")
    planned = f", {before} epochs planned before" if before else ""
    return f"{attempt.get('started')} (code digest {attempt.get('code_digest')}{planned})"


def _yaml(config: Mapping[str, Any]) -> str:
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=10_000)


def _files(directory: RunDirectory) -> list[dict[str, str]]:
    """Return the paths of the run's other files, relative to it, with their sizes."""
    files = (file for file in sorted(directory.path.rglob("*")) if file.is_file())
    return [
        {
            "path": file.relative_to(directory.path).as_posix(),
            "size": size_text(file.stat().st_size),
        }
        for file in files
        if file != directory.report and not file.name.startswith(".")  # such as locks
    ]
