"""Shards over HTTP and a disk: the batches of the same pictures elsewhere, and faults."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import NO_FIGURES
from helpers.shards import CONTENT, ShardServer, cached, loaded, png, refusal, shard_members, tar

from dermaexp.core.errors import UserError
from dermaexp.data import shards
from dermaexp.data.datamodule import ImageDataModule
from dermaexp.data.shard_urls import shard_urls, shown, splits_of_shards
from dermaexp.data.splits import SPLITS
from dermaexp.runs.directory import RunDirectory


def as_folder(root: Path) -> Path:
    """The same pictures in class folders."""
    for name, members in CONTENT.items():
        for member, content in members:
            file = root / name[:-2] / member[0] / member
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    return root


@pytest.mark.parametrize("max_resident_gb", [None, 0])
def test_shards_give_the_batches_of_the_same_pictures_in_folders(
    max_resident_gb: float | None, shard_set: ShardServer, tmp_path: Path
) -> None:
    over_http = loaded("shards", max_resident_gb, url=shard_set.pattern)
    on_disk = loaded("folder", path=str(as_folder(tmp_path / "derma")))
    assert over_http.fingerprint == on_disk.fingerprint
    assert over_http.test_fingerprint == on_disk.test_fingerprint
    assert over_http.record == on_disk.record
    batches = []
    for splits in (over_http, on_disk):
        module = ImageDataModule(splits, batch_size=8, seed=3, grayscale=False)
        module.setup("fit")
        batches.append(next(iter(module.train_dataloader())))
    for ours, theirs in zip(*batches, strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_shards_are_read_once_and_again_when_they_change(shard_set: ShardServer) -> None:
    first = loaded("shards", url=shard_set.pattern)
    assert sum(asked.startswith("GET") for asked in shard_set.requests) == 6
    shard_set.requests.clear()
    assert loaded("shards", url=shard_set.pattern).fingerprint == first.fingerprint
    assert {asked.partition(" ")[0] for asked in shard_set.requests} == {"HEAD"}
    shard_set.files["/derma/test-1.tar"] = tar(shard_members("b", range(60, 64), 1))
    changed = loaded("shards", url=shard_set.pattern)
    assert len(changed.test) == len(first.test) + 2
    np.testing.assert_array_equal(changed.train.images, first.train.images)


def test_a_server_that_is_gone_is_no_reason_to_stop(
    shard_set: ShardServer, cache_folder: Path
) -> None:
    first = loaded("shards", url=shard_set.pattern)
    shard_set.files.clear()
    again = loaded("shards", url=shard_set.pattern)
    assert again.fingerprint == first.fingerprint
    assert again.notes[0].text == (
        f"{shard_set.url}/derma/train-0.tar cannot be read (127.0.0.1 answered 404 Not Found): "
        "the pictures are those that were read from it before"
    )
    assert "answered 404" in refusal(url=shard_set.pattern, size=4)


@pytest.mark.slow
def test_a_run_on_shards(shard_set: ShardServer, cli) -> None:
    url = f'dataset.url="{shard_set.pattern}"'
    own = ["dataset=shards", url, "dataset.size=8", "model=ffn", "epochs=1", "hydra.run.dir=run"]
    assert cli(*own, *NO_FIGURES) == 0
    data = RunDirectory(Path("run")).read_run()["data"]
    assert data["fingerprint"] == loaded("shards", url=shard_set.pattern).fingerprint
    assert data["name"] == "derma"


def test_labels_and_groups_are_fields_of_json(shard_set: ShardServer) -> None:
    """Without splits in the names they are divided; no group is in two of them."""
    members = []
    for k in range(60):
        fields = {"dx": ["x", 3, 12][k % 3], "patient": k // 2}
        members += [(f"{k}.JPG", png(k)), (f"{k}.json", json.dumps(fields).encode())]
    shard_set.files["/all.tar"] = tar(members)
    fields = {"url": f"{shard_set.url}/all.tar", "label_column": "dx", "group_column": "patient"}
    splits = loaded("shards", **fields, split="random")
    assert splits.name == "127.0.0.1, random split 0"
    assert splits.classes == ("3", "12", "x")
    groups = [set(splits.lesion_groups(split)) for split in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups)) == 30
    for split in SPLITS:
        numbers = splits[split].images[:, 0, 0, 0].astype(int)
        assert splits[split].labels.tolist() == [[2, 0, 1][k % 3] for k in numbers]
    named = loaded("shards", **fields, classes={"12": "low", "3": "low", "x": "high"})
    assert named.classes == ("low", "high")


def test_faults_are_named_at_once_or_left_out(shard_set: ShardServer) -> None:
    whole = loaded("shards", url=shard_set.pattern)
    members = [
        ("text.jpg", b"no picture"),
        ("text.cls", b"a"),
        ("lonely.cls", b"a"),
        ("._a000.png", b"resource fork"),
        ("a.mask.png", png(1)),
        ("../../escape.png", png(1)),
        ("../../escape.cls", b"a"),
        ("unlabelled.png", png(1)),
    ]
    content = tar(CONTENT["train-0"] + members)
    shard_set.files["/derma/train-0.tar"] = content
    line = refusal(url=shard_set.pattern)
    assert line.startswith("derma: rows without a label (1): train-0.tar/unlabelled: mend them")
    shard_set.files["/derma/train-0.tar"] = tar(CONTENT["train-0"] + members[:-1])
    assert refusal(url=shard_set.pattern) == (
        "derma: files that are no pictures (2): train-0.tar/text cannot be decoded: expected a "
        "whole PNG, JPEG, TIFF, BMP or WEBP file, train-0.tar/lonely has no picture: mend them, or "
        "leave them out with dataset.on_error=skip"
    )
    shard_set.files["/derma/train-0.tar"] = content
    left = loaded("shards", url=shard_set.pattern, on_error="skip")
    assert len(left.train) == len(whole.train) + 1
    np.testing.assert_array_equal(np.delete(left.train.images, 12, axis=0), whole.train.images)
    assert [line.split()[0] for line in left.record["skipped"]] == [
        "train-0.tar/unlabelled:",
        "train-0.tar/text",
        "train-0.tar/lonely",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"<!DOCTYPE html>", "is cut short or no tar file ("),
        (b"", "is cut short or no tar file (no header at byte 0: empty header)"),
        (
            tar([("1.2.png", png(1)), ("1.2.cls", b"a")]),
            "test-1.tar has no samples: expected members",
        ),
        (tar(CONTENT["test-1"])[:1000], "is cut short or no tar file (unexpected end of data)"),
        (tar(CONTENT["test-1"])[:2048], "(no header at byte 2,048: empty header)"),
        (tar(CONTENT["test-1"])[:1024] + b"x" * 2048, "(no header at byte 1,024: "),
        (tar(CONTENT["test-1"], "w:gz")[:-90], "is cut short or no tar file ("),
        (tar(CONTENT["test-1"] * 2), "has b001 twice: expected each key once"),
        (tar([("k.png", png(1)), ("k.jpg", png(1))]), "has several members k with a picture"),
        (tar([("k.png", png(1)), ("k.json", b"[1]")]), "test-1.tar/k.json holds no JSON object"),
        (tar([("k.png", png(1)), ("k.cls", b"\xff")]), "test-1.tar/k has a label that is no text"),
    ],
)
def test_a_damaged_shard_stops_and_leaves_no_pictures(
    content: bytes, line: str, shard_set: ShardServer, tmp_path: Path
) -> None:
    shard_set.files["/derma/test-1.tar"] = content
    found = refusal(url=shard_set.pattern)
    assert line in found
    assert "test-1.tar" in found
    assert cached(tmp_path / "cache") == {}


def test_shards_on_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, members in CONTENT.items():
        file = tmp_path / "derma" / name[:-2] / f"part{name[-1]}.tar"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tar(members))
    urls = [f"{tmp_path}/derma/{{train,val}}/part{{0..1}}.tar", "derma/test/part{1,0}.tar"]
    monkeypatch.chdir(tmp_path)
    splits = loaded("shards", url=urls)
    assert splits.name == "derma"
    assert splits.test.labels.tolist() == [1] * 2 + [0] * 8 + [1]
    missing = refusal(url=f"{tmp_path}/derma/train/part{{0..2}}.tar")
    assert missing.endswith("part2.tar cannot be read (there is no such file)")
    only = loaded("shards", url=f"{tmp_path}/derma/train/part0.tar", split="random", classes=["a"])
    assert only.name == "derma, random split 0"


def test_a_cache_that_cannot_be_written_is_done_without(
    shard_set: ShardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = loaded("shards", url=shard_set.pattern)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert loaded("shards", url=shard_set.pattern).fingerprint == first.fingerprint


@pytest.mark.parametrize(
    ("pattern", "urls"),
    [
        ("a.tar", ["a.tar"]),
        ("{train,val}-{0..1}.tar", ["train-0.tar", "train-1.tar", "val-0.tar", "val-1.tar"]),
        ("{008..010}", ["008", "009", "010"]),
        ("{9..11}{,x}", ["9", "9x", "10", "10x", "11", "11x"]),
        ("{a,{b,c}}", ["{a,b}", "{a,c}"]),
        (["b{1..2}", "b2", "c"], ["b1", "b2", "c"]),
        ("s3://bucket/{0..1}.tar", ["s3://bucket/0.tar", "s3://bucket/1.tar"]),
    ],
)
def test_patterns(pattern: str | list[str], urls: list[str]) -> None:
    assert shard_urls(pattern) == urls


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("pipe:curl http://h/a.tar", "dataset.url=pipe:curl http://h/a.tar: expected https://"),
        ("file:///etc/passwd", "expected https://, http:// or s3://, or the path of a"),
        ("simplecache::http://h/a.tar", "dataset.url=simplecache::http://h/a.tar: expected"),
        ("a{0..9999999999}", "stands for more than 100,000 shards"),
        ("a{9..0}", "dataset.url has {9..0}: expected the smaller number first"),
        ([], "dataset.url=[]: expected"),
        ("", "dataset.url=: expected URLs or paths such as https://HOST/{train,val,test}"),
    ],
)
def test_urls_that_are_refused(url: object, line: str) -> None:
    with pytest.raises(UserError) as error:
        shards.load(url, size=8)
    assert line in str(error.value)


def test_names_tell_splits() -> None:
    urls = shard_urls("http://h/x/derma-{Training,dev,test}-{0..1}.tar")
    assert splits_of_shards(urls) == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    assert splits_of_shards(["http://test/dev/1.tar", "http://test/dev/2.tar"]) is None
    with pytest.raises(UserError, match=r"h/x\.tar is of no split, others are of train: expected"):
        splits_of_shards(["http://h/train.tar", "http://h/x.tar"])


def test_messages_hold_no_secret() -> None:
    assert shown("https://me:secret@h:80/a.tar?X-Signature=secret#x") == "https://h:80/a.tar"
    assert shown("data/#1?.tar") == "data/#1?.tar"


def test_errors_have_one_line(server: ShardServer) -> None:
    with pytest.raises(UserError) as error:
        shards.load("http://127.0.0.1:9/a.tar", size=8)
    assert str(error.value) == (
        "http://127.0.0.1:9/a.tar cannot be read in 4 tries (no connection to 127.0.0.1)"
    )
