"""Cross-validated runs in comparisons: folds are repetitions, each resampled by itself."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
from helpers import (
    OTHER_DATA,
    compare_command,
    comparison_page,
    confusions,
    notes,
    rows,
    write_answers,
    write_run,
)
from scipy.stats import ttest_1samp
from statsmodels.stats.contingency_tables import mcnemar

from dermaexp.compare import output
from dermaexp.compare.comparison import Comparison, Table, comparison_of
from dermaexp.compare.significance import compare_with_best
from dermaexp.metrics import classification, resampling, significance
from dermaexp.runs.directory import HISTORY_COLUMNS, RunDirectory

SIZES = (60, 75, 66)  # test images of each fold
IMAGES = sum(SIZES)
NAME = "3-fold cross-validation"
POOL, GROUPING = "ab" * 32, "12" * 32


def targets_of(fold: int) -> np.ndarray:
    return np.random.default_rng(fold).permutation(np.arange(SIZES[fold]) % 6 // 2 % 3)


def write_fold(
    folder: Path,
    model: str = "cnn",
    fold: int = 0,
    seed: int = 0,
    skill: float = 1.0,
    pool: str = POOL,
    grouping: str = GROUPING,
    split: str = "grouped",
    **record: object,
) -> RunDirectory:
    """A run of one fold of three; the more `skill`, the more its answers know of the targets."""
    kind = {"kind": "grouped", "folds": 3, "fold": fold, "pool_fingerprint": pool}
    test_fingerprint = f"{fold}{pool}{grouping}"
    data = {"fingerprint": f"1f{fold}", "test_fingerprint": test_fingerprint, "split": kind}
    if split == "official":
        data = {"fingerprint": "1f", "test_fingerprint": "1f5", "split": {"kind": "official"}}
    groups = {"file": "lesions.csv", "column": "lesion_id", "fingerprint": grouping}
    config = {"dataset": {"split": split, "folds": 3, "fold": fold}}
    config |= {"model": {"_target_": model}}
    directory = write_run(
        folder / f"{model},{split},{fold},{seed}",
        model,
        seed,
        config=config,
        **{"data": OTHER_DATA | {"name": "Data", "groups": groups} | data, **record},
    )
    if directory.has_metrics():
        generator = np.random.default_rng([fold, seed, *model.encode()])
        targets = targets_of(fold)
        logits = generator.normal(size=(len(targets), 3)) + skill * np.eye(3)[targets]
        exponentials = np.exp(logits)
        probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
        write_answers(directory, targets, probabilities.astype(np.float32), seed + fold)
    return directory


def write_folds(folder: Path, model: str, skill: float, seeds: tuple[int, ...] = (0,)) -> None:
    for fold in range(3):
        for seed in seeds:
            write_fold(folder, model, fold, seed, skill)


def scores_of(folder: Path, metric: str, seeds: tuple[int, ...] = (0,)) -> list[float]:
    """Of each fold the mean over the seeds, from the runs' own metrics.json."""
    return [
        fmean(
            RunDirectory(folder / f"cnn,grouped,{fold},{seed}").read_metrics()["test"][metric]
            for seed in seeds
        )
        for fold in range(3)
    ]


def answers(folder: Path, model: str, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each fold's targets and probabilities."""
    stored = [
        RunDirectory(folder / f"{model},grouped,{fold},{seed}").read_predictions()
        for fold in range(3)
    ]
    return [(one["test_targets"], one["test_probabilities"]) for one in stored]


def correct(folder: Path, model: str, seed: int = 0) -> np.ndarray:
    """Which of all folds' images are answered right, fold after fold."""
    return np.concatenate([p.argmax(axis=1) == t for t, p in answers(folder, model, seed)])


def only_table(folder: Path) -> Table:
    (table,) = comparison_of([folder]).tables
    return table


@pytest.mark.slow
def test_folds_are_one_group_with_their_mean_and_deviation(tmp_path: Path) -> None:
    write_folds(tmp_path, "cnn", 1.5)
    write_folds(tmp_path, "ffn", 0.5)
    assert output.compare(tmp_path) == 0
    comparison = comparison_of([tmp_path])
    assert comparison.varied == {"model": "model"}, "the fold is not compared"
    (table,) = comparison.tables
    assert table.title == f"Leaderboard on Data, {NAME}, {IMAGES} test images"
    assert table.notes == []
    cnn, ffn, baseline = rows(tmp_path)
    assert [row["model"] for row in (cnn, ffn)] == ["cnn", "ffn"]
    assert (cnn["n"], cnn["seeds"], cnn["folds"], cnn["test_images"]) == (
        "1",
        "0",
        "0 1 2",
        str(IMAGES),
    )
    for metric in ("accuracy", "balanced_accuracy", "macro_auroc", "macro_f1"):
        scores = scores_of(tmp_path, metric)
        assert float(cnn[f"test_{metric}"]) == pytest.approx(fmean(scores))
        assert float(cnn[f"test_{metric}_sd"]) == pytest.approx(stdev(scores))
    assert float(cnn["best_epoch"]) == 2.0
    shares = [np.mean(targets_of(fold) == 1) for fold in range(3)]
    assert baseline["name"] == 'majority baseline: always "b"'
    assert float(baseline["test_accuracy"]) == pytest.approx(fmean(shares))
    assert float(baseline["test_balanced_accuracy"]) == pytest.approx(1 / 3)
    runs = rows(tmp_path, "runs")
    found = [(row["model"], row["seed"], row["fold"]) for row in runs]
    assert found == [(model, "0", fold) for model in ("cnn", "ffn") for fold in "012"]
    markdown = (tmp_path / "leaderboard.md").read_text()
    assert "Cross-validated: a score is the mean over folds" in markdown
    assert "| 1 | cnn | 0 | 3 of 3 | " in markdown
    assert "over seeds." not in markdown.split("##")[0]


def test_the_deviation_of_several_seeds_is_that_of_the_folds(tmp_path: Path) -> None:
    write_folds(tmp_path, "cnn", 1.0, seeds=(0, 1))
    (group,) = only_table(tmp_path).groups
    scores = scores_of(tmp_path, "accuracy", seeds=(0, 1))
    assert group.scores("test", "accuracy") == pytest.approx(scores)
    assert group.sd("test", "accuracy") == pytest.approx(stdev(scores))
    assert (group.runs_per_fold, group.seeds, group.folds) == (2, [0, 1], [0, 1, 2])
    assert group.confusion.sum() == 2 * IMAGES


def test_accuracy_is_tested_by_mcnemar_on_all_folds_together(tmp_path: Path) -> None:
    write_folds(tmp_path, "cnn", 1.2)
    write_folds(tmp_path, "ffn", 0.8)
    first, second = (correct(tmp_path, model) for model in ("cnn", "ffn"))
    table = [[np.sum((first == i) & (second == j)) for j in (1, 0)] for i in (1, 0)]
    (pair,) = only_table(tmp_path).evidence.pairs
    finding = pair.findings["accuracy"]
    assert finding.p == pytest.approx(mcnemar(table, exact=True).pvalue, abs=1e-12)
    means = [
        fmean(float(np.mean(p.argmax(axis=1) == t)) for t, p in answers(tmp_path, model))
        for model in ("cnn", "ffn")
    ]
    assert finding.difference.estimate == pytest.approx(means[0] - means[1])
    assert finding.words.endswith("(one seed each)")


@pytest.mark.slow
def test_several_seeds_are_tested_by_sign_flips_and_the_chance_of_seeds(tmp_path: Path) -> None:
    for model, skill in (("cnn", 1.2), ("ffn", 0.8)):
        write_folds(tmp_path, model, skill, seeds=(0, 1))
    table = only_table(tmp_path)
    (pair,) = table.evidence.pairs
    first, second = (
        np.stack([correct(tmp_path, model, seed) for seed in (0, 1)]) for model in ("cnn", "ffn")
    )
    finding = pair.findings["accuracy"]
    assert finding.p >= significance.sign_flip_exact(first, second)
    write_folds(tmp_path / "one", "cnn", 1.2)
    write_folds(tmp_path / "one", "ffn", 0.8)
    alone = only_table(tmp_path / "one").evidence.pairs[0].findings["accuracy"].difference
    assert finding.difference.high - finding.difference.low > alone.high - alone.low
    (cnn, _), (baseline,) = table.groups, table.baselines
    constant = np.concatenate([targets_of(fold) for fold in range(3)]) == baseline.predicted[0][0]
    of_images = significance.sign_flip_exact(first, constant[None])
    of_seeds = ttest_1samp(first.mean(axis=1), constant.mean()).pvalue
    assert cnn.p_against(baseline) == pytest.approx(max(of_images, of_seeds))


def slow_bootstrap(folder: Path, draws: int) -> dict[str, np.ndarray]:
    """cnn minus ffn in the mean over the folds, each fold's images resampled by themselves."""
    generator = np.random.default_rng(99)
    folds = list(zip(answers(folder, "cnn"), answers(folder, "ffn"), strict=True))
    slow: dict[str, list] = {"accuracy": [], "balanced_accuracy": [], "macro_auroc": []}
    for _ in range(draws):
        scores = []
        for (targets, cnn), (_, ffn) in folds:
            drawn = generator.integers(0, len(targets), len(targets))
            scores.append([scores_on(targets[drawn], run[drawn]) for run in (cnn, ffn)])
        for metric, differences in slow.items():
            differences.append(fmean(cnn[metric] - ffn[metric] for cnn, ffn in scores))
    return {metric: np.array(differences) for metric, differences in slow.items()}


def scores_on(targets: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    hits, recalls, aurocs = probabilities.argmax(axis=1) == targets, [], []
    for label in range(3):
        own = targets == label
        pairs = np.subtract.outer(probabilities[own, label], probabilities[~own, label])
        recalls.append(np.mean(hits[own]))
        aurocs.append(np.mean(np.sign(pairs) + 1) / 2)
    means = {"accuracy": hits.mean(), "balanced_accuracy": fmean(recalls)}
    return means | {"macro_auroc": fmean(aurocs)}


@pytest.mark.slow
def test_intervals_are_those_of_a_plain_loop_over_folds(tmp_path: Path) -> None:
    write_folds(tmp_path, "cnn", 1.2)
    write_folds(tmp_path, "ffn", 0.6)
    (pair,) = only_table(tmp_path).evidence.pairs
    for metric, slow in slow_bootstrap(tmp_path, draws=400).items():
        found = pair.findings[metric].difference
        expected = np.percentile(slow, (2.5, 97.5))
        assert (found.low, found.high) == pytest.approx(expected, abs=0.4 * np.std(slow))
        assert found.high - found.low == pytest.approx(3.92 * np.std(slow), rel=0.12)


def test_auroc_is_the_mean_of_the_folds_not_that_of_pooled_scores(tmp_path: Path) -> None:
    """The models of other folds prefer the first class more or less: no common scale."""
    write_folds(tmp_path, "cnn", 1.5)
    write_folds(tmp_path, "ffn", 0.5)
    for fold, (targets, probabilities) in enumerate(answers(tmp_path, "cnn")):
        scaled = probabilities * (9.0**fold, 1, 1)
        scaled /= scaled.sum(axis=1, keepdims=True)
        write_answers(RunDirectory(tmp_path / f"cnn,grouped,{fold},0"), targets, scaled)
    (pair,) = only_table(tmp_path).evidence.pairs
    by_fold, pooled = [], []
    for model in ("cnn", "ffn"):
        folds = answers(tmp_path, model)
        by_fold.append(fmean(classification.macro_auroc(*fold) for fold in folds))
        pooled.append(classification.macro_auroc(*map(np.concatenate, zip(*folds, strict=True))))
    estimate = pair.findings["macro_auroc"].difference.estimate
    assert estimate == pytest.approx(by_fold[0] - by_fold[1])
    assert abs(estimate - (pooled[0] - pooled[1])) > 0.01


@pytest.mark.slow
def test_folds_are_plotted_apart(tmp_path: Path) -> None:
    """Three folds of the same content: the interval is that of one fold over the root of three."""
    for fold in range(3):
        for model, skill in (("cnn", 1.2), ("ffn", 0.6)):
            write_fold(tmp_path, model, fold, skill=skill)
            stored = RunDirectory(tmp_path / f"{model},grouped,0,0").read_predictions()
            directory = RunDirectory(tmp_path / f"{model},grouped,{fold},0")
            write_answers(directory, stored["test_targets"], stored["test_probabilities"])
    table = only_table(tmp_path)
    (pair,) = compare_with_best(table.groups, resamples=4000).pairs
    for metric, finding in pair.findings.items():
        runs = [answers(tmp_path, model)[0][1] for model in ("cnn", "ffn")]
        alone = resampling.bootstrap(targets_of(0), runs, resamples=4000)[metric]
        width = np.subtract(*np.percentile(alone[0] - alone[1], (97.5, 2.5)))
        found = finding.difference.high - finding.difference.low
        assert found == pytest.approx(width / 3**0.5, rel=0.08)


def test_the_interval_and_the_baseline_of_a_group(tmp_path: Path) -> None:
    write_folds(tmp_path, "cnn", 0.6)
    (group,), (baseline,) = only_table(tmp_path).groups, only_table(tmp_path).baselines
    generator = np.random.default_rng(5)
    right = [p.argmax(axis=1) == t for t, p in answers(tmp_path, "cnn")]
    means = [
        np.mean([generator.choice(fold, len(fold)).mean() for fold in right]) for _ in range(4000)
    ]
    assert group.accuracy_interval() == pytest.approx(np.percentile(means, (2.5, 97.5)), abs=0.006)
    first = np.concatenate(right)
    constant = np.concatenate([targets_of(fold) for fold in range(3)]) == baseline.predicted[0][0]
    table = [[np.sum((first == i) & (constant == j)) for j in (1, 0)] for i in (1, 0)]
    assert group.p_against(baseline) == pytest.approx(mcnemar(table, exact=True).pvalue)
    (tmp_path / "cnn,grouped,1,0" / "predictions.npz").unlink()
    (group,) = only_table(tmp_path).groups
    assert np.isnan(group.accuracy_interval()).all()


def test_the_baseline_is_the_majority_of_every_fold(tmp_path: Path) -> None:
    """Train has one; in the first fold two classes are equally frequent on test."""
    content = [[0] * 20 + [1] * 20 + [2] * 5, [0] * 10 + [1] * 30 + [2] * 5]
    for fold, labels in enumerate(content):
        directory = write_fold(tmp_path, "cnn", fold)
        targets = np.array(labels)
        write_answers(directory, targets, np.eye(3, dtype=np.float32)[targets])
    (baseline,) = only_table(tmp_path).baselines
    assert baseline.predicted[0][1] == "b"
    assert baseline.scores["accuracy"] == pytest.approx((20 / 45 + 30 / 45) / 2)
    f1 = (2 * 20 / (45 + 20) / 3 + 2 * 30 / (45 + 30) / 3) / 2
    assert baseline.scores["macro_f1"] == pytest.approx(f1)


def test_a_seed_without_all_folds_does_not_count(tmp_path: Path) -> None:
    write_folds(tmp_path, "cnn", 1.0)
    write_fold(tmp_path, "cnn", 1, seed=1)
    comparison = comparison_of([tmp_path])
    assert notes(comparison) == ["cnn: seed 1 does not count: it lacks folds 0, 2"]
    (group,) = comparison.tables[0].groups
    assert (group.runs_per_fold, group.seeds, group.folds) == (1, [0], [0, 1, 2])


def test_other_seeds_in_other_folds_count_as_one(tmp_path: Path) -> None:
    for fold, seed in ((0, 4), (1, 3), (2, 3)):
        write_fold(tmp_path, "cnn", fold, seed)
    comparison = comparison_of([tmp_path])
    assert notes(comparison) == [
        "cnn: no seed has all folds: the lowest of each fold counts, seed 4 on fold 0 and seed 3 "
        "on folds 1, 2"
    ]
    (group,) = comparison.tables[0].groups
    assert (group.runs_per_fold, group.seeds, group.folds) == (1, [3, 4], [0, 1, 2])
    assert group.confusion.sum() == IMAGES


def test_a_fold_that_was_run_twice(tmp_path: Path) -> None:
    write_folds(tmp_path / "a", "cnn", 1.0)
    again = write_fold(tmp_path / "b", "cnn", 1, finished="2026-01-02")
    comparison = comparison_of([tmp_path])
    assert notes(comparison) == ["cnn: seed 0 was run 2 times on fold 1: the latest counts"]
    assert comparison.runs[1].directory.path == again.path


def test_folds_that_are_set_apart_are_named(tmp_path: Path) -> None:
    write_folds(tmp_path, "cnn", 1.0, seeds=(0, 1))
    for fold, seed in ((0, 1), (2, 1)):
        write_fold(tmp_path, "cnn", fold, seed, code_digest="1" * 64)
    for fold, seed in ((0, 0), (1, 1)):
        write_fold(tmp_path, "cnn", fold, seed, device={"type": "cuda", "name": "H100"})
    assert notes(comparison_of([tmp_path])) == [
        "cnn: seed 1 on folds 0, 2 ran other code (commit aaaaaaa, digest 11111111; others commit "
        "aaaaaaa, digest 00000000)",
        "cnn: seed 0 on fold 0 and seed 1 on fold 1 ran on cuda, others on cpu",
    ]


def titles(comparison: Comparison) -> list[tuple[str, list[str]]]:
    return [
        (table.title.removeprefix("Leaderboard on "), [group.label for group in table.groups])
        for table in comparison.tables
    ]


@pytest.mark.slow
def test_folds_that_are_missing_stand_apart_while_a_sweep_runs(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    write_folds(tmp_path, "cnn", 1.5)
    for model in ("ffn", "mlp"):
        for fold in (0, 2):
            write_fold(tmp_path, model, fold, skill=1.0)
    write_fold(tmp_path, "ffn", 1, status="failed", error="no space")
    comparison = comparison_of([tmp_path])
    assert titles(comparison) == [
        (f"Data, {NAME}, {IMAGES} test images", ["model=cnn"]),
        (f"Data, folds 0, 2 of {NAME}, 126 test images", ["model=mlp", "model=ffn"]),
    ]
    assert notes(comparison) == [
        "model=mlp: folds 0, 2 of 3: incomplete",
        "model=ffn: folds 0, 2 of 3: incomplete",
    ]
    assert compare_command(monkeypatch, tmp_path, "--output", tmp_path / "out") == 0, "not refused"
    output = " ".join(capsys.readouterr().out.split())
    assert "do not compare their numbers with each other" in output
    assert [row["folds"] for row in rows(tmp_path / "out")] == ["0 1 2"] * 2 + ["0 2"] * 3
    failed = rows(tmp_path / "out", "runs")[-1]
    assert (failed["fold"], failed["status"], failed["error"]) == ("1", "failed", "no space")


def test_a_single_fold_alone(tmp_path: Path) -> None:
    write_fold(tmp_path, "cnn", 1)
    page = comparison_page(tmp_path)
    assert f"Leaderboard on Data, fold 1 of {NAME}, 75 test images" in page.texts
    assert "cnn: fold 1 of 3: incomplete" in page.text
    assert "Its val macro AUROC is " in page.text and "(fold 1, seed 0)." in page.text


def test_the_deviation_on_a_single_fold_is_that_of_the_seeds(tmp_path: Path) -> None:
    for seed in (0, 1, 2):
        write_fold(tmp_path, "cnn", 1, seed)
    (cnn,) = only_table(tmp_path).groups
    accuracies = [run.metrics["test"]["accuracy"] for run in cnn.runs]
    assert (cnn.seeds, cnn.folds) == ([0, 1, 2], [1])
    assert cnn.sd("test", "accuracy") == pytest.approx(stdev(accuracies))


def test_no_fold_can_be_compared(tmp_path: Path) -> None:
    write_fold(tmp_path, "cnn", 1, status="failed", error="no space")
    run = write_fold(tmp_path, "cnn", 2)
    record = run.read_run()
    del record["data"]["split"]["pool_fingerprint"]
    run.write_run(record)
    assert output.compare(tmp_path) == 2
    failed, old = rows(tmp_path, "runs")
    assert (failed["fold"], old["fold"]) == ("1", "")
    assert old["error"] == "its run.json cannot be read: no data.split.pool_fingerprint"


@pytest.mark.slow
def test_the_official_split_stands_apart(tmp_path: Path, monkeypatch, capsys) -> None:
    """Of one sweep, over folds that mean nothing to the official split."""
    for model in ("cnn", "ffn"):
        write_folds(tmp_path, model, 1.5 if model == "cnn" else 0.5)
        for fold in range(2):
            write_fold(tmp_path, model, fold, split="official", skill=1.0)
    assert compare_command(monkeypatch, tmp_path) == 1
    error = capsys.readouterr().err
    assert NAME in error and "--force" in error
    page = comparison_page(tmp_path)
    assert "Comparison on Data" in page.texts
    assert "Different test images. The 2 tables are of different test images" in page.text
    comparison = comparison_of([tmp_path])
    assert comparison.varied == {"model": "model", "dataset.split": "split"}
    grouped, official = comparison.tables
    assert (grouped.cross_validated, official.cross_validated) == (True, False)
    assert official.title == "Leaderboard on Data, 75 test images"
    assert official.notes == [
        f"model={model} dataset.split=official: seed 0 was run 2 times: the latest counts"
        for model in ("cnn", "ffn")
    ]
    markdown = (tmp_path / "leaderboard.md").read_text()
    assert "Ranked by the mean val macro AUROC over the seeds of a run group; ±" in markdown
    assert "Cross-validated: " in markdown and comparison.warning in markdown
    assert {"figures/test_accuracy.png", "figures/test_accuracy_2.png"} <= set(
        page.addresses["href"]
    )


@pytest.mark.parametrize("other", [{"pool": "cd" * 32}, {"grouping": "9" * 64}])
def test_other_data_in_the_same_folds_are_another_table(
    tmp_path: Path, monkeypatch, other: dict[str, str]
) -> None:
    write_folds(tmp_path, "cnn", 1.5)
    for fold in range(3):
        write_fold(tmp_path / "other", "cnn", fold, **other)
    comparison = comparison_of([tmp_path])
    assert len(comparison.tables) == 2
    assert len({table.title for table in comparison.tables}) == 2
    assert compare_command(monkeypatch, tmp_path) == 1, "refused"


def test_a_source_s_own_folds_are_a_config_key(tmp_path: Path) -> None:
    for fold in range(2):
        write_run(tmp_path / str(fold), config={"dataset": {"fold": fold}})
    assert list(comparison_of([tmp_path]).varied) == ["dataset.fold"]


@pytest.mark.slow
def test_the_page_of_folds(tmp_path: Path) -> None:
    for model, skill in (("cnn", 1.5), ("ffn", 0.5)):
        write_folds(tmp_path, model, skill, seeds=(0, 1))
    for fold in range(3):
        directory = RunDirectory(tmp_path / f"cnn,grouped,{fold},0")
        history = dict.fromkeys(HISTORY_COLUMNS, 0.5)
        directory.write_history([history | {"epoch": epoch} for epoch in (1, 2)])
    page = comparison_page(tmp_path)
    ranked, runs, _ = page.tables
    assert ranked[0][:4] == ["rank", "model", "seeds", "folds"]
    assert [line[:4] for line in ranked[1:]] == [
        ["1", "cnn", "2", "3 of 3"],
        ["2", "ffn", "2", "3 of 3"],
        ["", "majority baseline", "", ""],
    ]
    assert runs[0][:4] == ["rank", "seed", "fold", "model"]
    assert [line[1:3] for line in runs[1:4]] == [["0", "0"], ["1", "0"], ["0", "1"]]
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    for words in (
        "(mean ± standard deviation over folds 0, 1, 2, of the means over seeds 0, 1)",
        f"Its accuracy on the {IMAGES} test images is",
        "10,000 bootstrap resamples of the images within each fold",
        "the spread over the folds does not measure that variation",
        "means ± standard deviations over folds, where a fold's score is the mean over its seeds",
        "over all folds and seeds of the run group",
        "A line is the mean over a run group's folds and seeds",
        f"Comparison on Data, {NAME}",
    ):
        assert words in text
    found = confusions(tmp_path)["groups"][0]
    right = sum(correct(tmp_path, "cnn", seed).sum() for seed in (0, 1))
    assert (found["seeds"], np.trace(found["counts"])) == (2, right)
    assert np.sum(found["counts"]) == 2 * IMAGES
