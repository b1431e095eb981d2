"""The rights as they are written, without a server."""

from itertools import combinations

from lodestream.rights import accounts, people, services, users
from tests.support.node_types import TYPES

PASSWORDS = {name: f"password-of-{name}" for name in users(TYPES)}


def test_every_user_has_a_password_in_the_configuration() -> None:
    text = accounts(TYPES, PASSWORDS)
    assert {*services(TYPES), *people()} == set(PASSWORDS)
    assert all(text.count(password) == 1 for password in PASSWORDS.values())


def test_no_allow_list_is_empty_because_that_would_allow_everything() -> None:
    assert "allow: []" not in accounts(TYPES, PASSWORDS)


def overlap(one: str, other: str) -> bool:
    """Whether some subject matches both patterns."""
    tokens = list(zip(one.split("."), other.split("."), strict=False))
    for a, b in tokens:
        if ">" in (a, b):
            return True
        if "*" not in (a, b) and a != b:
            return False
    return one.count(".") == other.count(".")


def test_nobody_may_publish_where_it_listens() -> None:
    """Or it could send itself a request whose answer it may then publish anywhere."""
    for name, given in services(TYPES).items():
        if given.answers:
            assert [(p, s) for p in given.publish for s in given.subscribe if overlap(p, s)] == [], name


def test_workers_write_to_nothing_in_common() -> None:
    given = services(TYPES)
    written = [[s for s in given[kind].publish if not s.startswith("$JS.")] for kind in TYPES]
    for mine, theirs in combinations(written, 2):
        assert [(a, b) for a in mine for b in theirs if overlap(a, b)] == []
