"""Write the rows and the two databases of warehouse_sql: questions in a warehouse's own words, and their SQL.

Ottermere Sheds (invented) keeps other people's crates. It speaks in codes ('P' is parked) and in words of its own:
a live crate, the dwell of a crate, a late move (policy.md). A query is put together from house.yaml: what is asked,
and up to three terms that narrow the rows. One sentence pattern of a template family (phrases.yaml) says the same.
Families and the sentences around them are disjoint between the splits; the words of the house are shared.

A query is kept if its result on each database is neither empty nor long nor open to ties, and if forgetting a
condition, or misreading a definition, changes the result on one of them. No query occurs twice in the three splits.

One row:

    {"id": "train-0014", "question": "Please write the clients behind sleepers on the handover note.",
     "sql": "SELECT DISTINCT name FROM crates JOIN clients ON payer = clients.id WHERE moved IS NULL",
     "cluster": "hand_over", "template": "hand_over/2", "slice": "join", "words": ["sleeper"]}

`python tasks/warehouse_sql/generate.py` rewrites the rows and the databases, always to the same bytes.
"""

from __future__ import annotations

import itertools
import json
import random
import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

SEED = 2031
FOLDER = Path(__file__).parent
HOUSE: dict[str, Any] = yaml.safe_load((FOLDER / "house.yaml").read_text(encoding="utf-8"))
PHRASES: dict[str, Any] = yaml.safe_load((FOLDER / "phrases.yaml").read_text(encoding="utf-8"))
CONSTANTS = {**HOUSE["names"], **{name: range(*ends) for name, ends in HOUSE["numbers"].items()}}
WORDS = {name for name, term in HOUSE["terms"].items() if "{" not in str(term["sql"])}  # no constant to fill in
HELD_OUT = {frozenset(pair) for pair in HOUSE["held_out"]}
CODES = [itertools.permutations([f"{name} = {code}" for code in codes], 2) for name, codes in HOUSE["codes"].items()]
SLIPS = [*HOUSE["slips"], *itertools.chain(*CODES)]

SIZES = {"train": 600, "validation": 300, "test": 1000}
SHARES = {"fact": 3, "list": 2, "count": 2, "measure": 1, "by": 1, "top": 1}  # turns of a family, by what it asks
DATABASES = ("warehouse.sql", "warehouse_other.sql")
CLIENTS, CREWS, DOCKS, CRATES = 12, 6, 12, 120
MOST_ROWS, LONGEST_SQL, LONGEST_QUESTION = 49, 150, 36  # rows of a result, characters, words
FRESH_EVERY = 7  # of the test rows that could, every seventh pairs two words that training never pairs
PREAMBLE_SHARE, CLOSING_SHARE = 0.20, 0.15
VOICES = ("plain", "plain", "plain", "plain", "chat", "hasty")

Entry = dict[str, Any]
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Query:
    """One SELECT in its parts; joins are named as in house.yaml."""

    columns: str
    table: str
    joins: tuple[str, ...]
    where: tuple[str, ...]
    group: str
    order: str
    limit: int

    @property
    def sql(self) -> str:
        parts = [f"SELECT {self.columns} FROM {self.table}", *(HOUSE["joins"][join] for join in self.joins)]
        parts += [f"WHERE {' AND '.join(self.where)}"] if self.where else []
        parts += [f"GROUP BY {self.group}"] if self.group else []
        parts += [f"ORDER BY {self.order} LIMIT {self.limit}"] if self.order else []
        return " ".join(parts)

    def slips(self) -> list[str]:
        """What somebody might write by mistake: a condition forgotten, a definition or a join misread."""
        rest = [self.where[:i] + self.where[i + 1 :] for i in range(len(self.where))]
        misread = [self.sql.replace(*slip) for slip in SLIPS if slip[0] in self.sql]
        return [replace(self, where=where).sql for where in rest] + misread


@dataclass(frozen=True)
class Asked:
    """What a question means: its query, what fills the slots of a pattern, and the words of the house in it."""

    query: Query
    slots: dict[str, str]
    words: list[str]

    @property
    def pairs(self) -> set[frozenset[str]]:
        return {frozenset(pair) for pair in itertools.combinations(self.words, 2)}


@dataclass(frozen=True)
class Book:
    """The databases, and what has been written so far."""

    databases: list[sqlite3.Connection]
    questions: set[str] = field(default_factory=set)
    queries: set[str] = field(default_factory=set)
    trained: set[frozenset[str]] = field(default_factory=set)
    # pairs of words that occur together in train

    def accepts(self, asked: Asked, split: str, fresh: bool) -> bool:
        """Whether the query is new, pairs only the words that it may, and its results tell something."""
        sql = asked.query.sql
        if sql in self.queries or len(sql) > LONGEST_SQL or fresh == asked.pairs.isdisjoint(HELD_OUT):
            return False
        if split != "train" and not fresh and not asked.pairs <= self.trained:
            return False
        joined = [HOUSE["joins"][join].split()[1] for join in asked.query.joins]
        return len(set(joined)) == len(joined) and self.tells(asked.query)

    def tells(self, query: Query) -> bool:
        """Whether the results are fit to be compared, and every likely slip gives another one."""
        gold = self.run(query.sql)
        ranked = replace(query, columns=query.order.rsplit(" ", 1)[0], limit=query.limit + 1)
        keys = self.run(ranked.sql) if query.order else []
        if any(None in itertools.chain(*found) for found in gold + keys):
            return False
        if not all(0 < len(found) <= MOST_ROWS for found in gold) or ("(" in query.columns and [(0,)] in gold):
            return False
        if not all(len(set(found)) > query.limit for found in keys):  # a tie up to the first that is left out
            return False
        kept = list if query.order else Counter
        return all([*map(kept, gold)] != [*map(kept, self.run(slip))] for slip in query.slips())

    def run(self, sql: str) -> list[Rows]:
        return [database.execute(sql).fetchall() for database in self.databases]


def main() -> None:
    book = Book([sqlite3.connect(":memory:") for _ in DATABASES])
    for name, database in zip(DATABASES, book.databases, strict=True):
        script = database_script(random.Random(f"{SEED} {name}"))
        (FOLDER / name).write_text(script, encoding="utf-8", newline="\n")
        database.executescript(script)
    for split, size in SIZES.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows(split, size, book)]
        (FOLDER / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")


def database_script(rng: random.Random) -> str:
    """One warehouse as SQL. The names are the same in each, all else is drawn."""
    names = HOUSE["names"]
    stock = [crate_with_moves(i, kg, rng) for i, kg in enumerate(rng.sample(range(60, 1500), CRATES), start=1)]
    tables: dict[str, Rows] = {
        "clients": drawn(rng, CLIENTS, names["client"], names["town"] * 4, (1, 2, 3) * 6),
        "crews": drawn(rng, CREWS, names["team"], "EDN" * 2),
        "docks": drawn(rng, DOCKS, names["hall"] * 4, "WRL" * 6, range(8, 41), [*range(1, CREWS + 1)] * 3),
        "crates": [crate for crate, _ in stock],
        "moves": sorted((move for _, moves in stock for move in moves), key=lambda move: move[4]),
    }
    return HOUSE["schema"] + "".join(insert(table, content) for table, content in tables.items())


def drawn(rng: random.Random, size: int, *pools: Sequence[Any]) -> Rows:
    return [*zip(*(rng.sample(pool, size) for pool in pools), strict=True)]


def crate_with_moves(crate: int, kg: int, rng: random.Random) -> tuple[tuple[Any, ...], Rows]:
    """A crate and its moves: a put-away, then shuffles, and a send-off if it has left."""
    own, status, came = rng.randint(1, CLIENTS), rng.choice("PPPPKKTZZ"), rng.randint(1, 60)
    pay = own if rng.random() < 0.6 else rng.randint(1, CLIENTS)
    left = status in "TZ"
    hold = 0 if left else rng.choice((0, 0, 0, 1, 1, 2))
    count = rng.randint(2, 4) if left else rng.choice((0, 0, 1, 2, 3))
    day = first = came + rng.choice((0, 1, 1, 2, 3, 4, 5, 6, 7, 9))
    moves = []
    for i in range(1, count + 1):
        kind = 1 if i == 1 else 3 if left and i == count else 2
        due, fee = day - rng.choice((-4, -2, -1, 0, 0, 1, 1, 2, 3, 6)), max(0, rng.randint(-50, 240))
        moves.append((crate, rng.randint(1, DOCKS), rng.randint(1, CREWS), kind, day, due, fee))
        day += rng.randint(1, 8)
    return (own, pay, rng.randint(1, DOCKS), kg, status, hold, came, first if count else None), moves


def insert(table: str, content: Rows) -> str:
    values = [", ".join("NULL" if v is None else repr(v) for v in (i, *row)) for i, row in enumerate(content, start=1)]
    return f"INSERT INTO {table} VALUES\n" + ",\n".join(f"({row})" for row in values) + ";\n"


def rows(split: str, size: int, book: Book) -> list[dict[str, Any]]:
    """The rows of a split: every family as often as any other that asks for the same, in a drawn order."""
    rng = random.Random(f"{SEED} {split}")
    families = PHRASES[split]["families"]
    turns = [family for family, content in families.items() for _ in range(SHARES[content["asks"]])]
    planned = []
    for i, family in zip(range(size), itertools.cycle(turns), strict=False):
        may_be_fresh = split == "test" and families[family]["asks"] != "fact"
        planned.append((family, may_be_fresh and i // len(turns) % FRESH_EVERY == 0))
    rng.shuffle(planned)
    return [{"id": f"{split}-{i:04d}", **new_row(split, *plan, rng, book)} for i, plan in enumerate(planned, start=1)]


def new_row(split: str, family: str, fresh: bool, rng: random.Random, book: Book) -> dict[str, Any]:
    """Draw until question and query are accepted; `fresh` asks for a pair of words held out of train."""
    content = PHRASES[split]["families"][family]
    while True:
        asked = draw(content["asks"], rng)
        number, pattern = rng.choice([*enumerate(content["patterns"], start=1)])
        question = worded(PHRASES[split], pattern, asked.slots, rng)
        said = question.lower() in book.questions or len(question.split()) > LONGEST_QUESTION
        if said or not book.accepts(asked, split, fresh):
            continue
        book.questions.add(question.lower())
        book.queries.add(asked.query.sql)
        if split == "train":
            book.trained.update(asked.pairs)
        kind = {"cluster": family, "template": f"{family}/{number}", "slice": slice_of(asked, fresh)}
        return {"question": question, "sql": asked.query.sql, **kind, "words": asked.words}


def slice_of(asked: Asked, fresh: bool) -> str:
    """What the row needs most."""
    if fresh:
        return "new_combination"
    if asked.query.group or asked.query.order:
        return "ranking" if asked.query.order else "aggregate"
    if asked.query.joins:
        return "join"
    return "metric" if any(word in HOUSE["definitions"] for word in asked.words) else "lookup"


def draw(asks: str, rng: random.Random) -> Asked:
    """A fact of one thing; or a list, a count, a measure, a measure by group or a ranking of what terms describe."""
    offered = [entry for entry in HOUSE["asked"] if asks in entry["asks"]]
    entry = rng.choices(offered, [entry.get("weight", 1) for entry in offered])[0]
    table = entry["table"]
    dim: Entry = rng.choice(HOUSE["dims"][table]) if asks in ("by", "top") and "single" not in entry else {}
    terms = [HOUSE["things"][table]] if asks == "fact" else draw_terms(asks, entry, dim, rng)
    limit, end = rng.choice((1, 1, 2, 3)) if asks == "top" else 0, rng.choice(("DESC", "DESC", "ASC"))
    phrase = noun_phrase(table, terms, many=asks != "fact" and (bool(dim) or limit != 1))
    says = entry["says"].replace("{np}", phrase)
    counted = HOUSE["counts"].get(limit, {})
    winners = phrase if not dim else dim["says" if limit == 1 else "plural"]
    winners = f"{rng.choice((limit, counted['word']))} {winners}" if limit > 1 else winners
    slots = {"name": says, "items": says, "np": phrase, "key": f"{says} of {phrase}" if dim else says}
    slots |= {"winners": winners, "dim": dim.get("says", ""), "dims": dim.get("plural", "")}
    constants = {name: rng.choice(values) for name, values in CONSTANTS.items()}
    slots = {name: text.format(**constants) for name, text in (slots | counted | HOUSE["ends"][end]).items()}
    query = build(asks, entry, dim, terms, f"{entry['sql']} {end}" if limit else "", limit)
    query = replace(query, where=tuple(condition.format(**constants) for condition in query.where))
    words = [term["name"] for term in terms if term.get("name") in WORDS] + ([entry["word"]] if "word" in entry else [])
    return Asked(query, slots, words)


def draw_terms(asks: str, entry: Entry, dim: Entry, rng: random.Random) -> list[Entry]:
    """Terms that can be said together of a table's rows; likelier are words of the house, and what needs no join."""
    table, count = entry["table"], rng.choice(HOUSE["terms_per_question"][asks])
    offered = [{**term, **term[table], "name": name} for name, term in HOUSE["terms"].items() if table in term]
    weights = [
        (1 + (t["name"] in WORDS) + (t["name"] in HOUSE["definitions"])) * (6 - 5 * ("joins" in t)) for t in offered
    ]
    taken = {*entry.get("blocks", ()), *dim.get("blocks", ())}
    chosen: list[Entry] = []
    for term in rng.sample(offered, sum(weights), counts=weights):
        blocks = {*term["blocks"], *term.get("post", "").split()[:1]}  # no preposition twice
        if len(chosen) < count and not blocks & taken:
            chosen.append(term)
            taken |= blocks
    return sorted(chosen, key=offered.index)


def noun_phrase(table: str, terms: list[Entry], many: bool) -> str:
    nouns = [term["noun"] for term in terms if "noun" in term] or [HOUSE["nouns"][table]]
    before, after = ([term[place] for term in terms if place in term] for place in ("pre", "post"))
    return " ".join([*before, nouns[0] + "s" * many, *after])


def build(asks: str, entry: Entry, dim: Entry, terms: list[Entry], order: str, limit: int) -> Query:
    """The query in the one style of all rows: a column is qualified only where two tables have it, which is id."""
    joins = tuple(j for j in HOUSE["joins"] if any(j in part.get("joins", ()) for part in (entry, dim, *terms)))
    group: str = dim.get("sql", "")
    columns: str = {"by": f"{group}, {entry['sql']}", "top": group or "id"}.get(asks, entry["sql"])
    where = [condition for term in terms for condition in term["sql"]] + entry.get("where", [])
    if joins:
        columns, *where = (re.sub(r"^id\b", f"{entry['table']}.id", text) for text in (columns, *where))
    return Query(columns, entry["table"], joins, tuple(where), group, order, limit)


def worded(around: Entry, pattern: str, slots: dict[str, str], rng: random.Random) -> str:
    """The question in one of three voices: as it is, as chat in lower case, or with two letters swapped."""
    voice = rng.choice(VOICES)
    if voice == "hasty" and (words := re.findall(r"(?<![{\w])(?!there)[a-z]{5,}(?![}\w])", pattern)):
        word, i = rng.choice(words), rng.randint(1, 2)
        pattern = pattern.replace(word, word[:i] + word[i + 1] + word[i] + word[i + 2 :], 1)
    text = pattern.format(**slots)
    text = f"{rng.choice(around['preamble'])} {text}" if rng.random() < PREAMBLE_SHARE else text
    text = f"{text} {rng.choice(around['closing'])}" if rng.random() < CLOSING_SHARE else text
    text = re.sub(r"(?:^|(?<=[.?!] ))[a-z]", lambda start: start[0].upper(), text)
    return text.lower().rstrip(".?!") if voice == "chat" else text


if __name__ == "__main__":
    main()
