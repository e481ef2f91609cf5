"""One person on all their channels: merging two contacts, splitting a channel off, and undoing either.

A conversation belongs to the contact of its identity, so what is moved is always an identity with all
its conversations. A contact without identities is left behind, empty, for undoing.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from bot import inbox, live
from bot.desk import audit
from bot.domain.errors import BadInput, Conflict, NotAllowed, NotFound
from bot.domain.words import State
from bot.orders import normal_number
from bot.store import queries
from bot.store.desk_tables import ContactNote, Joining
from bot.store.search import matching
from bot.store.tables import Agent, Contact, Conversation, Identity, Order

NOTE_LIMIT = 2_000  # characters
FOUND = 20  # contacts that a search offers


def merge(session: Session, contact_id: int, other_id: int, agent: Agent, now: datetime) -> Joining:
    """Two contacts become the first of them, with the other's channels, notes and, where it has none,
    name and e-mail.

    Raises NotFound, BadInput (the same one) or Conflict (both talk to us on one channel right now).
    """
    inbox.hold_filing(session, (contact_id, other_id))
    kept, gone = _locked(session, contact_id, other_id)
    moved = [one.id for one in gone.identities]
    _check_free(session, moved, kept)
    notes = sa.select(ContactNote.id).where(ContactNote.contact_id == gone.id)
    joining = Joining(
        kind="merge",
        contact_id=kept.id,
        other_id=gone.id,
        agent=agent,
        at=now,
        before={
            "label": gone.name or gone.email,
            "identities": moved,
            "notes": list(session.scalars(notes)),
            "kept": _own(kept),
            "gone": _own(gone),
        },
    )
    session.add(joining)
    _move(session, moved, kept)
    session.execute(
        sa.update(ContactNote).where(ContactNote.contact_id == gone.id).values(contact_id=kept.id)
    )
    kept.name, kept.email = kept.name or gone.name, kept.email or gone.email
    gone.email = None  # the shop's log-in finds the one that stayed
    _note(session, joining, agent, "contact_merge", now)
    _tell(session, kept, now)
    return joining


def split(session: Session, contact_id: int, identity_id: int, agent: Agent, now: datetime) -> Joining:
    """One channel becomes a contact of its own, without a proven e-mail.

    Raises NotFound, or BadInput if it is the only channel.
    """
    inbox.hold_filing(session, (contact_id,))
    contact = session.get(Contact, contact_id, with_for_update=True)
    identity = session.get(Identity, identity_id)
    if contact is None or identity is None or identity.contact_id != contact.id:
        raise NotFound("There is no such customer.")
    if len(contact.identities) < 2:
        raise BadInput("It is the only channel of this customer.")
    fresh = Contact(created_at=now)
    session.add(fresh)
    session.flush()
    joining = Joining(
        kind="split",
        contact_id=contact.id,
        other_id=fresh.id,
        agent=agent,
        at=now,
        before={"label": f"…{identity.thread[-6:]}", "identities": [identity.id]},
    )
    session.add(joining)
    _move(session, [identity.id], fresh)
    _note(session, joining, agent, "contact_split", now)
    _tell(session, contact, now)
    _tell(session, fresh, now)
    return joining


def undo(session: Session, joining_id: int, agent: Agent, now: datetime) -> Joining:
    """Puts a merge or a split back as it was, with what has been said since.

    Raises NotFound, or Conflict where something later is built upon it.
    """
    known = session.get(Joining, joining_id)
    inbox.hold_filing(session, (known.contact_id, known.other_id) if known else ())
    joining = session.get(Joining, joining_id, with_for_update={"of": Joining}, populate_existing=True)
    if joining is None:
        raise NotFound("There is no such customer.")
    stayed, other = _locked(session, joining.contact_id, joining.other_id)
    owner, to = (stayed, other) if joining.kind == "merge" else (other, stayed)
    moved = session.scalars(sa.select(Identity).where(Identity.id.in_(joining.before["identities"]))).all()
    newer = sa.select(Joining.id).where(
        Joining.id > joining.id,
        Joining.undone_at.is_(None),
        sa.or_(Joining.contact_id.in_((stayed.id, other.id)), Joining.other_id.in_((stayed.id, other.id))),
    )
    if joining.undone_at or session.scalar(newer) or any(one.contact_id != owner.id for one in moved):
        raise Conflict("It can't be undone any more: something else was changed since.")
    _check_free(session, joining.before["identities"], to)
    _move(session, joining.before["identities"], to)
    if joining.kind == "merge":
        for contact, before in ((stayed, joining.before["kept"]), (other, joining.before["gone"])):
            contact.name, contact.email = before["name"], before["email"]
        notes = joining.before["notes"]
        session.execute(sa.update(ContactNote).where(ContactNote.id.in_(notes)).values(contact_id=other.id))
    joining.undone_at, joining.undone_by = now, agent.id
    _note(session, joining, agent, "contact_undo", now)
    _tell(session, stayed, now)
    _tell(session, other, now)
    return joining


def add_note(session: Session, contact_id: int, agent: Agent, text: str, now: datetime) -> ContactNote:
    """Keeps something about a customer for all agents. Raises NotFound or BadInput."""
    contact = session.get(Contact, contact_id)
    if contact is None:
        raise NotFound("There is no such customer.")
    text = text.replace("\0", "").strip()
    if not 0 < len(text) <= NOTE_LIMIT:
        raise BadInput("Write 1 to {limit} characters.", limit=str(NOTE_LIMIT))
    note = ContactNote(contact_id=contact.id, agent=agent, text=text, at=now)
    session.add(note)
    _tell(session, contact, now)
    return note


def delete_note(session: Session, note_id: int, agent: Agent, now: datetime) -> None:
    """Deletes a note of one's own. Raises NotFound or NotAllowed."""
    note = session.get(ContactNote, note_id)
    if note is None:
        raise NotFound("There is no such note.")
    if note.agent_id != agent.id:
        raise NotAllowed("This note isn't yours.")
    session.delete(note)
    subject = _newest(session, Conversation.contact_id == note.contact_id)
    audit.note(session, agent, "contact_note_delete", subject, now, before={"customer": note.contact_id})
    _tell(session, session.get_one(Contact, note.contact_id), now)


def find(session: Session, text: str, but: int) -> Sequence[Contact]:
    """Contacts by name, e-mail or the number of an order of theirs; not `but`, nor those left empty."""
    wanted: list[sa.ColumnElement[bool]] = []
    by_name = matching(session, "contact", text)
    if by_name is not None:
        wanted.append(Contact.id.in_(by_name.limit(10 * FOUND)))
    number = normal_number(text)
    if number:
        wanted.append(Contact.email.in_(sa.select(Order.email).where(Order.number == number)))
        given = sa.select(Conversation.contact_id).where(Conversation.order_number == number)
        if session.scalar(sa.select(Order.number).where(Order.number == number)):
            wanted.append(Contact.id.in_(given.limit(FOUND)))
    if not wanted:
        return []
    has_channel = sa.exists().where(Identity.contact_id == Contact.id)
    query = sa.select(Contact).where(sa.or_(*wanted), Contact.id != but, has_channel)
    return session.scalars(query.order_by(Contact.id.desc()).limit(FOUND)).all()


def _locked(session: Session, one: int, other: int) -> tuple[Contact, Contact]:
    """Both contacts, locked in the order of their ids, so that two agents can't wait for each other."""
    if one == other:
        raise BadInput("That is the same customer.")
    query = sa.select(Contact).where(Contact.id.in_((one, other))).order_by(Contact.id).with_for_update()
    found = {contact.id: contact for contact in session.scalars(query)}
    if len(found) < 2:
        raise NotFound("There is no such customer.")
    return found[one], found[other]


def _check_free(session: Session, identity_ids: list[int], to: Contact) -> None:
    """A contact has one open conversation on a channel at most, after identities are moved to it as well."""
    its = sa.or_(Conversation.contact_id == to.id, Conversation.identity_id.in_(identity_ids))
    query = (
        sa.select(Conversation.channel)
        .where(its, Conversation.state != State.CLOSED)
        .group_by(Conversation.channel)
        .having(sa.func.count() > 1)
    )
    both = session.scalar(query)
    if both:
        raise Conflict(
            "Both have an open conversation on {channel}; resolve one first.", channel=both.value.capitalize()
        )


def _move(session: Session, identity_ids: list[int], to: Contact) -> None:
    """Gives identities, and their conversations, to a contact."""
    talks = sa.select(Conversation).where(Conversation.identity_id.in_(identity_ids))
    for conversation in session.scalars(queries.for_update(talks.order_by(Conversation.id))):
        conversation.contact_id = to.id
    with queries.one_open_at_a_time():
        session.flush()
    session.execute(sa.update(Identity).where(Identity.id.in_(identity_ids)).values(contact_id=to.id))
    session.expire_all()


def _own(contact: Contact) -> dict[str, Any]:
    return {"name": contact.name, "email": contact.email}


def _note(session: Session, joining: Joining, agent: Agent, what: str, now: datetime) -> None:
    """Records it at the newest conversation of what was moved; customers are named by number."""
    moved = Conversation.identity_id.in_(joining.before["identities"])
    about = {"kind": joining.kind, "customer": joining.contact_id, "other": joining.other_id}
    audit.note(session, agent, what, _newest(session, moved), now, after=about)


def _newest(session: Session, these: sa.ColumnElement[bool]) -> str:
    """The newest conversation of these, as the audit trail names it."""
    newest = session.scalar(sa.select(sa.func.max(Conversation.id)).where(these))
    return f"#{newest}" if newest else "–"


def _tell(session: Session, contact: Contact, now: datetime) -> None:
    session.flush()
    talks = sa.select(Conversation).where(Conversation.contact_id == contact.id)
    for conversation in session.scalars(talks.order_by(Conversation.id.desc()).limit(5)):
        live.touched(session, conversation, now)
