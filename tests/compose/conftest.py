"""One project that is up for most tests; images are built from this checkout first, once."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compose.project import Project, need_engine, project


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
