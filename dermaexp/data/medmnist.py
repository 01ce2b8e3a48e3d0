"""MedMNIST's 2D files: found where medmnist keeps them or downloaded, and checked by MD5."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pooch
import requests
from filelock import FileLock

from dermaexp.core import rules
from dermaexp.core.errors import UserError
from dermaexp.core.files import expanded
from dermaexp.data import npz, synthetic
from dermaexp.data.config import MedMNISTConfig
from dermaexp.data.medmnist_info import INFO, task_of_set
from dermaexp.data.splits import Note, Splits, checked_splits

TIMEOUT = 20  # seconds without an answer


class UnavailableError(Exception):
    """The file is not here and cannot be downloaded; the message says why."""


def load(
    flag: str, size: int, root: str, if_unavailable: str, max_resident_gb: float | None = None
) -> Splits:
    """The MedMNIST set `flag` at `size` pixels, from `root` or MedMNIST's server.

    If it cannot be downloaded, the synthetic set may stand in for DermaMNIST (`if_unavailable`);
    the splits say so in their title and in a note.
    """
    given = {"flag": flag, "size": size, "root": str(root), "if_unavailable": if_unavailable}
    rules.check(MedMNISTConfig, given, "dataset")
    info = INFO[flag]
    suffix = "" if size == 28 else f"_{size}"
    file = expanded(str(root)) / f"{flag}{suffix}.npz"
    url, md5 = info[f"url{suffix}"], info[f"MD5{suffix}"]
    try:
        fetch(url, md5, file)
    except UnavailableError as reason:
        if if_unavailable == "error":
            raise UserError(
                f"{file.name} is not in {file.parent} and cannot be downloaded ({reason}): "
                f"put {url} (MD5 {md5}) there"
            ) from reason
        note = _synthetic_note(info["python_class"], flag, file, url, md5, reason)
        return replace(synthetic.load(size, max_resident_gb=max_resident_gb), notes=(note,))
    name = info["python_class"] + ("" if size == 28 else f" {size} px")
    classes = tuple(info["label"].values())
    arrays = npz.read_arrays(file, max_resident_gb)
    splits = checked_splits(name, classes, arrays, origin=str(file), task=task_of_set(flag))
    return replace(splits, medmnist_flag=flag)


def fetch(url: str, md5: str, file: Path) -> None:
    """Download `url` to `file` unless it is there with the right MD5.

    Two processes at once download once. Raises UserError for a file with another MD5 and
    UnavailableError if the download fails; neither changes `file`.
    """
    if not file.exists():
        _download(url, md5, file)
    elif (found := pooch.file_hash(str(file), alg="md5")) != md5:
        raise UserError(
            f"{file} has MD5 {found}, expected {md5}: delete it to download it again, "
            f"or train on it as it is with dataset=npz dataset.path={file}"
        )


def _download(url: str, md5: str, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_name(f".{file.name}.lock")):
            if file.exists():  # another process was faster
                return fetch(url, md5, file)
            pooch.get_logger().setLevel("WARNING")
            downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
            pooch.retrieve(
                url,
                known_hash=f"md5:{md5}",
                fname=file.name,
                path=file.parent,
                downloader=downloader,
            )
    except (requests.RequestException, ValueError) as error:  # a wrong MD5 is a ValueError
        raise UnavailableError(_why(error, url)) from error
    except OSError as error:
        raise UserError(
            f"{file} cannot be written ({error.strerror}): "
            "give a folder to keep the data in, dataset.root=DIR"
        ) from error


def _why(error: Exception, url: str) -> str:
    host = urlsplit(url).hostname
    if isinstance(error, requests.HTTPError):
        return f"{host} answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"no answer from {host} within {TIMEOUT} s"
    if isinstance(error, requests.ConnectionError):
        return f"no connection to {host}"
    if isinstance(error, requests.RequestException):
        return f"the connection to {host} broke"
    return f"the file from {host} has another MD5"


def _synthetic_note(
    name: str, flag: str, file: Path, url: str, md5: str, reason: Exception
) -> Note:
    return Note(
        f"{name} is not available: {reason}.\n"
        f"This run trains on synthetic lesions instead: its numbers say nothing about {name}.\n\n"
        f"For the real data, download:\n  {url}\n"
        f"with this MD5:\n  {md5}\n"
        f"as this file:\n  {file.resolve()}\n\n"
        "For a file that you have already:\n"
        f"  dataset=npz dataset.path=FILE dataset.classes={flag}\n\n"
        "To stop instead: dataset.if_unavailable=error",
        title="SYNTHETIC DATA",
    )
