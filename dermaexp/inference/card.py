"""`python -m dermaexp card RUN`: a model card in Hugging Face's format, from the run directory."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dermaexp.core.console import console
from dermaexp.core.errors import UserError
from dermaexp.core.files import write_bytes
from dermaexp.core.given_once import Flags
from dermaexp.core.grid import Grid
from dermaexp.core.shortened import short_command, shortened
from dermaexp.core.tasks import Task, task_of
from dermaexp.core.text import ends, markdown_text, names_and_values, percent
from dermaexp.core.version import __version__
from dermaexp.runs.directory import RunDirectory
from dermaexp.runs.finished import finished, shape_of
from dermaexp.runs.metrics_file import Metrics
from dermaexp.runs.record import RunRecord

if TYPE_CHECKING:
    from dermaexp.metrics.baseline import Baseline

FEW = 50  # images of a class, below which its numbers say little
IDS = {"accuracy": "accuracy", "macro_auroc": "roc_auc", "macro_f1": "f1"}  # at Hugging Face
FLAG = re.compile(r"dermaexp\.data\.medmnist\.")  # begins the source that has one


def main() -> None:
    given = _parser().parse_args(namespace=Flags())
    if given.output and given.output.exists():
        raise UserError(f"{given.output} exists, and may hold what you added: move it away")
    text = card(RunDirectory(given.run))
    if given.output:
        write_bytes(given.output, text.encode(errors="replace"))
        console.print(f"card: {given.output.absolute()}", soft_wrap=True, markup=False)
    else:
        print(text, end="")


def card(directory: RunDirectory) -> str:
    """Return the card in Markdown; UserError for a run that has not finished."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    record, metrics = finished(directory)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    content = shortened(_content(record, metrics), directory.path)
    content["command"] = short_command(record["command"], directory.path)
    content["front_matter"] = _front_matter(record, metrics)
    return environment.get_template("model_card.md.j2").render(content)


def _content(record: RunRecord, metrics: Metrics) -> dict[str, Any]:
    """Return the values that model_card.md.j2 shows, as Markdown."""
    from dermaexp.metrics.baseline import baseline_of
    from dermaexp.metrics.names import CLASS_METRICS, HEADLINES, labels_of, measures
    from dermaexp.report import leak

    test: Any = metrics["test"]
    channels, *size = shape_of(metrics)
    task = task_of(metrics["data"])
    does = "classifies images into {} classes" if task != "multi-label" else "says which of {} "
    does += "labels an image has" if task == "multi-label" else ""
    kind = "label" if task == "multi-label" else "class"
    baseline = baseline_of(metrics)
    scores = [("Test", test), ("95 % interval", test["intervals"]), ("Val", metrics["val"])]
    scores.append(("Majority baseline, test", baseline.scores))
    name, data = markdown_text(record["name"]), markdown_text(metrics["data"]["name"])
    rows = [
        [label, own["samples"], own["recall"], own["intervals"]["recall"]]
        + [own[key] for key in CLASS_METRICS if key != "recall"]
        for label, own in test["per_class"].items()
    ]
    others = [label for key, label in CLASS_METRICS.items() if key != "recall"]
    columns = leak.columns(metrics)
    return {
        "title": f"{name} on {data}",
        "summary": f"{markdown_text(metrics['model']['name'])}, {metrics['model']['parameters']:,} "
        f"parameters: {does.format(len(metrics['data']['classes']))}.",
        "task": task,
        "data": {**metrics["data"], "name": data},
        "samples": metrics["data"]["samples"],
        "classes": [markdown_text(label) for label in metrics["data"]["classes"]],
        "split": _split(record),
        "licence": _licence(record) or "not recorded by the run: state it before you publish",
        "leak": _leak(record, leak.reading(metrics)),
        "leak_table": Grid.of_scores("", labels_of(*HEADLINES), columns.items()).markdown()
        if columns
        else "",
        "training": _training(record, metrics),
        "verdict": _verdict(baseline, task),
        "results_table": Grid.of_scores("Metric", labels_of(*measures(task)), scores).markdown(),
        "class_table": Grid([kind, "images", "recall", "95 % interval", *others], rows).markdown(),
        "limits": list(_limits(metrics)),
        "size": " x ".join(map(str, size)),
        "gray": channels == 1,
        "calibrated": "calibration" in metrics,
        "version": __version__,
        "digest": record["config_digest"],
        "code": record["code_digest"],
        "commit": record["git_commit"],
    }


def _verdict(baseline: Baseline, task: Task) -> str:
    names, accuracy = markdown_text(baseline.names), percent(baseline.scores["accuracy"])
    if task == "multi-label":
        return (
            "Accuracy is the share of all labels that are correct at a probability of 0.5. Always "
            f"predicting {names}, as most training images have it, has an accuracy of {accuracy}."
        )
    return f"Always predicting {names}, the largest training class, has an accuracy of {accuracy}."


def _front_matter(record: RunRecord, metrics: Metrics) -> str:
    """Return the YAML that Hugging Face reads."""
    import yaml

    licence = _licence(record)
    known = {"license": licence.lower().replace(" ", "-")} if licence else {}
    test: Any = metrics["test"]
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"name": metrics["data"]["name"], "type": _source(record), "split": "test"},
        "metrics": [
            {"type": kind, "name": name, "value": test[name]}
            for name, kind in IDS.items()
            if test[name] is not None
        ],
    }
    content = {
        **(known or {"license": "other", "license_name": "not-stated"}),
        "pipeline_tag": "image-classification",
        "library_name": "dermaexp",
        "tags": ["dermaexp", *(["synthetic-data"] if record["data"]["synthetic"] else [])],
        "metrics": list(IDS.values()),
        "model-index": [{"name": record["name"], "results": [result]}],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=10_000)


def _source(record: RunRecord) -> str:
    """Return the flag of a MedMNIST set, else "synthetic" or the option of the group dataset."""
    dataset = record["config"]["dataset"]
    if record["data"]["synthetic"]:
        return "synthetic"  # also where they stand in for DermaMNIST
    is_set = FLAG.match(str(dataset.get("_target_")))
    return str(dataset["flag"] if is_set else record["choices"]["dataset"])


def _licence(record: RunRecord) -> str | None:
    """Return the licence of a MedMNIST set or HAM10000; None for other data, of unknown licence."""
    from dermaexp.data.medmnist_info import INFO

    source = _source(record)
    return "CC BY-NC 4.0" if source.startswith("ham10000") else INFO.get(source, {}).get("license")


def _split(record: RunRecord) -> str:
    split = record["data"]["split"]
    match split["kind"]:
        case "grouped":
            return f"fold {split['fold']} of {split['folds']}; no lesion is in two of them"
        case "random":
            whole = "; images of one lesion stay together" if "groups" in record["data"] else ""
            return f"random, stratified, split seed {split['split_seed']}{whole}"
        case "corrected":
            return (
                f"that of the data, but for {split['moved']:,} images moved to train because "
                "another split shows their lesion"
            )
    return "that of the data"


def _leak(record: RunRecord, reading: str) -> str:
    if reading:
        return markdown_text(reading)
    if record["data"]["split"]["kind"] != "official" and "groups" in record["data"]:
        return "None by lesion: the split keeps the images of a lesion together."
    return (
        "Not measured: the run did not know which images show the same lesion (`dataset.groups`). "
        "Scores are too high as far as test images resemble training images."
    )


def _training(record: RunRecord, metrics: Metrics) -> str:
    config = record["config"]
    best = metrics["tested_with"] == "best"
    weights = f"epoch {metrics['best_epoch']}, the best by val macro AUROC"
    groups = ("optimizer", "scheduler", "loss", "augment", "sampler")
    chosen = {group: record["choices"].get(group) for group in groups}
    if (finetune := record["choices"].get("finetune")) not in (None, "none"):
        chosen["finetune"] = finetune
    return (
        f"{_start(record)}Epochs: {metrics['epochs']}, in batches of {config['batch_size']}, seed "
        f"{record['seed']}; {names_and_values(chosen)}. Tested with the weights of "
        f"{weights if best else 'the last epoch'}. "
        f"On {markdown_text(record['device']['name'])} with "
        f"torch {record['versions'].get('torch')}; {record['finished']}."
    )


def _start(record: RunRecord) -> str:
    """Say which weights the training started from; nothing where they were random."""
    if initial := record.get("initial_weights"):
        name = markdown_text(re.split(r"[/\\]", initial["file"])[-1])
        return f"Started from the weights of {name}, SHA-256 {initial['sha256'][:16]}…. "
    if named := record["config"]["model"].get("weights"):
        return f"Started from the published weights {markdown_text(str(named))}. "
    return ""


def _limits(metrics: Metrics) -> Iterator[str]:
    """A sentence for each class, the least recognised first."""
    if task_of(metrics["data"]) == "multi-label":
        yield from _label_limits(metrics)
        return
    classes, confusion = metrics["data"]["classes"], metrics["test"]["confusion_matrix"]
    found = metrics["test"]["per_class"]
    for name in sorted(classes, key=lambda name: found[name]["recall"] or 0.0):
        own, shown = found[name], markdown_text(name)
        if own["recall"] is None:
            yield f"**{shown}**: no test image, nothing is known"
            continue
        row = list(confusion[classes.index(name)])
        row[classes.index(name)] = 0
        line = (
            f"**{shown}**: {percent(own['recall'])} of {own['samples']:,} images are recognised "
            f"(recall {ends(own['intervals']['recall'])})"
        )
        if most := max(row):
            taken_for = markdown_text(classes[row.index(most)])
            line += f"; {percent(most / own['samples'])} are taken for {taken_for}"
        yield line + ("; few images, so that this is uncertain" if own["samples"] < FEW else "")


def _label_limits(metrics: Metrics) -> Iterator[str]:
    """A sentence for each label, that with the lowest AUROC first."""
    found = metrics["test"]["per_class"]
    for name in sorted(found, key=lambda name: found[name]["auroc"] or 0.0):
        own, shown = found[name], markdown_text(name)
        if own["recall"] is None or own["auroc"] is None:
            yield f"**{shown}**: no test image has it, or all have: nothing is known"
            continue
        line = (
            f"**{shown}**: AUROC {own['auroc']:.3f} ({ends(own['intervals']['auroc'])}); "
            f"{percent(own['recall'])} of {own['samples']:,} images with it are recognised at a "
            "probability of 0.5"
        )
        yield line + ("; few images, so that this is uncertain" if own["samples"] < FEW else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dermaexp card",
        description="Print a model card of a finished run, Markdown in Hugging Face's format.",
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("--output", type=Path, metavar="FILE", help="a new file for it")
    return parser
