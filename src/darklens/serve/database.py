"""The database of the vetting room: SQLite in a file of its own, or PostgreSQL for teams; one schema for both.

    vetting_rooms       one row a list of images that is vetted
    vetting_decisions   everything that anybody ever said, in the order in which it came; nothing is ever changed or removed.
                        `key` is made by the browser, once for each decision, and unique in a room: what is sent twice is kept once
    vetting_votes       the last word of each person on each image, one row each, with its key; null where they took it back
    vetting_leases      which images are in somebody's hands, until when

Who changes a room first takes its lock (`writing`), so that two requests, two servers, or a server that died and the one that
follows it, do one after the other. What is acknowledged was committed and synced to the disk before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    select,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from darklens.errors import DarklensError, InputError, WorkError

SCHEMA = MetaData()
_Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up by itself in an INTEGER only

ROOMS = Table(
    "vetting_rooms", SCHEMA,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
)  # fmt: skip
DECISIONS = Table(
    "vetting_decisions", SCHEMA,
    Column("number", _Number, primary_key=True, autoincrement=True),
    Column("room", ForeignKey(ROOMS.c.id), nullable=False),
    Column("key", String(64), nullable=False),
    Column("candidate", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("decision", Text),
    Column("decided", String(32), nullable=False),
    UniqueConstraint("room", "key"),
)  # fmt: skip
VOTES = Table(
    "vetting_votes", SCHEMA,
    Column("room", ForeignKey(ROOMS.c.id), primary_key=True),
    Column("candidate", Text, primary_key=True),
    Column("who", Text, primary_key=True),
    Column("decision", Text),
    Column("decided", String(32), nullable=False),
    Column("key", String(64), nullable=False),
)  # fmt: skip
LEASES = Table(
    "vetting_leases", SCHEMA,
    Column("room", ForeignKey(ROOMS.c.id), primary_key=True),
    Column("candidate", Text, primary_key=True),
    Column("who", Text, primary_key=True),
    Column("until", Float, nullable=False),
)  # fmt: skip

WAIT = 30
"""Seconds that a transaction waits for another one to end."""
_LOCK = 0x6461726B  # of the making of tables, in PostgreSQL


class Unreachable(WorkError):
    """The database does not answer; nothing was recorded, and the same request can be sent again."""


def open_database(url: str | Path) -> Engine:
    """Open a database, and make the tables that it lacks.

    Args:
        url: a file for SQLite, or what SQLAlchemy takes: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.

    Raises:
        InputError: no such kind of database, a missing driver, or one that does not let us in.
    """
    where = _url(url)
    if where.get_backend_name() == "sqlite":
        engine = create_engine(where, connect_args={"timeout": WAIT, "isolation_level": None}, pool_size=8, max_overflow=32)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        try:
            engine = create_engine(
                where, connect_args={"connect_timeout": 10}, pool_size=8, max_overflow=32, pool_pre_ping=True, pool_timeout=WAIT
            )
        except ImportError as error:
            remedy = 'pip install "darklens[postgresql]"'
            raise InputError(f"--db {named(where)} needs {error.name}, which is not installed: {remedy}") from error
    try:
        _make_tables(engine)
    except SQLAlchemyError as error:
        why = _first_line(error)
        raise InputError(f"--db {named(where)} cannot be used ({why}): check address, name, password and rights") from error
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that changes nothing.

    Raises:
        Unreachable: the database does not answer.
    """
    with _said(engine), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine, room: int) -> Iterator[Connection]:
    """Open a transaction that alone changes a room; it is on the disk when this ends.

    Raises:
        Unreachable: the database does not answer, or its disk is full; nothing was changed.
    """
    with _said(engine), engine.connect().execution_options(darklens_writes=True) as connection, connection.begin():
        connection.execute(select(ROOMS.c.id).where(ROOMS.c.id == room).with_for_update())
        yield connection


def room_of(engine: Engine, name: str) -> int:
    """Return the number of the room of that name, which is made where it is not there."""
    for _ in range(2):  # somebody else may make it between our looking and our making
        with _said(engine), engine.connect().execution_options(darklens_writes=True) as connection:
            try:
                with connection.begin():
                    found = connection.scalar(select(ROOMS.c.id).where(ROOMS.c.name == name))
                    if found is None:
                        made = connection.execute(ROOMS.insert().values(name=name)).inserted_primary_key
                        assert made is not None, "one row is inserted"
                        found = made[0]
                    return found
            except IntegrityError:
                continue
    raise Unreachable(f"the room {name!r} could not be made: try again")


def named(url: URL) -> str:
    """Return the address of a database without its password."""
    return url.render_as_string(hide_password=True)


def _url(url: str | Path) -> URL:
    if isinstance(url, Path) or "://" not in url:
        return URL.create("sqlite+pysqlite", database=str(url))
    try:
        found = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise InputError(f"--db is no address of a database: write {_FORMS}") from error
    if found.get_backend_name() in ("postgresql", "postgres"):
        return found.set(drivername="postgresql+psycopg")
    if found.get_backend_name() == "sqlite" and found.database not in (None, "", ":memory:"):
        return found.set(drivername="sqlite+pysqlite")
    raise InputError(f"--db {named(found)} is no kind of database that can be used: write {_FORMS}")


_FORMS = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"


def _set_up_sqlite(connection: Any, record: object) -> None:
    """Readers do not wait for writers (WAL), and what is committed outlives a power cut (FULL)."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Take the lock at the beginning: a transaction that reads first and then writes could not get it any more."""
    writes = connection.get_execution_options().get("darklens_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _make_tables(engine: Engine) -> None:
    with engine.connect().execution_options(darklens_writes=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        SCHEMA.create_all(connection)


@contextmanager
def _said(engine: Engine) -> Iterator[None]:
    """Say in one sentence that a database does not answer."""
    try:
        yield
    except DarklensError:
        raise
    except (DBAPIError, PoolTimeout) as error:
        if isinstance(error, IntegrityError):
            raise
        raise Unreachable(f"the database does not answer ({_first_line(error)}): nothing was recorded, try again") from error


def _first_line(error: SQLAlchemyError) -> str:
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
