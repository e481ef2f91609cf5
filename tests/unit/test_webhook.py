"""Whatever a signed webhook holds is read without an error, and what comes of it fits the database."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.channels import messenger
from bot.domain.errors import BadInput
from bot.filing import Kind
from bot.inbox import ID_LENGTH
from bot.settings import Messenger
from tests.meta import PAGE
from tests.meta_page import SETTINGS, entry, said

NAMES = [
    "id",
    "mid",
    "text",
    "sender",
    "recipient",
    "timestamp",
    "message",
    "postback",
    "payload",
    "title",
    "quick_reply",
    "attachments",
    "type",
    "url",
    "is_echo",
    "is_deleted",
    "app_id",
    "metadata",
    "message_edit",
    "reaction",
    "action",
    "emoji",
    "delivery",
    "mids",
    "watermark",
    "read",
    "referral",
    "ref",
    "source",
    "pass_thread_control",
    "take_thread_control",
    "new_owner_app_id",
    "policy_enforcement",
    "reason",
    "sticker_id",
    "coordinates",
    "lat",
    "long",
    "standby",
    "messaging",
    "changes",
    "field",
    "value",
]
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["", PAGE, "m_1"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=25,
)
EVENTS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=6)


@settings(max_examples=400, deadline=None)
@given(
    events=st.lists(EVENTS, max_size=3),
    whole=st.booleans(),
    kind=st.sampled_from(["page", "instagram", 7]),
    name=st.sampled_from(["messaging", "standby", "changes"]),
)
def test_anything_that_is_json_is_read(events: list[Any], whole: bool, kind: Any, name: str):
    sides = {"sender": {"id": "7"}, "recipient": {"id": PAGE}}
    full = [event if whole else sides | event for event in events]
    body = {"object": kind, "entry": [{"id": PAGE, name: full}, *events]}
    for found in messenger.parse(SETTINGS, json.dumps(body).encode()):
        stored = json.dumps(found.payload, allow_nan=False) + found.account + found.thread
        assert "\0" not in stored
        stored.encode()
        assert 0 < len(found.external_id) <= ID_LENGTH
        assert len(found.about or "") <= ID_LENGTH
        assert len(found.account) <= 80
        assert len(found.thread) <= 120
        if found.kind in (Kind.MESSAGE, Kind.STANDBY):
            payload = found.payload
            assert payload["text"] or payload["attachments"] or payload["button"], "nothing is lost unseen"


@given(st.binary(max_size=200))
def test_anything_else_is_refused_as_bad_input(body: bytes):
    with suppress(BadInput):
        messenger.parse(SETTINGS, body)


def test_the_same_event_has_the_same_id_however_it_is_batched():
    one, two = said("hi", "m_1"), {"sender": {"id": "7"}, "read": {"watermark": 1}}
    alone = [messenger.parse(SETTINGS, json.dumps(entry(event)).encode())[0] for event in (one, two)]
    together = messenger.parse(SETTINGS, json.dumps(entry(two, one)).encode())
    assert {event.public_id for event in alone} == {event.public_id for event in together}


@pytest.mark.parametrize(
    ("app", "owner"), [("178200000000001", "us"), (178200000000001, "us"), ("9", "other")]
)
def test_an_apps_id_may_be_a_number(app: object, owner: str):
    event = {
        "sender": {"id": "7"},
        "recipient": {"id": PAGE},
        "pass_thread_control": {"new_owner_app_id": app},
    }
    (found,) = messenger.parse(SETTINGS, json.dumps(entry(event)).encode())
    assert found.payload == {"owner": owner}


def test_without_our_apps_id_every_named_app_is_another():
    unknown = Messenger("v", "s", "t", "", "https://graph.invalid")
    event = {
        "sender": {"id": "7"},
        "recipient": {"id": PAGE},
        "pass_thread_control": {"new_owner_app_id": "1"},
    }
    assert messenger.parse(unknown, json.dumps(entry(event)).encode())[0].payload == {"owner": "other"}
