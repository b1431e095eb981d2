"""One project that is up for most tests; images are built from this checkout first, once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.project import Project, need_engine, project

HERE = Path(__file__).parent
SETUP = 900
"""Seconds that images may take to be built, and a project to come up; whichever test is first waits for it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test here the time for that on top of its own."""
    for item in items:
        if HERE in item.path.parents:
            own = item.get_closest_marker("timeout")
            item.add_marker(pytest.mark.timeout(SETUP + (own.args[0] if own else 120)), append=False)


def pytest_xdist_auto_num_workers() -> int:
    """One after the other: a project takes the whole machine, and the first test builds the images for all."""
    return 0


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every image, of this checkout."""
    need_engine()
    Project("lode-test-images", tmp_path_factory.mktemp("images")).compose("--profile", "autoscale", "build", "--quiet")


@pytest.fixture(scope="session")
def stack(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project that is up and healthy."""
    with project(f"lode-test-{os.getpid()}", tmp_path_factory.mktemp("stack")) as made:
        made.up()
        yield made


@pytest.fixture
def own(images: None, tmp_path: Path) -> Iterator[Project]:
    """A project of the test's own, which is not up."""
    with project(f"lode-test-{os.getpid()}-own", tmp_path) as made:
        yield made
