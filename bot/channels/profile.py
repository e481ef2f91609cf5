"""The Get Started button, the greeting and the ice breakers: what a customer sees before they write.

Source: Meta's Messenger Profile API. A greeting has at most 160 characters, there are at most four ice
breakers, `default` is required, and a Page may be called 10 times in 10 minutes.
"""

from pathlib import Path
from typing import Any

import yaml

from bot.channels.graph import Graph, Outcome
from bot.domain.errors import BadInput, ReplyTwiceError, SettingError
from bot.settings import Settings

FILE = Path(__file__).resolve().parent / "profile.yml"
GREETING_LIMIT, QUESTION_LIMIT, QUESTIONS = 160, 80, 4
FIELDS = (  # what we handle of the webhook's fields
    "messages",
    "messaging_postbacks",
    "messaging_referrals",
    "messaging_handovers",
    "messaging_feedback",
    "messaging_policy_enforcement",
    "message_echoes",
    "message_edits",
    "message_reactions",
    "message_reads",
    "message_deliveries",
    "standby",
)


class NotSetUp(ReplyTwiceError):
    """Meta refused; the text says for which account and why."""


def read(path: Path, shop: str) -> dict[str, Any]:
    """The profile as Meta takes it. Raises BadInput with what is wrong with the file."""
    try:
        locales = yaml.safe_load(path.read_text(encoding="utf-8"))
        greeting = [
            {"locale": str(name), "text": str(one["greeting"]).replace("{shop}", shop)}
            for name, one in locales.items()
        ]
        breakers = [
            {"locale": str(name), "call_to_actions": [_question(q) for q in one["questions"]]}
            for name, one in locales.items()
        ]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path.name}: can't be read ({type(error).__name__}: {error}).") from None
    for one in greeting:
        if not 0 < len(one["text"]) <= GREETING_LIMIT:
            raise BadInput(f"{path.name}: {one['locale']}: a greeting has 1 to {GREETING_LIMIT} characters.")
    for locale in breakers:
        if not 0 < len(locale["call_to_actions"]) <= QUESTIONS:
            raise BadInput(f"{path.name}: {locale['locale']}: write 1 to {QUESTIONS} questions.")
    if "default" not in locales:
        raise BadInput(f"{path.name}: the locale 'default' is missing.")
    return {"get_started": {"payload": "GET_STARTED"}, "greeting": greeting, "ice_breakers": breakers}


def _question(entry: dict[str, Any]) -> dict[str, str]:
    text = str(entry["text"])
    if not 0 < len(text) <= QUESTION_LIMIT:
        raise TypeError(f"a question has 1 to {QUESTION_LIMIT} characters")
    return {"question": text, "payload": "HANDOFF_REQUEST" if entry.get("person") else "ICE_BREAKER"}


def accounts(settings: Settings) -> list[str]:
    """Every account that the settings name a token for; "" is the one of MESSENGER_PAGE_TOKEN alone."""
    named = [account for account, _ in settings.messenger.tokens]
    return named + ([""] if settings.messenger.page_token else [])


async def set_up(settings: Settings, graph: Graph, path: Path = FILE) -> list[str]:
    """Sends the profile and subscribes each Page to the webhook's fields; returns a line for each account.

    Doing it again changes nothing. Raises BadInput for the file, SettingError if there is no token, and
    NotSetUp.
    """
    profile = read(path, settings.shop_name)
    found = accounts(settings)
    if not found:
        raise SettingError("MESSENGER_PAGE_TOKEN is missing: Meta takes no profile without it.")
    for account in found:
        if account.startswith("instagram:"):
            body = {"platform": "instagram", "ice_breakers": profile["ice_breakers"]}
            await _post(graph, account, "/me/messenger_profile", body)
        else:
            await _post(graph, account, "/me/messenger_profile", profile)
            await _post(graph, account, "/me/subscribed_apps", {"subscribed_fields": ",".join(FIELDS)})
    return [f"{account or 'The Page of MESSENGER_PAGE_TOKEN'} is set up." for account in found]


async def _post(graph: Graph, account: str, path: str, body: dict[str, Any]) -> None:
    answer, data = await graph.call(account, "POST", path, body)
    if answer.outcome is Outcome.SENT and data.get("result", "success") == "success":
        return
    said = (data.get("error") or {}).get("message") if isinstance(data.get("error"), dict) else ""
    detail = answer.detail or str(data.get("result", ""))[:100]
    account = account or "The Page of MESSENGER_PAGE_TOKEN"
    raise NotSetUp(f"{account}: {path} was not done: {detail} {said or ''}".strip() + ". Try `doctor`.")
