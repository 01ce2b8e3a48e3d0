"""Writes an audit as audit.html with its data and figures, and prints its findings."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from dermaexp.audit.detection import missed
from dermaexp.audit.exact_duplicates import Place
from dermaexp.audit.findings import THRESHOLD, Audit
from dermaexp.audit.plots import PairView, pair_sheet
from dermaexp.core.console import console, print_table
from dermaexp.core.grid import Cell, Grid
from dermaexp.core.owned import Kind, write_files
from dermaexp.core.shortened import short_command, shortened
from dermaexp.core.text import fixed, percent
from dermaexp.core.version import __version__
from dermaexp.data.splits import SPLITS, Splits
from dermaexp.metrics.labels import truth_text
from dermaexp.report import html
from dermaexp.report.style import png_bytes

PICTURES = 24  # pairs on a sheet
LISTED = 50  # exact duplicates on the page; all are in audit.json
# At THRESHOLD, between test and the other splits, by an audit of these data.
VALIDATED: Mapping[str, Any] = {
    "data": "DermaMNIST (rebuilt)",
    "column": "lesion_id",
    "test_pairs": {"precision": 0.915, "recall": 0.5},
    "test_images": {"precision": 0.941, "recall": 0.577},
}


def write(audit: Audit, folder: Path) -> None:
    """Writes audit.json, near_duplicates.csv, figures/ and audit.html into `folder`.

    Raises UserError if it would overwrite a file that dermaexp did not write.
    """
    rows = list(_rows(audit))
    files = {"near_duplicates.csv": Grid.of(list(rows[0]) if rows else ["margin"], rows).csv()}
    figures = []
    for name, (caption, views) in _sheets(audit, rows).items():
        if views:
            png = png_bytes(pair_sheet(views, title=f"{audit.splits.title}: {caption}"))
            files[f"figures/{name}.png"] = png
            sentence = f"{caption[0].upper()}{caption[1:]}."
            figures.append({"source": html.data_uri(png), "caption": sentence})
    content = shortened(_content(audit), folder) | {"figures": figures}
    command = shlex.join(["python", "-m", "dermaexp.audit", *sys.argv[1:]])
    content["command"] = short_command(command, folder)
    files["audit.html"] = html.render("audit.html.j2", content).encode(errors="replace")
    write_files(folder, KIND, files, audit.facts)


KIND = Kind(
    "audit.json",
    re.compile(
        r"near_duplicates\.csv|audit\.html|"
        r"figures/(conflicts|near_duplicates|other_group|missed)\.png"
    ),
)


def show(audit: Audit) -> None:
    """Prints the class balance and the findings."""
    print_table(f"Images of {audit.splits.title}", _classes(audit))
    for sentence in findings(audit):
        console.print(sentence, soft_wrap=True, markup=False)


def findings(audit: Audit) -> list[str]:
    """The findings, one sentence each."""
    facts, splits = audit.facts, audit.splits
    sentences = []
    for split, count in facts["images_of_one_color"].items():
        if count:
            sentences.append(f"{_counted(count, 'image')} of {split} are of one color.")
    where = [f"{key}: {count}" for key, count in facts["exact_duplicates"].items() if count]
    sentences.append(
        f"Exact duplicates: {_counted(len(audit.duplicates), 'picture')} stored more than once"
        + (f" ({'; '.join(where)}), {len(audit.conflicts)} with several labels." if where else ".")
    )
    total = len(splits.test)
    if splits.grouping:
        leak = facts["leak"]["test"]
        sentences.append(
            f"Leak: {leak['with_train']:,} of {total:,} test images have the "
            f"{splits.grouping.column} of an image in train, "
            f"{leak['with_train_or_val']:,} of one in train or val."
        )
    near = facts["near_duplicates"]
    sentences.append(
        f"Near-duplicates: {_counted(sum(near['pairs'].values()), 'pair')} between splits; "
        f"{near['test_images']:,} of {total:,} test images look like one in train or val."
    )
    return [*sentences, _reliability(audit)]


def _reliability(audit: Audit) -> str:
    """How reliable near-duplicates are."""
    scores: Mapping[str, Any] = VALIDATED
    column, where = VALIDATED["column"], f"Measured on {VALIDATED['data']}, not here"
    if audit.splits.grouping:
        rows = audit.facts["detection"]
        scores = next(row for row in rows if row["threshold"] == THRESHOLD)
        column, where = audit.splits.grouping.column, "Measured here"
    pairs, images = scores["test_pairs"], scores["test_images"]
    shares = [own[key] for own in (pairs, images) for key in ("precision", "recall")]
    if shares[1] is None:
        return (
            f"{where}, between test and the other splits: there is no pair of one {column}, so "
            f"that none of the {_counted(pairs['told'], 'pair')} found is right."
        )
    if shares[0] is None:
        return f"{where}, no pair of one {column} between test and the other splits is found."
    precision, recall, image_precision, image_recall = map(percent, shares)
    return (
        f"{where}, between test and the other splits: {precision} of the pairs found are of one "
        f"{column}, and {recall} of all such pairs are found; {image_precision} of the test images "
        f"found leak, and {image_recall} of all leaked test images are found."
    )


def _rows(audit: Audit) -> Iterator[dict[str, Any]]:
    """One row per pair of near-duplicates, by pair of splits and decreasing margin."""
    splits = audit.splits
    for (first, second), candidates in audit.found.items():
        pairs = candidates.found(THRESHOLD)
        for i, j, similarity, margin in zip(
            pairs.first, pairs.second, pairs.similarity, pairs.margin, strict=True
        ):
            row = {
                "first_split": first,
                "first_index": int(i),
                "second_split": second,
                "second_index": int(j),
                "similarity": round(float(similarity), 4),
                "margin": round(float(margin), 4),
                "first_label": _label(splits, Place(first, int(i))),
                "second_label": _label(splits, Place(second, int(j))),
            }
            if splits.grouping:
                groups = splits.lesion_groups(first)[i], splits.lesion_groups(second)[j]
                row["same_group"] = bool(groups[0] == groups[1])
            yield row


def _sheets(audit: Audit, rows: list[dict[str, Any]]) -> dict[str, tuple[str, list[PairView]]]:
    """Maps file names to captions and pairs; a figure may have none."""
    ranked = sorted(rows, key=lambda row: -row["margin"])
    conflicting = ((same[0], other) for same in audit.conflicts for other in same[1:])
    column = audit.splits.grouping.column if audit.splits.grouping else "label"
    caption = f"the most similar near-duplicates, red if the {column} differs"
    sheets = {
        "conflicts": ("the same pixels with several labels", _views(audit, conflicting)),
        "near_duplicates": (caption, _views(audit, map(_found_pair, ranked))),
    }
    if audit.splits.grouping:
        others = (_found_pair(row) for row in ranked if not row["same_group"])
        sheets["other_group"] = (f"near-duplicates with another {column}", _views(audit, others))
        undetected = missed(audit.splits, audit.found, THRESHOLD)
        sheets["missed"] = (f"the same {column}, not found", _views(audit, undetected))
    return sheets


def _found_pair(row: Mapping[str, Any]) -> tuple[Place, Place, str]:
    return (
        Place(row["first_split"], row["first_index"]),
        Place(row["second_split"], row["second_index"]),
        f"similarity {row['similarity']:.2f}, margin {row['margin']:.2f}",
    )


def _views(
    audit: Audit, pairs: Iterable[tuple[Place, Place] | tuple[Place, Place, str]]
) -> list[PairView]:
    return [_view(audit, *pair) for pair in islice(pairs, PICTURES)]


def _view(audit: Audit, first: Place, second: Place, likeness: str = "") -> PairView:
    splits, places = audit.splits, [first, second]
    lines = [likeness, _labels(audit, places)]
    odd = len({_label(splits, place) for place in places}) > 1
    if splits.grouping:
        groups = {splits.lesion_groups(split)[index] for split, index in places}
        odd = len(groups) > 1
        lines.append(f"{'another' if odd else 'same'} {splits.grouping.column}")
    return PairView(
        images=[splits[split].images[index] for split, index in places],
        headings=[f"{split} {index}" for split, index in places],
        lines=[line for line in lines if line],
        odd=odd,
    )


def _content(audit: Audit) -> dict[str, Any]:
    """What audit.html.j2 shows besides the figures."""
    splits, facts = audit.splits, audit.facts
    height, width, channels = facts["image_shape"]
    return {
        "version": __version__,
        "title": f"Audit of {audit.splits.title}",
        "synthetic": splits.synthetic,
        "findings": findings(audit),
        "val_images": len(splits.val),
        "image": f"{height} x {width} pixels, {'RGB' if channels == 3 else 'gray'}",
        "facts": facts,
        "provenance": _provenance(facts["data"]),
        "tables": _tables(audit),
        "column": splits.grouping.column if splits.grouping else None,
        "duplicates": [
            (", ".join(f"{split} {index}" for split, index in same), _labels(audit, same))
            for same in audit.duplicates[:LISTED]
        ],
    }


def _tables(audit: Audit) -> dict[str, Grid]:
    """The page's tables of numbers, by their section."""
    near = audit.facts["near_duplicates"]
    pairs = [
        [between, f"{count:,}", f"{near['images'][between]:,}"]
        for between, count in near["pairs"].items()
    ]
    tables = {
        "classes": _classes(audit),
        "near_duplicates": Grid(["Between", "Pairs", "Images of the second"], pairs),
    }
    if audit.splits.grouping:
        tables |= {"leak": _leak(audit.facts["leak"]), "detection": _detection(audit)}
    return tables


def _classes(audit: Audit) -> Grid:
    """The images of each class in each split, and their share of the split."""
    headings, foot = ["Class"], ["all"]
    for split in SPLITS:
        headings += [split.capitalize(), "Share"]
        foot += [f"{len(audit.splits[split]):,}", percent(1.0)]
    rows = []
    for name, splits in audit.facts["classes"].items():
        rows.append([name])
        for own in splits.values():
            rows[-1] += [f"{own['images']:,}", percent(own["share"])]
    return Grid(headings, rows, foot)


def _leak(leak: Mapping[str, Any]) -> Grid:
    """The test images of each class, and those that leak."""
    rows = []
    for name, own in (*leak["classes"].items(), ("all", leak["test"])):
        rows.append([name, f"{own['images']:,}"])
        for leaked in (own["with_train"], own["with_train_or_val"]):
            share = percent(leaked / own["images"]) if own["images"] else ""
            rows[-1] += [f"{leaked:,}", share]
    headings = ["Class", "Test images", "Also in train", "Share", "Also in train or val", "Share"]
    return Grid(headings, rows[:-1], foot=rows[-1])


def _detection(audit: Audit) -> Grid:
    """How well each margin detects pairs of one lesion group."""
    rows: list[list[Any]] = []
    for row in audit.facts["detection"]:
        margin = row["threshold"]
        rows.append([Cell(fixed(margin, 2), strong=margin == THRESHOLD)])
        for own in (row["train_val_pairs"], row["test_pairs"], row["test_images"]):
            scores = (fixed(own[key], 3) for key in ("precision", "recall"))
            rows[-1] += [f"{own['told']:,}", *scores]
    headings = ["Margin from"]
    for found in ("Train\N{EN DASH}val pairs", "Test pairs", "Test images"):
        headings += [found, "Precision", "Recall"]
    return Grid(headings, rows)


def _provenance(data: Mapping[str, Any]) -> dict[str, str]:
    """Maps labels to what was audited."""
    found = {"Data": data["name"], "Data fingerprint": data["fingerprint"]}
    if groups := data.get("groups"):
        column, file, fingerprint = groups["column"], groups["file"], groups["fingerprint"]
        found["Lesion groups"] = f"{column} of {file}, fingerprint {fingerprint}"
    return found


def _labels(audit: Audit, same: list[Place]) -> str:
    return " | ".join(dict.fromkeys(_label(audit.splits, place) for place in same))


def _label(splits: Splits, place: Place) -> str:
    split, index = place
    return truth_text(splits[split].labels[index], splits.classes)


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
