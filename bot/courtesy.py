"""What a good host does beside answering: shows that a message was seen and that somebody types, and
learns the customer's name where the channel tells it. Nothing depends on it; what fails is left."""

from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
import structlog
from starlette.concurrency import run_in_threadpool

from bot import live
from bot.channels.graph import Answer, Graph, Outcome
from bot.domain.words import Channel, State
from bot.services import Services
from bot.store import queries
from bot.store.tables import Account, Contact, Conversation, Identity

NAME_LENGTH = 200
FRESH = timedelta(minutes=10)  # nobody types an answer to an older message
log = structlog.get_logger()

_BOT_READS = sa.and_(Conversation.state == State.BOT, Conversation.due_at.is_not(None))
_AGENT_READS = sa.and_(Conversation.state == State.AGENT, Conversation.agent_id.is_not(None))
_PAUSED = sa.exists().where(Account.id == Identity.account, Account.paused_until > sa.bindparam("now"))
_UNNOTICED = (
    sa.select(Identity.id, Identity.account, Identity.thread, Identity.wrote_at, Conversation.state)
    .join(Conversation, Conversation.identity_id == Identity.id)
    .where(
        Conversation.channel != Channel.WEB,
        sa.or_(_BOT_READS, _AGENT_READS),
        Conversation.last_message_at > sa.bindparam("fresh"),
        Identity.wrote_at.is_not(None),
        sa.or_(Identity.noticed_at.is_(None), Identity.noticed_at < Identity.wrote_at),
        ~_PAUSED,
    )
    .limit(1)
)
_NOTICED = (
    sa.update(Identity)
    .where(
        Identity.id == sa.bindparam("identity"),
        sa.or_(Identity.noticed_at.is_(None), Identity.noticed_at < sa.bindparam("wrote")),
    )
    .values(noticed_at=sa.bindparam("wrote"))
    .returning(Identity.id)
)
_NAMELESS = (
    sa.select(Identity.id, Identity.account, Identity.thread)
    .join(Contact, Contact.id == Identity.contact_id)
    .where(Identity.channel != Channel.WEB, Identity.named_at.is_(None), Contact.name.is_(None), ~_PAUSED)
    .order_by(Identity.id)
    .limit(1)
)
_ASKED = (
    sa.update(Identity)
    .where(Identity.id == sa.bindparam("identity"), Identity.named_at.is_(None))
    .values(named_at=sa.bindparam("now"))
    .returning(Identity.id)
)


@dataclass(frozen=True)
class Guest:
    """Whom to be courteous to. `types`: an answer is being made right now."""

    identity_id: int
    account: str
    thread: str
    types: bool = False


async def notice(services: Services, graph: Graph) -> bool:
    """Shows one customer that their message was seen, and that an answer is on its way.

    Says whether there was one to show it to. Each message is shown as seen at most once.
    """
    guest = await run_in_threadpool(_unnoticed, services)
    if guest is None:
        return False
    for action in ("mark_seen", "typing_on") if guest.types else ("mark_seen",):
        answer = await graph.act(guest.account, guest.thread, action)
        if answer.outcome is not Outcome.SENT:
            log.debug("courtesy.refused", account=guest.account, action=action, detail=answer.detail)
            break
    return True


def _unnoticed(services: Services) -> Guest | None:
    """The bot reads what is due; an agent has read what is in a conversation that they hold."""
    now = services.clock()
    with services.store.read() as session:  # an idle look only reads
        found = session.execute(_UNNOTICED, {"now": now, "fresh": now - FRESH}).first()
    if found is None:
        return None
    identity_id, account, thread, wrote_at, state = found
    # Not durable: what is lost is shown once more.
    with services.store.unit_of_work(durable=False) as session:
        noticed = session.execute(_NOTICED, {"identity": identity_id, "wrote": wrote_at}).first()
    if noticed is None:
        return None  # another process was faster
    return Guest(identity_id, account, thread, types=state is State.BOT)


async def ask_name(services: Services, graph: Graph) -> bool:
    """Asks the channel for one customer's name; says whether there was one to ask for."""
    guest = await run_in_threadpool(_nameless, services)
    if guest is None:
        return False
    answer, name = await graph.name(guest.account, guest.thread)
    await run_in_threadpool(_named, services, guest, answer, name)
    return True


def _nameless(services: Services) -> Guest | None:
    now = services.clock()
    with services.store.read() as session:
        found = session.execute(_NAMELESS, {"now": now}).first()
    if found is None or not services.settings.messenger.token(found.account):
        return None
    with services.store.unit_of_work(durable=False) as session:
        mine = session.execute(_ASKED, {"identity": found.id, "now": now}).first()
    return Guest(found.id, found.account, found.thread) if mine else None


def _named(services: Services, guest: Guest, answer: Answer, name: str) -> None:
    name = name.replace("\0", "").encode("utf-8", "replace").decode()[:NAME_LENGTH]
    if not name:
        log.debug("courtesy.no_name", account=guest.account, detail=answer.detail)
        return
    with services.store.unit_of_work() as session:
        identity = session.get_one(Identity, guest.identity_id)
        conversation = queries.conversation_with(session, identity)
        if identity.contact.name is None:
            identity.contact.name = name
        if conversation:
            live.touched(session, conversation, services.clock())
