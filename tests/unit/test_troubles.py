"""What keeps failing, in the words of `lode status`."""

import time

from lodestream.census import Tally
from lodestream.status import FlowStatus, NodeStatus, _flow_problems, _troubles
from lodestream.tally import Trouble


def test_words() -> None:
    assert Trouble(5, "HTTP 503", 140.0).words(100.0) == "has failed 5 times, next try in 40 s (HTTP 503)"
    assert Trouble(1, "HTTP 429", 99.0).words(100.0) == "has failed once, next try now (HTTP 429)"


def test_each_host_once_as_the_worker_has_it_that_tries_first() -> None:
    now = time.time()
    late = Tally(troubles={"b.org": Trouble(9, "late", now + 500), "a.org": Trouble(5, "too slow", now + 90.4)})
    soon = Tally(troubles={"b.org": Trouble(6, "soon", now + 40.4)})
    assert _troubles([late, soon]) == [
        "a.org has failed 5 times, next try in 90 s (too slow)",
        "b.org has failed 6 times, next try in 40 s (soon)",
    ]
    assert _troubles([soon, late]) == _troubles([late, soon])


def test_they_are_among_the_problems() -> None:
    node = NodeStatus(name="get", type="fetch", paused=False, workers=1, troubles=["a.org has failed 5 times"])
    flow = FlowStatus(flow="f", at="", nodes=[node], messages=0, bytes=0, max_bytes=-1, last_seq=0, catalog_behind=0)
    assert "f: get: a.org has failed 5 times" in _flow_problems(flow)
