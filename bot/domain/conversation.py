"""The life of a conversation: who may do what to it, and when it is over.

    bot ──hand-off──► waiting ──take──► agent ──resolve──► closed
     ▲                                   │
     └────────────give back──────────────┘        (an agent may also take from `bot`)

Plain functions on plain data; whoever carries them out locks the conversation's row first, so that
two callers racing get the same answer as two callers in turn.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain.errors import Conflict, Held, NotAllowed
from bot.domain.words import State


@dataclass(frozen=True)
class Hold:
    """Who holds a conversation. `holder` is an agent's id; `agent` without one is somebody outside
    the desk, such as a colleague in the Page's own inbox."""

    state: State
    holder: int | None = None
    holder_name: str | None = None

    @property
    def who(self) -> str:
        """The holder's name, for a colleague."""
        return self.holder_name or "A colleague outside the desk"


def check_take(hold: Hold, agent: int) -> None:
    """Raises Held (a colleague has it, and who) or Conflict (it is closed)."""
    if hold.state is State.CLOSED:
        raise Conflict("This conversation is closed.")
    if hold.state is State.AGENT and hold.holder not in (None, agent):
        raise Held("{who} has this conversation.", who=hold.who)


def check_hold(hold: Hold) -> None:
    """To take over there must be somebody to take over from. Raises Conflict."""
    if hold.state is State.CLOSED:
        raise Conflict("This conversation is closed.")
    if hold.state is not State.AGENT:
        raise Conflict("Nobody has this conversation; take it.")


def check_reopen(hold: Hold, is_undoable: bool) -> None:
    """Raises Conflict for what isn't closed, or can't be opened again any more."""
    if hold.state is not State.CLOSED or not is_undoable:
        raise Conflict("It can't be opened again: that was too long ago, or the customer has written since.")


def check_speak(hold: Hold, agent: int) -> None:
    """Only the holder answers. Raises Held, NotAllowed (take it first) or Conflict (closed)."""
    check_take(hold, agent)
    if hold.state is not State.AGENT or hold.holder != agent:
        raise NotAllowed("Take the conversation before you answer.")


def check_resolve(hold: Hold, agent: int) -> None:
    """The holder resolves; what nobody holds, any agent may. Raises Held or Conflict."""
    check_take(hold, agent)


def is_idle(state: State, answered: bool, last_message: datetime, now: datetime, idle: timedelta) -> bool:
    """Whether a conversation has ended by silence (default 24 hours, a setting).

    A customer who still waits for a person (`answered` is False while `waiting` or `agent`) is
    never closed by silence: see docs/adr/0004.
    """
    if state is State.CLOSED or now - last_message < idle:
        return False
    return state is State.BOT or (state is State.AGENT and answered)
