"""Messages pass in the order of their stream, whatever each has to do before."""

import asyncio
import random

from lodestream.bus.turns import Turns


class Hand:
    """What a worker has in hand, and what others have."""

    def __init__(self, elsewhere: int = 0, patience: float = 30):
        self.live: dict[int, None] = {}
        self.elsewhere, self.passed = elsewhere, list[int]()
        self.turns = Turns(self.live, self._behind, patience)

    async def _behind(self) -> bool:
        return self.elsewhere > 0

    async def one(self, seq: int, work: float) -> None:
        """One message, from its coming to its end."""
        await asyncio.sleep(work)
        while not self.turns.pass_at_once(seq):
            await self.turns.wait(seq)
            await asyncio.sleep(work / 10)  # in line for a place
        self.passed.append(seq)
        await asyncio.sleep(work)
        del self.live[seq]
        self.turns.done(seq)


async def test_they_pass_in_order_and_each_while_others_are_still_at_work() -> None:
    hand, dice = Hand(), random.Random(1)
    order = list(range(50))
    hand.live.update(dict.fromkeys(order))
    dice.shuffle(order)
    await asyncio.gather(*(hand.one(seq, dice.uniform(0, 0.02)) for seq in order))
    assert hand.passed == sorted(order)


async def test_what_others_have_is_waited_for_at_first_and_then_no_more() -> None:
    hand = Hand(elsewhere=1)
    hand.live[7] = None
    late = asyncio.create_task(hand.one(7, 0))
    await asyncio.sleep(0.5)
    assert hand.passed == []
    hand.live[3], hand.elsewhere = None, 0
    await asyncio.gather(hand.one(3, 0), late)
    assert hand.passed == [3, 7]
    hand.live[9], hand.elsewhere = None, 5
    await hand.one(9, 0)
    assert hand.passed == [3, 7, 9]


async def test_what_is_never_given_back_is_not_waited_for_for_ever() -> None:
    hand = Hand(elsewhere=1, patience=0.3)
    hand.live[7] = None
    await asyncio.wait_for(hand.one(7, 0), 30)
    assert hand.passed == [7]


async def test_one_that_failed_is_waited_for_again() -> None:
    hand = Hand()
    hand.live.update({1: None, 2: None})
    while not hand.turns.pass_at_once(1):
        await hand.turns.wait(1)
    hand.turns.back(1)
    behind = asyncio.create_task(hand.one(2, 0))
    await asyncio.sleep(0.05)
    assert hand.passed == []
    await hand.one(1, 0)
    await behind
    assert hand.passed == [1, 2]
