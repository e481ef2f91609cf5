"""One webhook body of each kind that Meta documents, written by ourselves; every value is invented."""

from typing import Any

from tests.meta import APP, PAGE

CUSTOMER, INBOX = "7392015648120394", 263902037430900
AT = 1793000000000
_FROM = {"sender": {"id": CUSTOMER}, "recipient": {"id": PAGE}, "timestamp": AT}
_TO = {"sender": {"id": PAGE}, "recipient": {"id": CUSTOMER}, "timestamp": AT}


def entry(**parts: Any) -> dict[str, Any]:
    """A body with one entry."""
    return {"object": "page", "entry": [{"id": PAGE, "time": 1793000000340, **parts}]}


def _said(mid: str, **message: Any) -> dict[str, Any]:
    return entry(messaging=[_FROM | {"message": {"mid": mid, **message}}])


def _told(**event: Any) -> dict[str, Any]:
    return entry(messaging=[_FROM | event])


def _attached(kind: str, **payload: Any) -> dict[str, Any]:
    return {"type": kind, "payload": {"url": "https://cdn.invalid/file", **payload}}


EVENTS: dict[str, dict[str, Any]] = {
    "text": _said("m_a1", text="Do you ship to Jeju?"),
    "quick reply": _said("m_a2", text="Talk to a person", quick_reply={"payload": "person"}),
    "reply to": _said("m_a3", text="this one?", reply_to={"mid": "m_a1"}),
    "picture": _said("m_a4", attachments=[_attached("image")]),
    "two files": _said("m_a5", attachments=[_attached("audio"), _attached("file")]),
    "like, old": _said("m_a6", attachments=[_attached("image", sticker_id=369239263222822)]),
    "like, new": _said("m_a7", attachments=[_attached("sticker", sticker_id=369239263222822)]),
    "share": _said("m_a8", attachments=[{"type": "fallback", "title": "A scarf", "url": "https://x.invalid"}]),
    "referral in message": _said("m_a9", text="hi", referral={"ref": "spring", "source": "ADS", "ad_id": "6"}),
    "deleted": _said("m_a10", is_deleted=True),
    "edit": _told(message_edit={"mid": "m_a1", "text": "Do you ship to Busan?", "num_edit": 1}),
    "reaction": _told(reaction={"mid": "m_a1", "action": "react", "emoji": "❤", "reaction": "love"}),
    "no reaction": _told(reaction={"mid": "m_a1", "action": "unreact"}),
    "read": _told(read={"watermark": AT}),
    "delivery": _told(delivery={"mids": ["m_b1"], "watermark": AT}),
    "delivery without ids": _told(delivery={"watermark": AT + 1}),
    "get started": _told(postback={"mid": "m_a11", "title": "Get Started", "payload": "GET_STARTED"}),
    "referral": _told(referral={"ref": "spring", "source": "SHORTLINK", "type": "OPEN_THREAD"}),
    "opt-in": _told(optin={"type": "notification_messages", "payload": "x"}),
    "pass": _told(pass_thread_control={"new_owner_app_id": APP, "previous_owner_app_id": str(INBOX)}),
    "take": _told(take_thread_control={"previous_owner_app_id": APP, "new_owner_app_id": str(INBOX)}),
    "release": _told(release_thread_control={"previous_owner_app_id": str(INBOX)}),
    "request": _told(request_thread_control={"requested_owner_app_id": APP}),
    "feedback": entry(messaging=[{"sender": {"id": CUSTOMER}, "recipient": {"id": PAGE},
                                  "messaging_feedback": {"feedback_screens": [{"screen_id": 0}]}}]),
    "our echo": entry(messaging=[_TO | {"message": {"mid": "m_b1", "is_echo": True, "app_id": int(APP),
                                                    "text": "Yes.", "metadata": "0" * 24}}]),
    "a person's echo": entry(messaging=[_TO | {"message": {"mid": "m_b2", "is_echo": True, "app_id": INBOX,
                                                           "text": "Hi, Anna here."}}]),
    "echo of a picture": entry(messaging=[_TO | {"message": {"mid": "m_b3", "is_echo": True, "app_id": INBOX,
                                                             "attachments": [_attached("image")]}}]),
    "standby": entry(standby=[_FROM | {"message": {"mid": "m_a12", "text": "still there?"}}]),
    "standby postback": entry(standby=[_FROM | {"postback": {"mid": "m_a13", "title": "Get Started"}}]),
    "blocked": entry(messaging=[{"recipient": {"id": PAGE}, "timestamp": AT,
                                 "policy-enforcement": {"action": "block", "reason": "…"}}]),
    "roles": entry(messaging=[{"recipient": {"id": PAGE}, "timestamp": AT, "app_roles": {APP: ["owner"]}}]),
    "comment": entry(changes=[{"field": "feed", "value": {"item": "comment", "verb": "add", "post_id": "1_2",
                                                          "comment_id": "2_3", "message": "price?",
                                                          "from": {"id": CUSTOMER, "name": "Mina"}}}]),
    "label": entry(changes=[{"field": "inbox_labels", "value": {"action": "add", "user": {"id": CUSTOMER}}}]),
    "nothing": entry(),
    "no entry": {"object": "page"},
    "empty": {"object": "page", "entry": []},
    "instagram": {"object": "instagram", "entry": [{"id": "17841400000000001", "time": AT, "messaging": [
        _FROM | {"recipient": {"id": "17841400000000001"}, "message": {"mid": "ig_1", "text": "hi"}}]}]},
    "instagram story": {"object": "instagram", "entry": [{"id": "17841400000000001", "messaging": [
        _FROM | {"recipient": {"id": "17841400000000001"},
                 "message": {"mid": "ig_2", "attachments": [_attached("story_mention")]}}]}]},
    "another object": {"object": "permissions", "entry": [{"id": "1", "changed_fields": ["x"], "time": 1}]},
    "blocked, other spelling": entry(messaging=[{"recipient": {"id": PAGE}, "timestamp": AT + 1,
                                                 "policy_enforcement": {"action": "block"}}]),
    "a question": _told(timestamp=AT + 2000, message={"mid": "m_a14", "text": "return_policy"}),
    "linking": _told(account_linking={"status": "linked"}),
    "a kind that Meta adds next": _told(teleportation={"to": "mars"}),
    "infinity": _told(what={"x": float("inf")}),
    "a novel's length": _told(sender={"id": "7" * 5_000}, message={"mid": "m" * 5_000, "text": "x"}),
    "ids as numbers": {"object": "page", "entry": [{"id": int(PAGE), "messaging": [
        {"sender": {"id": 77}, "recipient": {"id": int(PAGE)}, "timestamp": str(AT),
         "message": {"mid": "m_n", "text": "hi"}}]}]},
    "two entries": {"object": "page", "entry": [
        {"id": PAGE, "messaging": [_FROM | {"message": {"mid": "m_a1", "text": "Do you ship to Jeju?"}}]},
        {"id": PAGE, "messaging": [_FROM | {"sender": {"id": "6120394857203941"},
                                            "message": {"mid": "m_d1", "text": "invoice"}}]}]},
    "one entry, many": entry(messaging=[_FROM | {"message": {"mid": f"m_c{n}", "text": f"{n}"}} for n in range(9)]),
}  # fmt: skip
