"""What may be asked of the catalog from outside: one SELECT that touches nothing but its tables.

DuckDB's own parser says what a text is; a read-only transaction and `enable_external_access=false` stand behind it.
"""

TABLE_FUNCTIONS = (
    "range",
    "generate_series",
    "unnest",
    "json_each",
    "json_tree",
    "duckdb_tables",
    "duckdb_views",
    "duckdb_columns",
)
"""Those that a query may call; every other one could read files or settings."""
SCALARS = "nextval|currval|setseed|write_log|sleep_ms|current_setting|getvariable|getenv|quack.*"
"""Functions that a query may not call: they have side effects, or show settings."""
LONGEST = 65_536
"""Letters of a query."""

MACRO = f"""
create or replace macro main.lode_gate(client, sql) as (
  with parsed as (select json_serialize_sql(sql::varchar, skip_null := true, skip_empty := true) as tree),
  found as (select tree, json_extract_string(tree, '$..type') as types, json_extract(tree, '$..function') as calls,
    json_extract_string(tree, '$..function.function_name') as called,
    json_extract_string(tree, '$..function_name') as functions from parsed)
  select coalesce(length(sql) < {LONGEST} and json_extract_string(tree, '$.error') = 'false'
    and json_array_length(tree, '$.statements') = 1
    and len(list_filter(types, lambda t: t = 'TABLE_FUNCTION')) = len(calls)
    and len(calls) = len(list_filter(called, lambda f: f in {TABLE_FUNCTIONS}))
    and len(list_filter(functions, lambda f: regexp_full_match(f, '{SCALARS}', 'i'))) = 0, false)
  from found)
"""
"""`lode_gate(client, sql)`: whether it may be run. Text in literals is escaped: it cannot forge a match."""

NOT_ONE = "one query at a time: the text holds {} statements"
NO_QUESTION = "the catalog answers questions (SELECT, DESCRIBE, SHOW, SUMMARIZE); it takes no writes and no settings"
NOT_ALLOWED = "a function in this query is not allowed: it could read files or settings; table functions that are: " + (
    ", ".join(TABLE_FUNCTIONS)
)

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
    "max_expression_depth": 250,
}
"""Every DuckDB of ours: nothing is downloaded, and no 900 chained terms that plan for 13 s and cannot be stopped."""
CLOSE = ("set timezone = 'UTC'", "set enable_external_access = false", "set lock_configuration = true")
"""Said last when a database is opened for questions from outside."""
