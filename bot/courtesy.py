"""What a good host does beside answering: shows that a message was seen and that somebody types, and
learns the customer's name where the channel tells it. Nothing depends on it; what fails is left."""

from datetime import timedelta

import sqlalchemy as sa
import structlog
from starlette.concurrency import run_in_threadpool

from bot import live
from bot.channels.graph import Answer, Graph, Outcome
from bot.domain.words import Channel, State
from bot.services import Services
from bot.store import rows, search
from bot.store.news import Guest
from bot.store.tables import Account, Contact, Conversation, Identity

NAME_LENGTH = 200
FRESH = timedelta(minutes=10)  # nobody types an answer to an older message
IN_TIME = timedelta(seconds=5)  # after a message; later, its answer may be there already
JUST_NOW = timedelta(seconds=10)
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
    .where(
        Identity.channel != Channel.WEB,
        Identity.named_at.is_(None),
        Contact.name.is_(None),
        sa.or_(Identity.wrote_at.is_(None), Identity.wrote_at < sa.bindparam("just_now")),
        ~_PAUSED,
    )
    .order_by(Identity.id)
    .limit(1)
)
_HERE = rows.table(Identity)
_WHOSE = sa.select(_HERE.c.contact_id).where(_HERE.c.id == sa.bindparam("identity"))
_TALK = (
    sa.select(rows.table(Conversation).c.id)
    .where(
        rows.table(Conversation).c.identity_id == sa.bindparam("identity"),
        rows.table(Conversation).c.state != State.CLOSED,
    )
    .with_for_update(key_share=True)
)
_ASKED = rows.update(Identity, "named_at")
_NAMED = (
    sa.update(rows.table(Contact))
    .where(rows.table(Contact).c.id == sa.bindparam("contact"), rows.table(Contact).c.name.is_(None))
    .values(name=sa.bindparam("given"))
    .returning(rows.table(Contact).c.email)
)


async def greet(services: Services, graph: Graph) -> bool:
    """Shows one customer who waits that the bot reads what they wrote, and learns a new one's name.

    Says whether there was one.
    """
    now = services.clock()
    guest = services.guests.next(now)
    if guest is None:
        return False
    if not guest.is_answered:
        await _show(graph, guest, types=now - guest.wrote_at < IN_TIME)
    if guest.is_nameless and services.settings.messenger.token(guest.account):
        await _learn_name(services, graph, guest)
    return True


async def notice(services: Services, graph: Graph) -> bool:
    """Shows one customer that their message was seen, and that an answer is on its way.

    Says whether there was one to show it to. Each message is shown as seen at most once.
    """
    found = await run_in_threadpool(_unnoticed, services)
    if found is None:
        return False
    guest, types = found
    await _show(graph, guest, types)
    return True


async def _show(graph: Graph, guest: Guest, types: bool) -> None:
    for action in ("mark_seen", "typing_on") if types else ("mark_seen",):
        answer = await graph.act(guest.account, guest.thread, action)
        if answer.outcome is not Outcome.SENT:
            log.debug("courtesy.refused", account=guest.account, action=action, detail=answer.detail)
            return


def _unnoticed(services: Services) -> tuple[Guest, bool] | None:
    """Somebody to show it to, and whether an answer is being made right now.

    The bot reads what is due; an agent has read what is in a conversation that they hold.
    """
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
    return Guest(identity_id, account, thread, wrote_at or now), state is State.BOT


async def ask_name(services: Services, graph: Graph) -> bool:
    """Asks the channel for one customer's name; says whether there was one to ask for."""
    guest = await run_in_threadpool(_nameless, services)
    if guest is None:
        return False
    await _learn_name(services, graph, guest)
    return True


async def _learn_name(services: Services, graph: Graph, guest: Guest) -> None:
    answer, name = await graph.name(guest.account, guest.thread)
    await run_in_threadpool(_named, services, guest, answer, name)


def _nameless(services: Services) -> Guest | None:
    """Whose name nobody has asked for; those who have just written are greeted by whoever filed it."""
    now = services.clock()
    with services.store.read() as session:
        found = session.execute(_NAMELESS, {"now": now, "just_now": now - JUST_NOW}).first()
    if found is None or not services.settings.messenger.token(found.account):
        return None
    return Guest(found.id, found.account, found.thread, now)


def _named(services: Services, guest: Guest, answer: Answer, name: str) -> None:
    """Notes that the channel was asked, and what it told. Asked twice, it tells the same."""
    now = services.clock()
    name = name.replace("\0", "").encode("utf-8", "replace").decode()[:NAME_LENGTH]
    if not name:
        log.debug("courtesy.no_name", account=guest.account, detail=answer.detail)
    its = {"identity": guest.identity_id}
    with services.store.unit_of_work(durable=False) as session:
        conversation_id = session.scalar(_TALK, its)  # locked before anything is changed
        session.execute(_ASKED, {"row": guest.identity_id, "named_at": now})
        contact_id = session.scalar(_WHOSE, its) if name else None
        named = (
            session.execute(_NAMED, {"contact": contact_id, "given": name}).first() if contact_id else None
        )
        if contact_id is None or named is None:
            return
        search.renew(session.connection(), "contact", contact_id, search.who(name, named.email))
        if conversation_id:
            stream = live.stream_of(guest.account, guest.thread)
            live.tell(session, stream, conversation_id, live.Kind.DESK, {}, now)
