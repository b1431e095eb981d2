# The verbs of daily work; `just` alone lists them. Each is one command, so nobody needs just.

_list:
    @just --list --unsorted

# start the instance in the background
up:
    ./lode up -d

# stop it
down:
    ./lode down

# where everything stands, live
status:
    ./lode status --watch

# mine a site of our own and check what comes out
demo:
    ./lode demo

# all tests, or some: just test tests/unit -k flow
test *ARGS:
    ./lode test {{ARGS}}

# style and types, put right where a program can
check:
    .venv/bin/ruff check --fix
    .venv/bin/ruff format
    .venv/bin/mypy

# every generated file again: schemas, AsyncAPI, the README's table
generate:
    .venv/bin/python -m proto.generate
    .venv/bin/python -m lodestream.readme

# the figures of tests/bench/RESULTS.md
bench *ARGS:
    ./lode bench {{ARGS}}

# the images and their sizes
images:
    docker images "lodestream/*"

# what CI runs
ci:
    .ci/run
