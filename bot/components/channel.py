"""How the bot process talks to Rasa: one turn in, one proposal out.

`POST /webhooks/turn/webhook` takes `{"turn", "text", "metadata"}`: an id for this try of the turn,
what the customer wrote (may be empty) and `Context.to_json()`. It answers with the fields of
`bot.domain.rule.Proposal`. For agents, who are only advised, `…/read` takes `{"text"}` and answers
`{"topics": [{"name", "confidence"}], "language"}`, and `…/encode` takes `{"texts"}` and answers
`{"vectors"}`, of length 1 each. `GET /webhooks/turn/ready` answers 200 once the model is loaded, else 503.
"""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from rasa.core.agent import Agent
from rasa.core.channels.channel import CollectingOutputChannel, InputChannel, UserMessage
from sanic import Blueprint, Sanic
from sanic.exceptions import InvalidUsage
from sanic.request import Request
from sanic.response import HTTPResponse, json

from bot.components.featurizer import encoded
from bot.components.language import language_of
from bot.components.plan import ANSWERS, AUTOMATED, READS_ON, in_a_row
from bot.components.taking import NOTHING_READ, Together, read_text, take
from bot.components.times import spoken
from bot.components.turns import CONTEXT
from bot.domain.rule import Context
from bot.domain.words import Button

MAX_CHARS = 5_000  # a longer text is read up to here
MAX_TEXTS = 200  # to encode at a time: half a second
_OWN_PARAGRAPH = (AUTOMATED, READS_ON)
_BUTTONS = {"/settled": Button.SETTLED, "/ask_person": Button.PERSON}  # the payloads in domain.yml
_FIRST = "Où est ma commande 10023 ?"  # not English, and a number: wants all there is to load

Handler = Callable[[UserMessage], Awaitable[Any]]


@dataclass(frozen=True)
class Incoming:
    """A turn as it came in."""

    turn: str
    text: str
    context: dict[str, Any]

    @classmethod
    def from_body(cls, body: Any) -> Incoming:
        """Raises ValueError with what is wrong, for whoever sent it."""
        if not isinstance(body, dict):
            raise ValueError("The body must be a JSON object.")
        turn, text, context = body.get("turn"), body.get("text", ""), body.get("metadata", {})
        if not isinstance(turn, str) or not turn:
            raise ValueError("`turn` must be a string that isn't empty.")
        if not isinstance(text, str):
            raise ValueError("`text` must be a string.")
        if not isinstance(context, dict):
            raise ValueError("`metadata` must be an object.")
        _check(context)
        return cls(turn, plain(text), context)

    def message(self, output: CollectingOutputChannel) -> UserMessage:
        """For Rasa. There is nothing to read in an empty text (only a picture or a button)."""
        return UserMessage(
            self.text,
            output,
            self.turn,
            parse_data=None if self.text else NOTHING_READ,
            input_channel=TurnInput.name(),
            metadata={CONTEXT: self.context},
        )


def _check(context: dict[str, Any]) -> None:
    """What the rule counts and the times it tells must be what they say they are."""
    try:
        read = Context.from_json(context)
        spoken(read.opens_at, "en")
    except (TypeError, ValueError) as error:
        raise ValueError(f"`metadata`: {error}.") from None
    if not isinstance(read.language, (str, type(None))):
        raise ValueError("`metadata`: `language` must be a string.")
    for name in ("replies_used", "misses"):
        if type(getattr(read, name)) is not int:
            raise ValueError(f"`metadata`: `{name}` must be a whole number.")


def plain(text: str) -> str:
    """What a customer wrote, never a command: Rasa runs "/intent" as that intent, with certainty."""
    return text[:MAX_CHARS].lstrip("/ \t\r\n").rstrip()


class Collected(CollectingOutputChannel):
    """Keeps the responses of one turn whole, with the names of their utterances."""

    async def send_response(self, recipient_id: str, message: dict[str, Any]) -> None:
        """Called by Rasa for each response."""
        self.messages.append(message)


def joined(messages: list[dict[str, Any]]) -> str:
    """The one message that the responses make: sentences, with what frames them set apart."""
    paragraphs: list[list[str]] = [[]]
    for message in messages:
        text = message["text"].strip()
        if message.get("utter_action") in _OWN_PARAGRAPH:
            paragraphs += [[text], []]
        elif message.get("utter_action") in ANSWERS.values():
            paragraphs.append([text])  # two questions, two answers
        else:
            paragraphs[-1].append(text)
    return "\n\n".join(in_a_row(sentences) for sentences in paragraphs if sentences)


def buttons(messages: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Every button once, as the bot process knows it."""
    offered = {b["payload"]: b["title"] for message in messages for b in message.get("buttons") or ()}
    return [{"title": title, "button": _BUTTONS[payload].value} for payload, title in offered.items()]


class TurnInput(InputChannel):
    """Registered in `credentials.yml`."""

    @classmethod
    def name(cls) -> str:
        """The `turn` in `/webhooks/turn/`."""
        return "turn"

    def blueprint(self, on_new_message: Handler) -> Blueprint:
        """Called by Rasa as its server starts."""
        routes, together = Blueprint("turn_webhook"), Together()

        @routes.listener("after_server_start")
        async def started(app: Sanic, _loop: Any) -> None:
            if app.ctx.agent.is_ready():
                settle_in(app.ctx.agent)

        @routes.get("/ready")
        async def ready(request: Request) -> HTTPResponse:
            is_ready = request.app.ctx.agent is not None and request.app.ctx.agent.is_ready()
            return json({"ready": is_ready}, status=200 if is_ready else 503)

        @routes.post("/webhook")
        async def receive(request: Request) -> HTTPResponse:
            try:
                incoming = Incoming.from_body(request.json)
            except (ValueError, InvalidUsage) as error:
                return json({"error": str(error)}, status=400)
            agent = request.app.ctx.agent
            if agent is None or not agent.is_ready():
                return json({"error": "The model isn't loaded yet."}, status=503)
            message = incoming.message(Collected())
            if message.parse_data is None:
                message.parse_data = await together.read(message.text, agent.processor)
            decision = await take(message, agent)
            if decision is None:
                return json({"error": "The turn couldn't be decided; see Rasa's log."}, status=500)
            said = message.output_channel.messages
            return json({**decision, "text": joined(said), "buttons": buttons(said)})

        @routes.post("/read")
        async def read(request: Request) -> HTTPResponse:
            text = (request.json or {}).get("text")
            agent = request.app.ctx.agent
            if not isinstance(text, str) or not plain(text):
                return json({"error": "`text` must be a string that isn't empty."}, status=400)
            if agent is None or not agent.is_ready():
                return json({"error": "The model isn't loaded yet."}, status=503)
            parsed = read_text(plain(text), agent.processor)
            topics = [{"name": i["name"], "confidence": i["confidence"]} for i in parsed["intent_ranking"]]
            return json({"topics": topics, "language": language_of(text)})

        @routes.post("/encode")
        async def encode(request: Request) -> HTTPResponse:
            texts = (request.json or {}).get("texts")
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                return json({"error": "`texts` must be a list of strings."}, status=400)
            vectors = encoded([text[:MAX_CHARS] for text in texts[:MAX_TEXTS]]) if texts else None
            return json({"vectors": [] if vectors is None else vectors.round(5).tolist()})

        return routes


def settle_in(agent: Agent) -> None:
    """Before the first customer: loads what is loaded with a first message, which takes a second and more.

    Then what is loaded, half a million objects, is told to the garbage collector as here to stay: it would
    look through all of them now and then, in the middle of an answer.
    """
    read_text(_FIRST, agent.processor)
    language_of(_FIRST)
    gc.collect()
    gc.freeze()
