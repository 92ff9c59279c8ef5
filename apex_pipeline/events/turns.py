"""Lets files be sent in the order in which they came, although the next one is read while the last one is sent."""

import threading


class Turns:
    """Hands out turns, of which only the first few that have not ended can have begun.

    Args:
        width: How many turns may be under way at the same time; with 1, they are strictly in order.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.ended = 0
        self.changed = threading.Condition()
        self._taken = 0

    def take(self) -> "Turn":
        """Return the next turn; whoever takes it must end it, or all later ones wait for ever."""
        self._taken += 1
        return Turn(self, self._taken - 1)


class Turn:
    """One turn. Used by one thread.

    Args:
        turns: All turns.
        number: Number of turns before it.
    """

    def __init__(self, turns: Turns, number: int) -> None:
        self._turns = turns
        self._number = number
        self._has_ended = False

    def wait(self) -> None:
        """Wait until this turn may begin: as long as earlier ones take, whose attempts have their own limits."""
        turns = self._turns
        with turns.changed:
            turns.changed.wait_for(lambda: turns.ended > self._number - turns.width)

    def end(self) -> None:
        """End this turn, also if it has never begun; a second call does nothing."""
        if self._has_ended:
            return
        self._has_ended = True
        with self._turns.changed:
            self._turns.ended += 1
            self._turns.changed.notify_all()
