"""The gate and the text of a query, on a DuckDB in memory."""

import duckdb
import pytest

from lodestream.catalog.gate import CLOSE, CONFIG, MACRO
from lodestream.catalog.query import Query, as_subquery, first_line, in_time
from lodestream.errors import LodeError

ANSWERED = (
    "select 1",
    "select 1;",
    "select 1 ; -- done",
    "select ';' ;;",
    "from media",
    "table media",
    "values (1), (2)",
    "show tables",
    "describe media",
    "summarize media",
    "with x as (select 1 as a) select * from x",
    "select unnest([1, 2]), sum(1) over ()",
    "select 'read_text', 'TABLE_FUNCTION', '{\"type\":\"TABLE_FUNCTION\"}'",
    "select count(*) from range(10) where range not in (select a from media)",
    "from duckdb_columns() select comment where table_name = 'media'",
    "from information_schema.tables",
    "select * from media union all select * from media order by 1",
    "select a from media where at > now() - interval 1 hour order by at desc",
)
REFUSED = (
    "",
    "  ; ",
    "select 1; select 2",
    "insert into media values (1, null)",
    "update media set a = 1",
    "delete from media",
    "with x as (insert into media values (1, null) returning *) from x",
    "create table x as select 1",
    "drop table media",
    "copy media to 'x.csv'",
    "copy (select 1) to '/tmp/x.csv'",
    "export database 'x'",
    "attach 'x.db'",
    "use memory",
    "install httpfs",
    "load '/tmp/x.duckdb_extension'",
    "set threads = 1",
    "reset threads",
    "pragma database_list",
    "call pragma_version()",
    "checkpoint",
    "begin",
    "vacuum",
    "explain select 1",
    "prepare x as select 1",
    "select * from read_text('/etc/passwd')",
    "from system.main.read_text('/etc/passwd')",
    "from '/etc/passwd'",
    "from 'x.csv' union all from 'y.parquet'",
    "select (select content from read_text('/etc/passwd'))",
    "select 1 limit (select size from read_blob('/etc/passwd'))",
    "select count(*) filter (where exists (from read_csv('x'))) from media",
    "describe from read_text('/etc/passwd')",
    "summarize from read_csv('/etc/passwd')",
    "values ((select content from read_text('/etc/passwd')))",
    "select * from media, lateral (from read_text(media.a))",
    "from glob('/*')",
    "from query('select 1')",
    "from query_table('media')",
    "from sniff_csv('x')",
    "from duckdb_settings()",
    "from duckdb_secrets()",
    "from quack_query('a', 'b')",
    "select current_setting('threads')",
    "select getenv('HOME')",
    "select NEXTVAL('a')",
    "select getvariable('x')",
    "select " + "1+" * 400 + "1",
    "select '" + "x" * 70_000 + "'",
)


@pytest.fixture
def database() -> duckdb.DuckDBPyConnection:
    """A database as the doors open it."""
    connection = duckdb.connect(config=CONFIG)
    connection.execute('create table media (a integer, "at" timestamp)')
    connection.execute("insert into media values (1, '2999-01-01'), (2, '2000-01-01')")
    for statement in (MACRO, *CLOSE):
        connection.execute(statement)
    return connection


def rows(database: duckdb.DuckDBPyConnection, text: str) -> list[str]:
    """Every row of a query, as JSON."""
    return Query(database.cursor(), text).part(10_000, 1 << 20)


@pytest.mark.parametrize("text", ANSWERED)
def test_a_question_is_answered(database: duckdb.DuckDBPyConnection, text: str) -> None:
    assert rows(database, text)


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
async def test_all_else_is_refused_in_one_line(database: duckdb.DuckDBPyConnection, text: str) -> None:
    cursor = database.cursor()
    with pytest.raises(LodeError) as refusal:
        await in_time(cursor, lambda: Query(cursor, text).part(1, 1000), 10)
    assert "\n" not in str(refusal.value)
    assert str(refusal.value)
    assert database.execute("select count(*) from media").fetchone() == (2,)


def test_the_gate_refuses_by_itself(database: duckdb.DuckDBPyConnection) -> None:
    """DuckDB clients' texts meet the gate as they are; a table named like a file, and too deep a tree, end later."""
    passed = [text for text in REFUSED if database.execute("select lode_gate('me', ?)", [text]).fetchone() != (False,)]
    assert [text[:12] for text in passed] == ["from '/etc/p", "from 'x.csv'", "select 1+1+1"]


def test_columns_named_at_need_no_quotes(database: duckdb.DuckDBPyConnection) -> None:
    assert rows(database, "select max(at) as at, 'at' from media") == ['["2999-01-01 00:00:00","at"]']
    assert as_subquery("select at, AT from t order by t.at") == 'select "at", "at" from t order by t."at"'
    for kept in ("select x at time zone 'UTC'", "select ' at ', \"at\", at_, bat, $$ at $$", "-- at\nselect 1"):
        assert as_subquery(kept) == kept
    assert as_subquery("select 'é', at") == "select 'é', \"at\""


def test_values_arrive_as_json(database: duckdb.DuckDBPyConnection) -> None:
    given = """select now() > '2020-01-01', 'nan'::double, [1, null], {'a': map {'k': 1.5}},
      170141183460469231731687::hugeint, interval 3 days,
      timestamp '2024-01-01 01:02:03.5', '{"a": 1}'::json, 'é "q" NaN'"""
    assert rows(database, given) == [
        '[true, null, [1, null], {"a": {"k": 1.5}}, 170141183460469231731687, "3 days", "2024-01-01 01:02:03.5", '
        '{"a": 1}, "é \\"q\\" NaN"]'
    ]


def test_an_answer_comes_in_parts(database: duckdb.DuckDBPyConnection) -> None:
    query = Query(database.cursor(), "select range as n from range(1000) order by n desc")
    assert (query.columns, query.types) == (["n"], ["BIGINT"])
    assert query.part(2, 1000) == ["[999]", "[998]"]
    small = query.part(1000, 100)
    assert 10 < len(small) < 20
    rest = query.part(1000, 100_000)
    assert (small[0], rest[-1], query.more) == ("[997]", "[0]", False)
    assert 2 + len(small) + len(rest) == 1000
    with pytest.raises(LodeError, match="fewer columns"):
        Query(database.cursor(), "select repeat('x', 1000)").part(1, 100)


async def test_a_query_ends_at_its_deadline(database: duckdb.DuckDBPyConnection) -> None:
    """One of ten seconds: were it endless and could not be stopped, these tests would never end."""
    cursor = database.cursor()
    with pytest.raises(LodeError, match=r"stopped after 0\.3 s"):
        await in_time(cursor, lambda: Query(cursor, "select count(*) from range(100000) a, range(400000) b"), 0.3)
    assert rows(database, "select 1") == ["[1]"]


def test_an_error_is_one_line_with_its_suggestion(database: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error) as error:
        rows(database, "from medi")
    assert first_line(error.value) == 'Catalog Error: Table with name medi does not exist! Did you mean "media"?'
