"""What the catalog is told by its environment, and what it says when that is wrong."""

from pathlib import Path

import pytest

from lodestream.errors import LodeError
from services.catalog.settings import Settings


def test_a_token_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    env = {"LODE_CATALOG": str(tmp_path / "new" / "catalog")}
    first, second = Settings.from_env(env), Settings.from_env(env)
    assert len(first.token) >= 32
    assert (second.token, second.quack_port, second.folder) == (first.token, 9494, tmp_path / "new" / "catalog")
    assert (first.folder / "quack.token").stat().st_mode & 0o777 == 0o600


def test_a_token_from_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("chosen-by-somebody-else\n")
    env = {"LODE_CATALOG": str(tmp_path), "LODE_QUACK_TOKEN_FILE": str(file), "LODE_QUACK_PORT": "0"}
    assert (Settings.from_env(env).token, Settings.from_env(env).quack_port) == ("chosen-by-somebody-else", 0)


@pytest.mark.parametrize(
    ("env", "why"),
    [
        ({}, "LODE_CATALOG"),
        ({"LODE_QUACK_PORT": "ninety"}, "LODE_QUACK_PORT is 'ninety'"),
        ({"LODE_QUACK_PORT": "65536"}, "it is a port"),
        ({"LODE_CATALOG": "/proc/nowhere"}, "/proc/nowhere"),
        ({"LODE_QUACK_TOKEN_FILE": "{}/short"}, "holds no token"),
        ({"LODE_QUACK_TOKEN_FILE": "{}"}, "cannot use"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(tmp_path: Path, env: dict[str, str], why: str) -> None:
    (tmp_path / "short").write_text("x")
    given = {"LODE_CATALOG": str(tmp_path)} if env else {}
    with pytest.raises(LodeError, match=why):
        Settings.from_env(given | {name: value.format(tmp_path) for name, value in env.items()})
