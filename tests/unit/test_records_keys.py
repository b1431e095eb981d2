"""Where keys of web APIs lie, and whose eyes they are for."""

import os
from pathlib import Path

import pytest

from lodestream.errors import Malformed
from services.records import credentials
from services.records.credentials import api_key

ME, MY_GROUP, ELSE = 11015, 11015, 1000


def status(mode: int, owner: int, group: int) -> os.stat_result:
    """Of a file."""
    return os.stat_result((0o100000 | mode, 0, 0, 1, owner, group, 10, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "owner", "group", "ours"),
    [
        (0o600, ME, MY_GROUP, True),
        (0o400, ME, ELSE, True),
        (0o440, ME, MY_GROUP, False),
        (0o604, ME, MY_GROUP, False),
        (0o440, 0, MY_GROUP, True),
        (0o444, 0, MY_GROUP, False),
        (0o460, 0, MY_GROUP, False),
        (0o440, 0, ELSE, False),
        (0o440, ELSE, MY_GROUP, False),
    ],
)
def test_a_key_is_ours_or_mounted_for_us(
    monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, group: int, ours: bool
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: ME)
    monkeypatch.setattr(os, "getgid", lambda: MY_GROUP)
    assert credentials._is_ours(status(mode, owner, group)) is ours


def test_root_trusts_no_file_that_a_group_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 0)
    monkeypatch.setattr(os, "getgid", lambda: 0)
    assert not credentials._is_ours(status(0o440, 0, 0))


def test_in_a_container_it_lies_beside_the_passwords(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(credentials.VARIABLE, str(tmp_path))
    with pytest.raises(Malformed, match=rf"cannot read {tmp_path}/api-shop"):
        api_key("shop")
    (tmp_path / "api-shop").write_text("Site: https://api.example.org\nX-Key: open sesame\n")
    (tmp_path / "api-shop").chmod(0o400)
    key = api_key("shop")
    assert (str(key.site), key.headers) == ("https://api.example.org", {"X-Key": "open sesame"})
