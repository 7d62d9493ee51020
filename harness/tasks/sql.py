"""Run SQL that a model wrote, and compare its result with the gold query's.

    with_stock = Database("CREATE TABLE crates (id INTEGER, dock TEXT); INSERT INTO crates VALUES (1, 'N');")
    with_stock.run("SELECT dock FROM crates").rows        # (("N",),)
    with_stock.run("DROP TABLE crates").error             # 'DatabaseError: not authorized'

A query runs in a child process (sql_worker.py) on a read-only copy, with an authorizer that allows only reading, and
limits on time, rows, memory and file size; each `Database` is built anew from its script, never shared.
"""

from __future__ import annotations

import json
import re
import selectors
import sqlite3
import subprocess
import sys
import tempfile
import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import UserError

SECONDS = 2.0
ROWS = 1000
_GRACE = 1.0  # seconds after the time limit until a child that has not stopped the query is killed
_CHILD = Path(__file__).with_name("sql_worker.py")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_INNERMOST = re.compile(r"\([^()]*\)")
_ORDER_BY = re.compile(r"\border\s+by\b", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """The rows that a query returned, or why there are none."""

    rows: tuple[tuple[Any, ...], ...] | None
    error: str | None = None


class Database:
    """A database built from an SQL script, and a child process that runs queries on it."""

    def __init__(self, script: str, name: str = "database", seconds: float = SECONDS, most_rows: int = ROWS) -> None:
        self._seconds, self._most_rows = seconds, most_rows
        self._folder = tempfile.TemporaryDirectory(prefix="harness-sql-")
        self._path = Path(self._folder.name) / "database.sqlite"
        with sqlite3.connect(self._path) as connection:
            try:
                connection.executescript(script)
            except sqlite3.Error as cause:
                raise UserError(f"{name}: SQLite rejects this script: {cause}") from cause
        connection.close()
        self._reversed = _reversed_copy(self._path)
        for path in (self._path, self._reversed):
            path.chmod(0o400)
        self._child: subprocess.Popen[str] | None = None

    def run(self, query: str, *, reverse: bool = False) -> Outcome:
        """The query's rows; with `reverse`, from a copy whose tables have their rows in reverse order."""
        child = self._ready_child()
        request = {"query": query, "reversed": reverse, "seconds": self._seconds, "rows": self._most_rows}
        try:
            child.stdin.write(json.dumps(request) + "\n")  # type: ignore[union-attr]
            child.stdin.flush()  # type: ignore[union-attr]
            line = _line(child, self._seconds + _GRACE)
        except BrokenPipeError:
            line = ""
        if not line:
            late = child.poll() is None
            self.close()
            return Outcome(None, f"stopped after {self._seconds:g} s" if late else "the child process died")
        answer = json.loads(line)
        rows = answer.get("rows")
        return Outcome(None if rows is None else tuple(map(tuple, rows)), answer.get("error"))

    def close(self) -> None:
        """Stop the child; the next query starts another."""
        if self._child:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _ready_child(self) -> subprocess.Popen[str]:
        if self._child is None or self._child.poll() is not None:
            command = [sys.executable, "-I", str(_CHILD), str(self._path), str(self._reversed)]
            pipe = subprocess.PIPE
            self._child = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env={}
            )
            weakref.finalize(self, self._child.kill)
        return self._child


def _reversed_copy(path: Path) -> Path:
    """A copy of a database with every table's rows in reverse order: reveals an order that a query leaves undefined."""
    copy = path.with_name("reversed.sqlite")
    with sqlite3.connect(copy) as connection:
        connection.execute("ATTACH ? AS source", (str(path),))
        objects = connection.execute(
            "SELECT type, name, sql FROM source.sqlite_master WHERE name NOT LIKE 'sqlite_%'"
        ).fetchall()
        for _, name, _ in (row for row in objects if row[0] == "table"):
            quoted = '"' + name.replace('"', '""') + '"'
            connection.execute(f"CREATE TABLE {quoted} AS SELECT * FROM source.{quoted} ORDER BY rowid DESC")
        for _, _, sql in (row for row in objects if row[0] == "view"):
            connection.execute(sql)
    connection.close()
    return copy


def same_result(databases: Sequence[Database], query: str, gold: str) -> bool:
    """Whether a query returns the gold query's rows on every database (test-suite accuracy, Zhong et al. 2020).

    Rows compare as a multiset, or in order if the gold query orders them and leaves no ties; columns in their order.
    """
    return all(_same(database, query, gold) for database in databases)


def leaves_ties(database: Database, query: str) -> bool:
    """Whether the rows, or their order if the query has an ORDER BY, depend on the order of the tables' rows."""
    forward, backward = database.run(query), database.run(query, reverse=True)
    if forward.rows is None or backward.rows is None:
        return False
    if _ordered(query):
        return _normal(forward.rows) != _normal(backward.rows)
    return Counter(_normal(forward.rows)) != Counter(_normal(backward.rows))


def _same(database: Database, query: str, gold: str) -> bool:
    rows, gold_rows = database.run(query).rows, database.run(gold).rows
    if rows is None or gold_rows is None:
        return False
    if _ordered(gold) and not leaves_ties(database, gold):
        return _normal(rows) == _normal(gold_rows)
    return Counter(_normal(rows)) == Counter(_normal(gold_rows))


def _ordered(query: str) -> bool:
    """Whether the outermost SELECT has an ORDER BY."""
    text = _QUOTED.sub("''", query)
    while (shorter := _INNERMOST.sub(" ", text)) != text:
        text = shorter
    return bool(_ORDER_BY.search(text))


def _normal(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Rows with rounded numbers, so that 2 equals 2.0 and sums may differ in their last digits."""
    return [tuple(round(float(v), 6) if isinstance(v, int | float) else v for v in row) for row in rows]


def _line(child: subprocess.Popen[str], seconds: float) -> str:
    """The child's next line; empty if none comes in time or the child has died."""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
        return child.stdout.readline() if selector.select(seconds) else ""  # type: ignore[union-attr]
