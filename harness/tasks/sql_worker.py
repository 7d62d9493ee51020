"""The process that runs SQL a model wrote. sql.py starts it with two databases, the second with its rows reversed.

Imports only the standard library. Reads one JSON line a query, {"query": ..., "reversed": false, "seconds": 2.0,
"rows": 1000}, and answers with one line: {"rows": [[...], ...]} or {"error": "..."}.
"""

import contextlib
import json
import resource
import signal
import sqlite3
import sys
import time

ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
FORBIDDEN_FUNCTIONS = {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "randomblob", "zeroblob"}
MEMORY = 512 * 2**20
LONGEST_VALUE = 10**6
LONGEST_QUERY = 10**5
STEPS = 1000  # of SQLite's virtual machine between two checks of the deadline


def main(path: str, reversed_path: str) -> None:
    confine()
    forward, backward = connect(path), connect(reversed_path)
    for line in sys.stdin:
        request = json.loads(line)
        connection = backward if request["reversed"] else forward
        answer = run(connection, request["query"], request["seconds"], request["rows"])
        print(json.dumps(answer), flush=True)


def confine() -> None:
    """Forbid writing files and limit memory, in case the authorizer misses something."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for limit, value in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(limit, (value, value))


def connect(path: str) -> sqlite3.Connection:
    """A read-only connection without schema functions, with an authorizer and limits."""
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, LONGEST_QUERY)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_authorizer(authorize)
    return connection


def authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    if action in ALLOWED:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() not in FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def run(connection: sqlite3.Connection, query: str, seconds: float, most: int) -> dict[str, object]:
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
    try:
        rows = connection.execute(query).fetchmany(most + 1)
    except (sqlite3.Error, sqlite3.Warning, ValueError, MemoryError, OverflowError) as cause:
        late = time.monotonic() > deadline
        return {"error": f"stopped after {seconds:g} s" if late else f"{type(cause).__name__}: {cause}"}
    if len(rows) > most:
        return {"error": f"more than {most} rows"}
    return {"rows": [[value.hex() if isinstance(value, bytes) else value for value in row] for row in rows]}


if __name__ == "__main__":
    main(*sys.argv[1:])
