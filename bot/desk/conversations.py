"""What agents do with a conversation, one verb each.

Every verb locks the conversation's row first, so two agents racing get an order: the first wins,
the second is told who has it. What is done is written into the conversation's history (`Act`).
"""

import time
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot import inbox, live
from bot.desk import audit
from bot.domain.conversation import Hold, check_hold, check_reopen, check_resolve, check_speak, check_take
from bot.domain.errors import BadInput, Conflict, NotFound
from bot.domain.mentions import addressed
from bot.domain.window import window
from bot.domain.words import Author, Ending, State, Status
from bot.store import queries
from bot.store.desk_tables import Act, Deed, Mention
from bot.store.engine import Store
from bot.store.tables import Agent, Conversation, HandOff, Message, new_public_id
from bot.turns import first_status

TEXT_LIMIT = 8_000  # characters of an agent's message or note
LANDING = 2.0  # seconds; a sender that was killed would keep an agent waiting for minutes
REASON_LIMIT = 400  # characters of why something is snoozed
UNDO = timedelta(minutes=2)  # how long what was resolved can be opened again


def take(
    session: Session, conversation_id: int, agent: Agent, now: datetime, what: str = "conversation_take"
) -> Conversation:
    """The agent holds it from here; the bot is silent. `what` is for the audit trail.

    Raises NotFound, Held or Conflict.
    """
    conversation = _locked(session, conversation_id)
    check_take(hold(conversation), agent.id)
    if conversation.state is State.AGENT and conversation.agent_id == agent.id:
        return conversation
    audit.note(session, agent, what, f"#{conversation.id}", now)
    return _given_to(session, conversation, agent, Deed.TAKEN, agent, None, "", now)


def take_over(session: Session, conversation_id: int, agent: Agent, now: datetime) -> Conversation:
    """The agent takes it from the colleague who has it. Raises NotFound or Conflict."""
    conversation = _locked(session, conversation_id)
    check_hold(hold(conversation))
    if conversation.agent_id == agent.id:
        return conversation
    before = conversation.agent
    was = {"agent": before.name} if before else None
    audit.note(session, agent, "conversation_take_over", f"#{conversation.id}", now, was)
    return _given_to(session, conversation, agent, Deed.TAKEN_OVER, agent, before, "", now)


def hand(
    session: Session, conversation_id: int, agent: Agent, to: int, note: str, now: datetime
) -> Conversation:
    """The holder gives it to a colleague, with a note. Raises NotFound, Held, NotAllowed or Conflict."""
    conversation = _locked(session, conversation_id)
    check_speak(hold(conversation), agent.id)
    other = session.get(Agent, to)
    if other is None or other.id == agent.id or other.deactivated_at:
        raise BadInput("There is no such colleague.")
    audit.note(session, agent, "conversation_hand", f"#{conversation.id}", now, after={"agent": other.name})
    return _given_to(
        session, conversation, other, Deed.HANDED, agent, other, _text(note, may_be_empty=True), now
    )


def _given_to(
    session: Session,
    conversation: Conversation,
    holder: Agent,
    deed: Deed,
    agent: Agent,
    other: Agent | None,
    text: str,
    now: datetime,
) -> Conversation:
    conversation.state = State.AGENT
    conversation.agent = holder
    conversation.handler_id = holder.id
    conversation.due_at = conversation.snoozed_until = None
    queries.handle_open_messages(session, conversation.id, now)
    queries.take_back_queued(session, conversation.id)
    hand_off = queries.open_hand_off(session, conversation.id)
    if hand_off:
        hand_off.taken_at = hand_off.taken_at or now
    _did(session, conversation, deed, agent, now, other, text)
    _changed(session, conversation, now)
    return conversation


def let_it_land(store: Store, conversation_id: int) -> None:
    """Returns once nothing of the bot's is on its way any more, at the latest after `LANDING` seconds.

    Whoever is told that they have a conversation isn't spoken over by what was just being sent.
    """
    sending = sa.select(Message.id).where(
        Message.conversation_id == conversation_id,
        Message.author == Author.BOT,
        Message.status == Status.SENDING,
    )
    until = time.monotonic() + LANDING
    while time.monotonic() < until:
        with store.read() as session:
            if session.scalar(sending.limit(1)) is None:
                return
        time.sleep(LANDING / 100)


def answer(
    session: Session, conversation_id: int, agent: Agent, client_id: str, text: str, now: datetime
) -> tuple[Message, bool]:
    """Queues an agent's answer; the same `client_id` again gives the same message and False.

    Raises NotFound, Held, NotAllowed (take it first), Conflict (closed, or the channel's reply window
    is) or BadInput.
    """
    conversation = _locked(session, conversation_id)
    repeated = _repeated(session, conversation.id, Author.AGENT, agent, client_id)
    if repeated:
        return repeated, False
    check_speak(hold(conversation), agent.id)
    if not window(conversation.channel, conversation.identity.wrote_at, now).admits(Author.AGENT):
        raise Conflict("Meta takes no answer more than 7 days after the customer wrote last.")
    status = first_status(conversation.channel)
    message = _write(session, conversation, Author.AGENT, agent, client_id, text, status, now)
    conversation.last_message_at = now
    conversation.snoozed_until = None
    return message, True


def note(
    session: Session, conversation_id: int, agent: Agent, client_id: str, text: str, now: datetime
) -> tuple[Message, bool]:
    """Leaves a note that only agents see; colleagues named with @ are told. Anyone may, at any time.

    Raises NotFound or BadInput.
    """
    conversation = _locked(session, conversation_id)
    repeated = _repeated(session, conversation.id, Author.NOTE, agent, client_id)
    if repeated:
        return repeated, False
    message = _write(session, conversation, Author.NOTE, agent, client_id, text, Status.SENT, now)
    everybody = session.scalars(sa.select(Agent)).all()
    names = addressed(text, [one.name for one in everybody])  # who has left is meant by their name, too
    for colleague in everybody:
        if colleague.name in names and colleague.id != agent.id and colleague.deactivated_at is None:
            session.add(Mention(message_id=message.id, agent_id=colleague.id))
    return message, True


def give_back(session: Session, conversation_id: int, agent: Agent, now: datetime) -> Conversation:
    """The bot reads on, from what nobody has answered yet; the count of its replies stays.

    Raises NotFound, Held, NotAllowed or Conflict.
    """
    conversation = _locked(session, conversation_id)
    check_speak(hold(conversation), agent.id)
    conversation.state = State.BOT
    conversation.agent = None
    conversation.snoozed_until = None
    queries.end_hand_off(session, conversation.id, now)
    queries.reopen_unanswered(session, conversation, now)
    audit.note(session, agent, "conversation_give_back", f"#{conversation.id}", now)
    _did(session, conversation, Deed.GIVEN_BACK, agent, now)
    _changed(session, conversation, now)
    return conversation


def snooze(
    session: Session, conversation_id: int, agent: Agent, until: datetime, reason: str, now: datetime
) -> Conversation:
    """Out of its holder's sight until a time, or until the customer writes.

    Raises NotFound, Held, NotAllowed, Conflict or BadInput.
    """
    conversation = _locked(session, conversation_id)
    check_speak(hold(conversation), agent.id)
    if not now < until < now + timedelta(days=366):
        raise BadInput("Choose a time that lies ahead.")
    conversation.snoozed_until = until
    reason = _text(reason, may_be_empty=True)[:REASON_LIMIT]
    _did(session, conversation, Deed.SNOOZED, agent, now, text=reason)
    _changed(session, conversation, now)
    return conversation


def wake(session: Session, conversation_id: int, agent: Agent, now: datetime) -> Conversation:
    """Back into its holder's sight. Raises NotFound, Held, NotAllowed or Conflict."""
    conversation = _locked(session, conversation_id)
    check_speak(hold(conversation), agent.id)
    if conversation.snoozed_until:
        conversation.snoozed_until = None
        _did(session, conversation, Deed.WOKEN, agent, now)
        _changed(session, conversation, now)
    return conversation


def resolve(session: Session, conversation_id: int, agent: Agent, now: datetime) -> Conversation:
    """Closes it; the customer's next message opens a new one. Raises NotFound, Held or Conflict."""
    conversation = _locked(session, conversation_id)
    check_resolve(hold(conversation), agent.id)
    queries.close(session, conversation, now, Ending.RESOLVED)
    audit.note(session, agent, "conversation_resolve", f"#{conversation.id}", now)
    queries.handle_open_messages(session, conversation.id, now)
    _did(session, conversation, Deed.RESOLVED, agent, now)
    _changed(session, conversation, now)
    return conversation


def reopen(session: Session, conversation_id: int, agent: Agent, now: datetime) -> Conversation:
    """Undoes what this agent has just resolved, as long as the customer hasn't opened another.

    The agent holds it then, whoever did before. Raises NotFound or Conflict.
    """
    its = sa.select(Conversation.contact_id).where(Conversation.id == conversation_id)
    inbox.hold_filing(session, session.scalars(its).all())
    conversation = _locked(session, conversation_id)
    newer = queries.open_conversation(session, conversation.identity)
    check_reopen(hold(conversation), is_undoable(session, conversation, agent, now) and newer is None)
    closed_at = conversation.closed_at
    conversation.state, conversation.closed_at, conversation.ending = State.AGENT, None, None
    conversation.agent = agent
    conversation.handler_id = agent.id
    with queries.one_open_at_a_time():
        session.flush()
    ended = session.scalar(
        sa.select(HandOff).where(HandOff.conversation_id == conversation.id, HandOff.ended_at == closed_at)
    )
    if ended:
        ended.ended_at, ended.taken_at = None, ended.taken_at or now
    audit.note(session, agent, "conversation_reopen", f"#{conversation.id}", now)
    _did(session, conversation, Deed.REOPENED, agent, now)
    _changed(session, conversation, now)
    return conversation


def is_undoable(session: Session, conversation: Conversation, agent: Agent, now: datetime) -> bool:
    """Whether this agent resolved it a moment ago."""
    if conversation.closed_at is None or now - conversation.closed_at > UNDO:
        return False
    last = sa.select(Act).where(Act.conversation_id == conversation.id).order_by(Act.id.desc()).limit(1)
    act = session.scalar(last)
    return act is not None and act.deed is Deed.RESOLVED and act.agent_id == agent.id


def _locked(session: Session, conversation_id: int) -> Conversation:
    conversation = queries.locked(session, conversation_id)
    if conversation is None:
        raise NotFound("There is no such conversation.")
    return conversation


def hold(conversation: Conversation) -> Hold:
    """Who holds it, as the rules want it."""
    holder = conversation.agent
    return Hold(conversation.state, conversation.agent_id, holder.name if holder else None)


def _repeated(
    session: Session, conversation_id: int, author: Author, agent: Agent, client_id: str
) -> Message | None:
    return session.scalar(
        sa.select(Message).where(
            Message.conversation_id == conversation_id,
            Message.author == author,
            Message.agent_id == agent.id,
            Message.client_id == client_id,
        )
    )


def _write(
    session: Session,
    conversation: Conversation,
    author: Author,
    agent: Agent,
    client_id: str,
    text: str,
    status: Status,
    now: datetime,
) -> Message:
    text = _text(text, may_be_empty=False)
    if not 0 < len(client_id) <= 80:
        raise BadInput("A message's id has 1 to 80 characters.")
    message = Message(
        public_id=new_public_id(),
        conversation_id=conversation.id,
        author=author,
        agent=agent,
        client_id=client_id,
        text=text,
        account=conversation.identity.account,
        at=now,
        handled_at=now,
        status=status,
    )
    session.add(message)
    session.flush()
    live.said(session, conversation, message)
    return message


def _changed(session: Session, conversation: Conversation, now: datetime) -> None:
    session.flush()
    live.changed(session, conversation, queries.replies_used(session, conversation.id), now)


def _text(text: str, may_be_empty: bool) -> str:
    text = text.replace("\0", "").strip()
    if len(text) > TEXT_LIMIT or not (text or may_be_empty):
        raise BadInput("Write 1 to {limit} characters.", limit=str(TEXT_LIMIT))
    return text


def _did(
    session: Session,
    conversation: Conversation,
    deed: Deed,
    agent: Agent,
    now: datetime,
    other: Agent | None = None,
    text: str = "",
) -> None:
    session.add(Act(conversation_id=conversation.id, agent=agent, other=other, deed=deed, text=text, at=now))
