"""The database's own promises, attacked with plain SQL: no code of ours stands in between."""

import pytest
import sqlalchemy as sa

from bot.store.engine import Store
from tests.support import Shop

NOW = "2026-11-23 12:00:00"


@pytest.fixture
def conversation(shop: Shop) -> int:
    shop.writes("return_policy")
    return shop.conversation().id


def attack(store: Store, statement: str) -> None:
    with pytest.raises(sa.exc.IntegrityError), store.unit_of_work() as session:
        session.execute(sa.text(statement))


def sql(store: Store, statement: str) -> None:
    with store.unit_of_work() as session:
        session.execute(sa.text(statement))


def bot_message(conversation: int, reply_no: str, public_id: str) -> str:
    return (
        "INSERT INTO message (public_id, conversation_id, author, text, attachments, buttons, reply_no,"
        f" account, at, status, attempts) VALUES ('{public_id}', {conversation}, 'bot', 'hi', '[]', '[]',"
        f" {reply_no}, 'web', '{NOW}', 'sent', 0)"
    )


def test_a_third_reply_is_refused(shop: Shop, conversation: int):
    sql(shop.store, bot_message(conversation, "1", "a"))
    sql(shop.store, bot_message(conversation, "2", "b"))
    for number in ("1", "2", "3", "0", "-1", "NULL"):
        attack(shop.store, bot_message(conversation, number, "c"))


def test_a_reply_cannot_be_passed_off_as_somebody_elses(shop: Shop, conversation: int):
    sql(shop.store, bot_message(conversation, "1", "a"))
    attack(shop.store, "UPDATE message SET reply_no = NULL WHERE public_id = 'a'")
    attack(shop.store, "UPDATE message SET author = 'agent' WHERE public_id = 'a'")
    attack(shop.store, "UPDATE message SET author = 'oracle', reply_no = NULL WHERE public_id = 'a'")
    attack(shop.store, "UPDATE message SET author = 'agent', reply_no = NULL WHERE public_id = 'a'")


def test_a_reply_cannot_be_removed_or_moved_away(shop: Shop, conversation: int):
    shop.writes("invoice", who="other")
    other = shop.conversation("other").id
    sql(shop.store, bot_message(conversation, "1", "a"))
    attack(shop.store, "DELETE FROM message WHERE public_id = 'a'")
    attack(shop.store, f"UPDATE message SET conversation_id = {other} WHERE public_id = 'a'")
    attack(shop.store, "UPDATE message SET reply_no = 2 WHERE public_id = 'a'")
    sql(shop.store, "UPDATE message SET status = 'failed' WHERE public_id = 'a'")


def test_a_customers_message_cannot_take_a_reply_number(shop: Shop, conversation: int):
    attack(shop.store, f"UPDATE message SET reply_no = 1 WHERE conversation_id = {conversation}")


def test_an_external_id_is_stored_once_per_account(shop: Shop, conversation: int):
    columns = "public_id, channel, account, external_id, thread, kind, payload, at, received_at"
    insert = f"INSERT INTO inbox ({columns}) SELECT 'x', channel, account, external_id, thread, kind, payload, at, received_at FROM inbox"
    attack(shop.store, insert)
    columns = "public_id, conversation_id, author, text, attachments, buttons, account, external_id, at, status, attempts"
    attack(
        shop.store,
        f"INSERT INTO message ({columns}) SELECT 'x', conversation_id, author, text, attachments, buttons,"
        " account, external_id, at, status, attempts FROM message",
    )


def test_a_contact_has_one_open_conversation_per_channel(shop: Shop, conversation: int):
    copy = (
        "INSERT INTO conversation (contact_id, identity_id, channel, state, opened_at, last_message_at, misses,"
        " lease_no, closed_at) SELECT contact_id, identity_id, channel, '{}', opened_at, last_message_at, 0, 0, {}"
        f" FROM conversation WHERE id = {conversation}"
    )
    for state in ("bot", "waiting", "agent"):
        attack(shop.store, copy.format(state, "NULL"))
    sql(shop.store, copy.format("closed", f"'{NOW}'"))
    sql(shop.store, copy.format("closed", f"'{NOW}'"))


def test_a_conversation_has_one_open_hand_off(shop: Shop, conversation: int):
    insert = "INSERT INTO hand_off (conversation_id, reason, at, ended_at) VALUES ({}, '{}', '{}', {})"
    sql(shop.store, insert.format(conversation, "limit", NOW, f"'{NOW}'"))
    sql(shop.store, insert.format(conversation, "empathy", NOW, "NULL"))
    attack(shop.store, insert.format(conversation, "asked", NOW, "NULL"))
    attack(shop.store, insert.format(conversation, "bored", NOW, f"'{NOW}'"))


def test_a_state_is_one_of_four_and_only_agent_has_a_holder(shop: Shop, conversation: int):
    agent = shop.agent("Anna").id
    attack(shop.store, f"UPDATE conversation SET state = 'asleep' WHERE id = {conversation}")
    attack(shop.store, f"UPDATE conversation SET agent_id = {agent} WHERE id = {conversation}")
    attack(shop.store, f"UPDATE conversation SET state = 'closed' WHERE id = {conversation}")
    attack(shop.store, f"UPDATE conversation SET closed_at = '{NOW}' WHERE id = {conversation}")


def test_nothing_refers_to_what_is_not_there(shop: Shop, conversation: int):
    attack(shop.store, bot_message(conversation + 1000, "1", "a"))
    attack(shop.store, f"DELETE FROM conversation WHERE id = {conversation}")


def test_the_models_and_the_migrations_agree(store: Store):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from bot.store.tables import Table

    def is_modelled(_thing: object, name: str | None, kind: str, *_: object) -> bool:
        return not (kind == "table" and str(name).startswith("found_"))  # the search index: bot.store.search

    with store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_modelled})
        assert compare_metadata(context, Table.metadata) == []


def test_migrating_twice_changes_nothing(store: Store):
    store.migrate()
