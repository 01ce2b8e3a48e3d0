"""The command line: each bad input in one line, quickly and with nothing lost."""

from __future__ import annotations

import itertools
import json
import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import NO_FIGURES
from hydra import compose, initialize_config_dir

import dermaexp
from dermaexp.core.errors import UserError
from dermaexp.core.given_once import check_keys
from dermaexp.core.overrides import as_typed
from dermaexp.data import load
from dermaexp.launch import flags
from dermaexp.launch.command import execute, isolated
from dermaexp.launch.explain import explain

Cli = Callable[..., int]
PROJECT = Path(__file__).resolve().parents[2]


BAD_INPUT = [  # arguments, a key part of the line
    (["batch_sizee=3"], "the key batch_sizee is unknown: did you mean 'batch_size'?"),
    (["lr=0.1"], "the key lr is unknown: give optimizer.lr=VALUE"),
    (["optimizer.lrr=3"], "the key optimizer.lrr is unknown: did you mean 'optimizer.lr'?"),
    (["model.hiden=[3]"], "the key model.hiden is unknown: did you mean 'model.hidden'?"),
    (
        ["dataset.path=x.npz"],
        "dataset.path is unknown: it is a key of dataset=folder, ham10000, npz",
    ),
    (["model=ffn", "model.channels=[3]"], "channels is unknown: it is a key of model=cnn"),
    (["callbacks.montge=null"], "unknown: did you mean 'callbacks.montage'?"),
    (["zzz=1"], "the key zzz is unknown: expected one of: "),
    (["+foo=1"], "the key foo is used by nothing: expected one of: name, seed, "),
    (["+epoch=1"], "the key epoch is used by nothing: did you mean 'epochs'?"),
    (["optimizer.LR=3"], "the key optimizer.LR is unknown: did you mean 'optimizer.lr'?"),
    (["model=cnnn"], "model=cnnn is unknown: did you mean 'cnn'?"),
    (["~model._target_"], "model._target_ is missing: expected the path of a class or function"),
    (["~dataset._target_"], "dataset._target_ is missing: expected the path of a class"),
    (["modle=cnn"], "the key modle is unknown: did you mean 'model'?"),
    (["callbacks=[default,foo]"], "callbacks=foo is unknown: expected one of: best"),
    (["-m", "model=cnn,fnn"], "model=fnn is unknown: did you mean 'ffn'?"),
    (["cnn"], "'cnn' is not an override: expected KEY=VALUE, such as model=cnn"),
    (["x=[1"], "'x=[1' cannot be read as an override"),
    (["name=run (1)"], "'name=run (1)' cannot be read as an override"),
    (["name=run(1)"], "'name=run(1)' cannot be read as an override (Unknown function 'run'"),
    (["--multrun"], "the flag --multrun is unknown: did you mean '--multirun'?"),
    (["--model", "cnn"], "the flag --model is unknown: give model=cnn"),
    (["--modle=cnn"], "the flag --modle=cnn is unknown: give model=cnn"),
    (["--Seed", "3"], "the flag --Seed is unknown: give seed=3"),
    (["-model", "cnn"], "the flag -model is unknown: give model=cnn"),
    (["--config-path", "/tmp"], "--config-path is not supported: give --config-dir DIR"),
    (["name=a "], "'name=a ' has blanks at an end of its value: type 'name=\"a \"'"),
    (["--batch-size=3"], "the flag --batch-size=3 is unknown: give batch_size=3"),
    (["--dataset.path", "/a b"], "give 'dataset.path=/a b'"),
    (["epochs=3", "seed=1", "epochs=5"], "epochs is given twice, epochs=3 and epochs=5: give it"),
    (["+trainer.x=1", "++trainer.x=2"], "trainer.x is given twice, +trainer.x=1 and ++trainer.x"),
    (["model=cnn", "model=ffn"], "model is given twice, model=cnn and model=ffn: give it once"),
    (["replicas=2", "seed=0", "seed=4"], "seed is given twice, seed=0 and seed=4: give it once"),
    (
        ["-m", "seed=0", "seed=1"],
        "seed=0 and seed=1: give it once, with commas between the values of a sweep",
    ),
    (
        ["dataset=shards", "dataset.url=/a/b0.tar", "dataset.url=/a/b1.tar"],
        "dataset.url is given twice, dataset.url=/a/b0.tar and dataset.url=/a/b1.tar: give it "
        "once, in quotes if the shell expanded braces",
    ),
    (
        ["--config-dir", "a", "--config-dir=b"],
        "error: --config-dir is given twice, a and b: give it once",
    ),
    (["learning_rate=0.1"], "the key learning_rate is unknown: give optimizer.lr=VALUE"),
    (["device=cuda"], "the key device is unknown: give trainer=cpu or trainer=gpu"),
    (["num_epochs=3"], "the key num_epochs is unknown: give epochs=N"),
    (["--lr", "0.1"], "the flag --lr is unknown: give optimizer.lr=VALUE"),
    (["--num-epochs=3"], "the flag --num-epochs=3 is unknown: give epochs=N"),
    (["train", "model=cnn"], "there is no verb train: python -m dermaexp model=cnn trains"),
    (["-cn", "foo"], "--config-name foo is unknown: expected one of: config"),
    (["model=CNN"], "model=CNN is unknown: did you mean 'cnn'?"),
    (["Batch_Size=3"], "the key Batch_Size is unknown: did you mean 'batch_size'?"),
    (["--cfg", "jbo"], "argument --cfg/-c: invalid choice: 'jbo'"),
    (["--config-dir", "/nowhere"], "directory '/nowhere' not found"),
    (["batch_size=0"], "batch_size=0: expected a whole number from 1"),
    (["batch_size=many"], "batch_size=many: expected a whole number from 1"),
    (["epochs=-1"], "epochs=-1: expected a whole number from 1"),
    (["epochs=1.5"], "epochs=1.5: expected a whole number from 1"),
    (["epochs=true"], "epochs=true: expected a whole number from 1"),
    (["seed=-1"], "seed=-1: expected a whole number from 0 to 4294967295"),
    (["optimizer.lr=0"], "optimizer.lr=0: expected a number above 0"),
    (["optimizer.weight_decay=-1"], "optimizer.weight_decay=-1: expected a number from 0"),
    (["checkpoint.test_with=first"], "checkpoint.test_with=first: expected best or last"),
    (["calibrate=maybe"], "calibrate=maybe: expected true or false"),
    (["dataset.grayscale=maybe"], "dataset.grayscale=maybe: expected true or false"),
    (["dataset=npz"], "dataset.path is missing: give it on the command line"),
    (["dataset=npz", "dataset.path=null"], "dataset.path=null: expected the path of"),
    (["dataset=npz", "dataset.path=/no.npz"], "/no.npz is not a file: expected an npz"),
    (["dataset=folder", "dataset.path=/nowhere"], "/nowhere is not a folder: expected"),
    (["dataset=medmnist"], "dataset.flag is missing: give it on the command line"),
    (["dataset=synthetic", "dataset.size=4"], "expected a whole number of pixels from 8"),
    (["dataset=synthetic", "dataset.seed=-1"], "dataset.seed=-1: expected a whole number"),
    (['name=""'], "name=: expected some text"),
    (["name=null"], "name=null: expected some text"),
    (["~model"], "the config group model is missing: expected model=OPTION, not ~model"),
    (["~callbacks"], "the config group callbacks is missing: expected callbacks=OPTION"),
    (["callbacks=null"], "expected one of its options by name, such as callbacks=none"),
    (["+trainer.fast_dev_run=true"], "trainer.fast_dev_run is not supported: give trainer="),
    (["dataset=medmnist", "dataset.flag=bloodmist"], "did you mean 'bloodmnist'?"),
    (["callbacks=none"], "needs callbacks.best_checkpoint, which is switched off"),
    (
        ["callbacks=[default,early_stopping]", "callbacks.early_stopping.monitor=val_loss"],
        "monitor=val_loss with mode=max stops a run that gets better",
    ),
    (
        ["callbacks=[default,ema]", "callbacks.ema.decay=abc"],
        "callbacks.ema.decay=abc: expected a number from 0 to 1",
    ),
    (["callbacks.ema.decay=0.9"], "callbacks.ema is unknown: give 'callbacks=[default,ema]'"),
    (["logger.mlflow.tracking_uri=x"], "logger.mlflow is unknown: give logger=mlflow too"),
    (["logger=tensorbord"], "logger=tensorbord is unknown: did you mean 'tensorboard'?"),
    (["+logger.csv=true"], "logger.csv=true: expected null, which switches it off, or keys"),
    (["+trainer.logger=true"], "trainer.logger is not supported: give the config group logger"),
    (["callbacks=[default,emma]"], "callbacks=emma is unknown: did you mean 'ema'?"),
    (["trainer.gradient_clip_val=-1"], "gradient_clip_val=-1: expected a number from 0"),
    (["+sampler.balanse=1"], "the key sampler.balanse is used by nothing"),
    (
        ["+checkpoint.test_wiht=last"],
        "used by nothing: did you mean 'checkpoint.test_with'?",
    ),
    (["checkpoint=last"], "checkpoint=last: expected keys such as test_with"),
    (["callbacks.montage=true"], "callbacks.montage=true: expected null, which switches it"),
    (["~seed"], "seed is missing: expected a whole number from 0 to 4294967295"),
    (
        ["test_time_augment=flip"],
        "test_time_augment=flip: expected none, dihedral or dihedral_zoom",
    ),
    (["sampler=balanced", "sampler.balance=2"], "sampler.balance=2: expected a number from 0"),
    (["compile=yes"], "compile=yes: expected true or false"),
    (["-m", "hydra.sweeper.max_batch_siz=1"], "unknown: did you mean 'max_batch_size'?"),
    (["-m", "hydra.launcher.n_jobs=2"], "n_jobs is unknown: hydra/launcher=joblib has it"),
    (["-m", "hydra.launcher.n=2"], "hydra.launcher.n is unknown: hydra.launcher takes none"),
    (
        ["-m", "hydra/launcher=submitit_local", "hydra.launcher.array_parallelism=2"],
        "submitit_slurm has it; for N jobs at once on this machine give hydra/launcher=joblib",
    ),
    (["loss=fokal"], "loss=fokal is unknown: did you mean 'focal'?"),
    (["experiment=quik"], "experiment=quik is unknown: did you mean 'quick'?"),
    (["callbacks.history=null"], "give callbacks.learning_curves=null too"),
    (["augment=light", "augment.rotation=999"], "augment.rotation=999: expected a number"),
    (["+augment.rotate=9"], "the key augment.rotate is used by nothing: did you mean 'augme"),
    (["model.activation=rleu"], "model.activation=rleu is unknown: did you mean 'relu'?"),
    (["model.channels=[8,0]"], "model.channels=[8, 0]: expected a list of whole numbers"),
    (["+model.chanels=[8]"], "the key model.chanels is used by nothing: did you mean 'model.c"),
    (["model=resnet18", "+model.width=9"], "model.width is used by nothing: did you mean"),
    (["dataset=synthetic", "dataset.size=28.5"], "dataset.size=28.5: expected a whole number"),
    (["dataset.size=32"], "dataset.size=32: expected 28, 64, 128 or 224"),
    (["+dataset.kfold=3"], "dataset.kfold is used by nothing: did you mean 'dataset.fold'?"),
    (["loss=focal", "loss.gamma=-1"], "loss.gamma=-1: expected a number from 0"),
    (["loss=weighted", "loss.weights=[0,0]"], "loss.weights=[0, 0]: expected numbers from 0"),
    (["scheduler=onecycle", "scheduler.warmup=2"], "scheduler.warmup=2: expected a number"),
    (
        ["scheduler=multistep", "scheduler.milestones=[a]"],
        "scheduler.milestones=['a']: expected fractions of the training, such as [0.5,0.75]",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [  # each takes a fifth of a second: every sixth is enough for make test-fast
        pytest.param(*case, marks=[pytest.mark.slow] if number % 6 else [])
        for number, case in enumerate(BAD_INPUT)
    ],
)
def test_bad_input_is_reported_in_one_line(
    arguments: list[str], line: str, cli: Cli, capsys: pytest.CaptureFixture
) -> None:
    assert cli(*arguments) == 1
    output = capsys.readouterr()
    assert output.err.startswith("error: ")
    assert line in output.err
    assert output.err.count("\n") == 1, output.err
    assert "Traceback" not in output.out + output.err


@pytest.mark.parametrize(
    "words",
    [
        ["epochs=3", "epochs=3"],
        ["-m", "--multirun"],
        ["~seed", "+seed=3"],
        ["epochs=3", "~epochs"],
        ["model=ffn", "model.hidden=[3]", "+model.x=1", "name=model"],
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
        ["++trainer={a: 1}", "++trainer={b: 2}"],
        ["+loss@a=focal", "+loss@b=weighted"],
    ],
)
def test_what_is_not_given_twice(words: list[str]) -> None:
    check_keys(words)
    flags.parsed(words)


def test_a_list_in_python_may_be_extended(capsys: pytest.CaptureFixture) -> None:
    with isolated():
        execute(["--cfg", "job", "epochs=3", "epochs=5"])
    assert "\nepochs: 5\n" in capsys.readouterr().out


def test_a_key_with_two_urls_shows_none(cli: Cli, capsys: pytest.CaptureFixture) -> None:
    urls = [f"dataset.url=https://me:secret@host/{number}.tar?key=secret" for number in (0, 1)]
    assert cli("dataset=shards", *urls) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: dataset.url is given twice, with two URLs: give it once, in")
    assert "secret" not in errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trainer=gpu"], "trainer cannot be built: MisconfigurationException: No supported gpu"),
        (
            ["optimizer=sgd", "optimizer.momentum=-1"],
            "optimizer cannot be built: Invalid momentum value",
        ),
        (
            ["scheduler=cosine", "scheduler._target_=torch.optim.lr_scheduler.StepLR"],
            "scheduler cannot be built: ",
        ),
        (["loss=weighted", "loss.weights=[1,2]"], "loss.weights=[1, 2]: expected 3 numbers from"),
        (["callbacks.misclassified.count=-1"], "callbacks.misclassified.count=-1: expected a"),
        (["callbacks.montage.columns=1.5"], "callbacks.montage.columns=1.5: expected a whole"),
        (
            [
                "model._target_=torch.nn.Flatten",
                "~model.channels",
                "~model.hidden",
                "~model.activation",
            ],
            "model cannot be built: ",
        ),
        (["dataset.classes=[a,a,b]"], "repeat a name: expected each once"),
        (["model.channels=[8,8,8,8]"], "4 blocks leave nothing of 12x12 images"),
        (["+trainer.max_epoch=3"], "trainer has no key max_epoch: did you mean 'max_epochs'?"),
        (["model._target_=dermaexp.models.resnet.ResNet"], "model cannot be built: "),
        (["model._target_=own.Net"], "No module named 'own'; python -m dermaexp finds modules in"),
        (["model._target_=__main__.Nil"], "__main__.Nil is not defined by the program that runs"),
        (["loss=weighted", "dataset.classes=[a,b,c,d]"], "weighs 'd', of which there is no train"),
        (["dataset.classes=[a,b]"], "label 2 is out of range, expected 0 to 1 (2 classes)"),
    ],
)
def test_bad_input_that_needs_the_data(
    arguments: list[str],
    line: str,
    cli: Cli,
    data_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    if "gpu" in arguments[0]:
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("there is a GPU here")
    assert cli("dataset=npz", f"dataset.path={data_file}", "hydra.run.dir=run", *arguments) == 1
    errors = capsys.readouterr().err
    assert line in errors
    assert errors.count("\n") == 1, errors
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["status"] == "failed"
    assert line in run["error"]
    assert "Traceback" in (tmp_path / "run" / "dermaexp.log").read_text()
    assert not (tmp_path / "run" / "metrics.json").exists()


TEXTS = [
    "/data/run=1/x.npz",
    "/a#b.npz",
    "/a b.npz",
    "~nobody.npz",
    "/a%b.npz",
    "/a,b.npz",
    "/a$b.npz",
    "/a${b}.npz",
    "/ä.npz",
    '/it\'s "mine".npz',
    "/a(1)[2]{3}.npz",
    "/a\\\\${b}\\.npz",
    "15",
]


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXTS)
def test_a_path_with_any_character(text: str, cli: Cli, capsys: pytest.CaptureFixture) -> None:
    """As it is, or as the answer says that it must be typed, it reaches the data source."""
    assert cli("dataset=npz", f"dataset.path={text}") == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    if " is not a file" not in errors:
        shown = errors.partition("type ")[2]
        (typed,) = shlex.split(shown)
        assert cli("dataset=npz", typed) == 1
        errors = capsys.readouterr().err
    assert f"error: {text} is not a file: expected an npz" in errors
    (typed,) = shlex.split(as_typed("name", text))
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        assert str(compose("config", [typed]).name) == text


@pytest.mark.slow
def test_a_typo_leaves_no_folder(cli: Cli, tmp_path: Path) -> None:
    assert cli("batch_sizee=3") == 1
    assert cli("-m", "model=cnn,fnn") == 1
    assert not list(tmp_path.glob("outputs/*/*"))
    assert not list(tmp_path.glob("multirun/*/*"))


def run_module(
    *arguments: str, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "shown"),
    [
        (["--help"], 0, "dataset: dermamnist, folder, ham10000, ham10000_pixels, medmnist, npz"),
        (["--cfg", "job"], 0, "batch_size: 64"),
        (["optimizer.lrr=1"], 1, "did you mean 'optimizer.lr'?"),
        (["batch_size=0"], 1, "batch_size=0: expected a whole number from 1"),
        (["dataset=npz", "dataset.path=no.npz"], 1, "no.npz is not a file"),
        (["dataset=medmnist", "dataset.flag=x"], 1, "dataset.flag=x is unknown"),
    ],
)
def test_answers_without_torch(arguments: list[str], code: int, shown: str, tmp_path: Path) -> None:
    """Run for real; torch and SciPy, made unimportable, must not be missed."""
    for package in ("torch", "scipy"):
        (tmp_path / f"{package}.py").write_text(f"raise ImportError('{package} was imported')")
    answer = run_module(
        "-m", "dermaexp", *arguments, folder=tmp_path, PYTHONPATH=f"{tmp_path}:{PROJECT}"
    )
    assert answer.returncode == code, answer.stderr
    assert shown in answer.stdout + answer.stderr
    assert "was imported" not in answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.mark.parametrize(
    ("words", "unused"), [(["--cfg", "job"], ("numpy", "pydantic")), (["--help"], ("numpy",))]
)
def test_answers_without_numpy_and_pydantic(
    tmp_path: Path, words: list[str], unused: tuple[str, ...]
) -> None:
    """Loading each takes a fifth of the time that this may take."""
    for package in unused:
        (tmp_path / f"{package}.py").write_text(f"raise ImportError('{package} was imported')")
    path = f"{tmp_path}:{PROJECT}"
    answer = run_module("-m", "dermaexp", *words, folder=tmp_path, PYTHONPATH=path)
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("option", ["disabled", "none", "default", "stdout"])
def test_any_logging_of_hydras(option: str, cli: Cli, data_file: Path, tmp_path: Path) -> None:
    data = ["dataset=npz", f"dataset.path={data_file}", *NO_FIGURES]
    assert cli(*data, "trainer=debug", f"hydra/job_logging={option}", "hydra.run.dir=run") == 0
    assert (tmp_path / "run" / "dermaexp.log").exists() == (option == "default")


@pytest.mark.slow
def test_relative_paths_start_where_the_command_is_given(
    cli: Cli, data_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the job changes to its own folder, where what a model writes then lands."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "touching.py").write_text(
        "import pathlib, torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self, image_shape, classes, file):\n"
        "        super().__init__(image_shape[1] ** 2, classes)\n"
        "        assert pathlib.Path(file).is_file()\n"
        "    def forward(self, images):\n"
        "        if self.training and torch.is_grad_enabled():\n"
        "            pathlib.Path('trace').touch()\n"
        "        return super().forward(images.flatten(1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    net = ["model=ffn", "~model.hidden", "~model.activation", "model._target_=touching.Net"]
    options = [*net, "+model.file=../small.npz", "dataset=npz", f"dataset.path=../{data_file.name}"]
    options += ["trainer=debug", *NO_FIGURES, "hydra.job.chdir=true"]
    assert cli(*options, "hydra.run.dir=run") == 0
    assert (tmp_path / "here" / "run" / "trace").exists()
    assert not (tmp_path / "here" / "trace").exists()
    monkeypatch.chdir(tmp_path)
    record = tmp_path / "here" / "run" / "run.json"
    record.write_text(record.read_text().replace('"finished"', '"failed"', 1))
    assert cli("resume=here/run") == 0, "from any folder"


def test_flags_may_stand_between_overrides(cli: Cli, capsys: pytest.CaptureFixture) -> None:
    assert cli("model=ffn", "--cfg", "job", "seed=3") == 0
    shown = capsys.readouterr().out
    assert "seed: 3" in shown and "FFN" in shown


@pytest.mark.slow
def test_a_bare_flag_takes_no_override(cli: Cli, capsys: pytest.CaptureFixture) -> None:
    assert cli("model=ffn", "--info", "config") == 0
    assert "FFN" in capsys.readouterr().out
    assert cli("model=ffn", "--info") == 0
    assert "FFN" in capsys.readouterr().out


@pytest.mark.slow
def test_epochs_that_have_no_effect(cli: Cli, data_file: Path, capsys) -> None:
    data = ["dataset=npz", f"dataset.path={data_file}", "model=ffn", *NO_FIGURES]
    assert cli(*data, "trainer=debug", "epochs=5", "hydra.run.dir=run") == 0
    assert "epochs=5 has no effect: trainer.max_epochs is 2" in capsys.readouterr().err


def test_version_is_ours(cli: Cli, capsys: pytest.CaptureFixture) -> None:
    assert cli("--version") == 0
    assert capsys.readouterr().out == f"dermaexp {dermaexp.__version__}\n"


@pytest.mark.slow
def test_full_error_shows_the_traceback(tmp_path: Path) -> None:
    answer = run_module("-m", "dermaexp", "epochs=0", folder=tmp_path, HYDRA_FULL_ERROR="1")
    assert answer.returncode == 1
    assert "Traceback" in answer.stderr
    assert "UserError: epochs=0" in answer.stderr


def test_every_yaml_says_what_it_is_and_its_command() -> None:
    files = sorted((PROJECT / "conf").rglob("*.yaml"))
    assert len(files) > 25
    for file in files:
        lines = file.read_text().splitlines()
        first = lines[lines[0].startswith("# @package")]  # which Hydra wants above all
        assert first.startswith("# ") and "python -m dermaexp" in first, file


@pytest.mark.slow
def test_every_option_composes(cli: Cli, capsys: pytest.CaptureFixture) -> None:
    """One of each config group at a time, but experiments alone: they choose options."""
    groups: dict[str, list[str]] = {}
    for file in sorted((PROJECT / "conf").glob("*/*.yaml")):
        groups.setdefault(file.parent.name, []).append(f"{file.parent.name}={file.stem}")
    alone = [[experiment] for experiment in groups.pop("experiment")]
    together = itertools.zip_longest(*groups.values())
    for options in (*alone, *(list(filter(None, several)) for several in together)):
        assert cli("--cfg", "job", *options) == 0, options
    assert capsys.readouterr().err == ""


def test_a_line_of_ours_comes_before_the_systems() -> None:
    error = UserError("the address does not answer: give weights=null")
    error.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    assert explain(error) == "the address does not answer: give weights=null"


def test_the_loggers_of_other_code_stay_on(cli: Cli, tmp_path: Path) -> None:
    """Hydra's own way of silence switches off every logger of the process."""
    logger = logging.getLogger("of.other.code")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "metrics.json").touch()
    assert cli("model=ffn", "hydra.run.dir=there") == 1
    assert not logger.disabled


def test_a_command_in_a_notebook_keeps_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one would train on files as they were before."""
    monkeypatch.setattr(load, "_kept", {"source": None})
    with isolated():
        pass
    assert load._kept == {}
