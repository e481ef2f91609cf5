"""A bot's reply can't be removed, moved or passed off as somebody else's, which would free its number."""

from alembic import op

revision = "0002"
down_revision = "0001"

SQLITE = """
CREATE TRIGGER message_reply_stays_{when} BEFORE {event} ON message WHEN OLD.author = 'bot'
BEGIN SELECT RAISE(ABORT, 'a reply stays a reply'); END
"""
FUNCTION = """
CREATE FUNCTION message_reply_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'a reply stays a reply' USING ERRCODE = 'integrity_constraint_violation'; END $$
"""
POSTGRESQL = """
CREATE TRIGGER message_reply_stays_{when} BEFORE {event} ON message
FOR EACH ROW WHEN (OLD.author = 'bot') EXECUTE FUNCTION message_reply_stays()
"""
EVENTS = {"put": "UPDATE OF author, reply_no, conversation_id", "there": "DELETE"}


def upgrade() -> None:
    """Two triggers; SQLite and PostgreSQL spell them differently."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        op.execute(FUNCTION)
    for when, event in EVENTS.items():
        op.execute((SQLITE if sqlite else POSTGRESQL).format(when=when, event=event))
