"""Fixtures: a running Writ, one for all tests of a file that only ask, or a fresh one for tests that kill and change."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from house import House  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "waits: mostly waits for restarts and deadlines; tests/run has these beside the others")


@pytest.fixture(scope="module", params=["swtpm", "softhsm"])
def house(request):
    """Over both devices."""
    made = House(request.param)
    try:
        made.init()
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def one(request):
    """Over a software TPM, shared by the tests of a file."""
    made = House("swtpm")
    try:
        made.init()
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def fresh():
    """A maker of houses that are closed after the test."""
    made = []

    def make(*args, start=True, **kwargs):
        house = House(*args, **kwargs)
        made.append(house)
        house.init()
        if start:
            house.start()
        return house

    yield make
    for house in made:
        house.close()
