"""The database of a search: study.db in its folder, or one that several searches share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from optuna.exceptions import StorageInternalError
from sqlalchemy import URL, Engine, NullPool, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from dermaexp.core.errors import UserError, causes, first_line
from dermaexp.launch.search.password import VARIABLE, stripped

KEY = "hydra.sweeper.storage"
STUDY = "study.db"
STUDY_NAME = "search"  # of the only study in it
# Errors of a database, as SQLAlchemy and Optuna raise them.
ERRORS = (SQLAlchemyError, StorageInternalError)


@dataclass(frozen=True)
class Database:
    """Where a search's study `name` is; `label` is how messages call it."""

    engine: Engine
    name: str
    label: str
    shared: bool  # with other searches; else its folder is locked

    @property
    def url(self) -> str:
        return self.engine.url.render_as_string(hide_password=False)

    @property
    def has_password(self) -> bool:
        return self.engine.url.password is not None or "password" in self.engine.url.query

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other searches from changing any study meanwhile; a kill ends it, too."""
        if not self.shared:
            yield
        elif self.engine.name == "sqlite":
            with FileLock(f"{self.engine.url.database}.lock"):
                yield
        else:
            with self.engine.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('dermaexp'))"))
                yield

    @contextlib.contextmanager
    def errors_as_one_line(self) -> Iterator[None]:
        """Raise UserError for an error of the database, without its password."""
        try:
            yield
        except ERRORS as error:
            line = f"{self.label} cannot be opened ({first_line(next(causes(error)))}): "
            if not self.shared:
                line += "without it the same command starts the search anew and takes the scores "
                raise UserError(f"{line}of the runs that are there") from error
            if self.engine.name == "postgresql":
                line += f"check the URL, and the password in {VARIABLE} or ~/.pgpass; "
            raise UserError(f"{line}the same command resumes the search") from error


def own_database(folder: Path) -> Database:
    """study.db in the search's `folder`."""
    file = folder / STUDY
    url = URL.create("sqlite", database=str(file))
    return Database(create_engine(url, poolclass=NullPool), STUDY_NAME, str(file), shared=False)


def shared_database(given: str, name: str) -> Database:
    """The database at the URL `given`; UserError for one that cannot be used."""
    with contextlib.suppress(ArgumentError, ValueError):  # which quote parts of it
        url = make_url(given)
        shown = url.set(password=None, query={})
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        if _is_known(url):
            try:
                engine = create_engine(url, poolclass=NullPool)
            except ModuleNotFoundError as error:
                driver = "'dermaexp[postgresql]'" if error.name == "psycopg" else error.name
                raise UserError(
                    f"{KEY}={shown} needs {error.name}, which is not installed: pip install "
                    f"{driver}"
                ) from error
            return Database(engine, name, f"the study {name} of {shown}", shared=True)
    raise UserError(
        f"{KEY}={stripped(str(given))}: expected postgresql://USER@HOST/DATABASE or "
        "sqlite:///FILE, FILE in a folder that exists"
    )


def _is_known(url: URL) -> bool:
    """Whether it is of a server of PostgreSQL, or of a file that there can be."""
    if url.get_backend_name() != "sqlite":
        return url.get_backend_name() == "postgresql"
    file = url.database or ":memory:"
    return file != ":memory:" and Path(file).absolute().parent.is_dir()
