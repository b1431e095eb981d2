"""Fixtures for tests of every kind, and how many run side by side."""

import os
import signal
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.triton import triton

__all__ = ["triton"]

WAITING = 2
"""Tests for each core: most of them wait for servers most of the time."""


def pytest_configure() -> None:
    """Let what tests start be interrupted, also where this was started in the background of a shell."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One after the other where one file was asked for: it can be debugged then, and begins at once."""
    asked = [Path(argument.partition("::")[0]) for argument in config.args]
    return 0 if len(asked) == 1 and asked[0].is_file() else WAITING * len(os.sched_getaffinity(0))


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell at once what failed: a run that is cut short has said it then."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(f"\n{report.nodeid} failed ({report.when}):\n{report.longreprtext}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with tests that may take longest begin first, or all others would be done before these are."""
    longest: defaultdict[Path, float] = defaultdict(float)
    for item in items:
        if limit := item.get_closest_marker("timeout"):
            longest[item.path] = max(longest[item.path], limit.args[0])
    items.sort(key=lambda item: -longest[item.path])
