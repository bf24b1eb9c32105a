"""Brings a database to the schema of this version: roles first, then the numbered migrations in `migrations/`."""

import contextlib
import hmac
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import conninfo, sql

from .database import DatabaseKeys
from .problems import Problem

VECTORS = (0, 8)  # of pgvector: what looks on behind a filter came with it
HEAD = "0001"
_LOCK = 0x62756964  # serialises several servers that start on one database


@dataclass(frozen=True)
class Migrated:
    """What the server needs after migrating: the restricted role's access, and the engine's."""

    keys: DatabaseKeys
    engine_url: str


def migrations_dir() -> Path:
    """The folder of migrations: beside the sources in a checkout, inside the package in a wheel."""
    packaged = Path(str(resources.files("builderos"))) / "_migrations"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "migrations"


def role_password(secret: bytes, role: str) -> str:
    """The same on every machine that shares the secret key, so that nobody has to distribute it."""
    return hmac.digest(secret, b"role:" + role.encode(), "sha256").hex()


def migrate(admin: str, secret: bytes) -> Migrated:
    """Create roles and schema as the administrative connection `admin` (URL or conninfo); safe to repeat and to
    race.
    """
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute("select pg_advisory_lock(%s)", (_LOCK,))
        if _version(conn) != HEAD:
            _roles(conn, secret)
            _vectors(conn)
            _upgrade(admin)
        row = conn.execute("select k from priv.unit_key").fetchone()
        assert row is not None
        return Migrated(
            DatabaseKeys(_url(admin, "bos_app", secret), bytes(row[0])), _url(admin, "bos_engine", secret)
        )


def _version(conn: psycopg.Connection[Any]) -> str | None:
    if conn.execute("select to_regclass('priv.schema_version')").fetchone() == (None,):
        return None
    row = conn.execute("select version_num from priv.schema_version").fetchone()
    return row[0] if row else None


def _roles(conn: psycopg.Connection[Any], secret: bytes) -> None:
    """Roles belong to the whole cluster: another database of it may have made them already.

    Raises `unavailable` where the administrator of an external PostgreSQL may not make them.
    """
    wanted = {
        "bos_owner": "nologin",
        "bos_definer": "nologin bypassrls",
        "bos_app": "login nosuperuser nobypassrls noinherit",
        "bos_engine": "login nosuperuser nobypassrls",
    }
    for role, options in wanted.items():
        try:
            _role(conn, role, options, role_password(secret, role))
        except psycopg.errors.InsufficientPrivilege as error:
            raise Problem(
                "unavailable", f"this PostgreSQL does not let its administrator make the role {role}",
                hint="Connect as a role that has CREATEROLE and BYPASSRLS and, where another one made the role, "
                "ADMIN OPTION on it.",
            ) from error  # fmt: skip
    database = sql.Identifier(conn.info.dbname)
    conn.execute("create schema if not exists priv")
    conn.execute("revoke all on schema public from public")
    conn.execute("create schema if not exists dbos authorization bos_engine")
    conn.execute(sql.SQL("grant create on database {} to bos_engine").format(database))


def _role(conn: psycopg.Connection[Any], role: str, options: str, password: str) -> None:
    """Make a role, or mend what differs: who is no superuser may not even say NOSUPERUSER of one that is there."""
    found = conn.execute(
        "select array[case when rolsuper then 'superuser' else 'nosuperuser' end, "
        "case when rolbypassrls then 'bypassrls' else 'nobypassrls' end, "
        "case when rolinherit then 'inherit' else 'noinherit' end, "
        "case when rolcanlogin then 'login' else 'nologin' end] from pg_catalog.pg_roles where rolname = %s",
        (role,),
    ).fetchone()
    said = [option for option in options.split() if found is None or option not in found[0]]
    if " login" in f" {options}":
        said.append("password {password}")
    verb = "create" if found is None else "alter"
    statement = sql.SQL(f"{verb} role {{role}} {' '.join(said)}")  # pyright: ignore[reportArgumentType]
    if said:
        # Another database of this cluster may be migrated at this moment, and make the same role.
        racing = (
            psycopg.errors.DuplicateObject,
            psycopg.errors.UniqueViolation,
            psycopg.errors.InternalError_,
        )
        with contextlib.suppress(*racing):
            conn.execute(statement.format(role=sql.Identifier(role), password=sql.Literal(password)))
    mine = conn.execute("select pg_catalog.pg_has_role(%s, 'usage')", (role,)).fetchone()
    if mine != (True,):  # a superuser is in all of them
        conn.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(role)))


def _vectors(conn: psycopg.Connection[Any]) -> None:
    """The extension for vectors, in a schema of its own or where it lies already.

    Raises `unavailable` where this PostgreSQL does not have it (docs/decisions/0013).
    """
    at = "select n.nspname, e.extversion from pg_extension e join pg_namespace n on n.oid = e.extnamespace "
    mine = sql.SQL(at + "where e.extname = 'vector'")
    found = conn.execute(mine).fetchone()
    if found is None:
        try:
            conn.execute("create schema if not exists vectors")
            conn.execute("create extension vector schema vectors")
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
            raise _no_vectors("does not have the extension pgvector") from error
        except psycopg.errors.InsufficientPrivilege as error:
            raise _no_vectors("does not let this role create the extension pgvector") from error
        found = conn.execute(mine).fetchone()
        assert found is not None
    schema, version = found
    if tuple(int(part) for part in str(version).split(".")[:2]) < VECTORS:
        raise _no_vectors(f"has pgvector {version}")
    for role in ("bos_owner", "bos_definer", "bos_app"):
        conn.execute(
            sql.SQL("grant usage on schema {} to {}").format(sql.Identifier(schema), sql.Identifier(role))
        )


def _no_vectors(what: str) -> Problem:
    least = ".".join(map(str, VECTORS))
    return Problem(
        "unavailable", f"this PostgreSQL {what}",
        hint=f"Install pgvector {least} or later there (`create extension vector` as an administrator), or leave "
        "BUILDEROS_DATABASE_URL unset: the bundled PostgreSQL has it.",
    )  # fmt: skip


def _upgrade(admin: str) -> None:
    from alembic import command
    from alembic.config import Config

    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(admin))
    config = Config()
    config.set_main_option("script_location", str(migrations_dir()))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def _url(admin: str, role: str, secret: bytes) -> str:
    parts: dict[str, Any] = conninfo.conninfo_to_dict(admin)
    parts.pop("options", None)
    query = {k: str(v) for k, v in parts.items() if k not in {"user", "password", "dbname"}}
    url = sa.URL.create(
        "postgresql+psycopg",
        role,
        role_password(secret, role),
        database=parts.get("dbname", "postgres"),
        query=query,
    )
    return url.render_as_string(hide_password=False)
