"""SQL that a model wrote: it can read, and nothing else."""

from __future__ import annotations

import hashlib

import pytest

from harness.errors import UserError
from harness.tasks import sql
from harness.tasks.sql import Database, leaves_ties, same_result

SCRIPT = """
CREATE TABLE crates (id INTEGER, dock TEXT, weight REAL);
INSERT INTO crates VALUES (1, 'N', 2.0), (2, 'S', 3.5), (3, 'N', 3.5), (4, 'W', 1.0);
"""


@pytest.fixture(scope="module")
def database() -> Database:
    return Database(SCRIPT, seconds=600, most_rows=100)  # no query that ends is stopped, however slow the machine is


def test_a_query_reads_rows(database: Database) -> None:
    assert database.run("SELECT dock, COUNT(*) FROM crates GROUP BY dock ORDER BY dock").rows == (
        ("N", 2),
        ("S", 1),
        ("W", 1),
    )


FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n"
CROSS = "SELECT COUNT(*) FROM " + ", ".join(f"crates AS c{i}" for i in range(20))
HUGE = "SELECT a.id FROM " + ", ".join(f"crates AS {name}" for name in "abcdef")


@pytest.mark.parametrize(
    "query",
    [
        "DROP TABLE crates",
        "DELETE FROM crates",
        "UPDATE crates SET dock = 'X'",
        "INSERT INTO crates VALUES (9, 'X', 1)",
        "CREATE TABLE more (id)",
        "ATTACH '/tmp/elsewhere.sqlite' AS other",
        "PRAGMA writable_schema = ON",
        "PRAGMA table_info(crates)",
        "VACUUM INTO '/tmp/elsewhere.sqlite'",
        "SELECT load_extension('x')",
        "SELECT 1; DROP TABLE crates",
        "SELECT zeroblob(1000000000)",
        "SELECT * FROM no_such_table",
        "not SQL at all",
        "",
        HUGE,
    ],
)
def test_everything_but_reading_is_refused_and_changes_nothing(database: Database, query: str) -> None:
    before = hashlib.sha256(database._path.read_bytes()).hexdigest()
    outcome = database.run(query)
    assert outcome.rows is None or outcome.rows == ()
    assert query == "" or outcome.error
    assert not same_result([database], query, "SELECT COUNT(*) FROM crates")
    assert hashlib.sha256(database._path.read_bytes()).hexdigest() == before
    assert database.run("SELECT COUNT(*) FROM crates").rows == ((4,),)  # and it answers still


@pytest.mark.parametrize("query", [FOREVER, CROSS])
def test_a_query_without_an_end_is_stopped(database: Database, query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert database.run("SELECT 1").rows == ((1,),)
    child = database._child
    monkeypatch.setattr(sql, "_GRACE", 600)  # so that the child stops it by itself
    with monkeypatch.context() as impatient:
        impatient.setattr(database, "_seconds", 0.2)
        assert database.run(query).error == "stopped after 0.2 s"
        assert not same_result([database], query, query)
    assert database.run("SELECT COUNT(*) FROM crates").rows == ((4,),)
    assert database._child is child


def test_a_child_that_does_not_stop_by_itself_is_killed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as impatient:
        impatient.setattr(sql, "_GRACE", -database._seconds)  # no time at all
        assert database.run(FOREVER).error == f"stopped after {database._seconds:g} s"
    assert database.run("SELECT 2").rows == ((2,),)


def test_a_child_that_is_killed_is_started_again(database: Database) -> None:
    assert database.run("SELECT 1").rows == ((1,),)
    child = database._child
    assert child is not None
    child.kill()
    child.wait()
    assert database.run("SELECT 2").rows == ((2,),)


def test_rows_compare_as_a_multiset_and_in_order_where_the_gold_query_orders(database: Database) -> None:
    assert same_result([database], "SELECT dock FROM crates ORDER BY dock DESC", "SELECT dock FROM crates")
    assert not same_result([database], "SELECT DISTINCT dock FROM crates", "SELECT dock FROM crates")
    ordered = "SELECT id FROM crates ORDER BY id DESC"
    assert not same_result([database], "SELECT id FROM crates ORDER BY id", ordered)
    assert same_result([database], "SELECT id FROM crates ORDER BY -id", ordered)


def test_numbers_compare_as_numbers(database: Database) -> None:
    assert same_result([database], "SELECT 2.0", "SELECT 2")
    assert same_result([database], "SELECT 0.1 + 0.2", "SELECT 0.3")
    assert not same_result([database], "SELECT '2'", "SELECT 2")


def test_ties_of_the_gold_query_may_come_in_any_order(database: Database) -> None:
    tied = "SELECT id FROM crates ORDER BY weight"
    assert leaves_ties(database, tied)
    assert same_result([database], "SELECT id FROM crates ORDER BY weight, id DESC", tied)
    assert not leaves_ties(database, "SELECT id FROM crates ORDER BY weight, id")
    assert not leaves_ties(database, "SELECT id FROM crates")
    assert leaves_ties(database, "SELECT id FROM crates ORDER BY weight DESC LIMIT 1")


def test_a_query_must_be_right_on_every_database(database: Database) -> None:
    other = Database(SCRIPT + "INSERT INTO crates VALUES (5, 'W', 9.0);")
    assert same_result([database], "SELECT 4", "SELECT COUNT(*) FROM crates")
    assert not same_result([database, other], "SELECT 4", "SELECT COUNT(*) FROM crates")


def test_a_script_that_is_not_sql_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match=r"warehouse\.sql: SQLite rejects this script"):
        Database("CREATE TABEL x", "warehouse.sql")
