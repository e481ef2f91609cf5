"""The two-reply rule: what the bot does with one turn, and what it may never do.

`decide` runs inside Rasa's policy and proposes. `last_word` runs in the bot process on what came
back and has the last word before the database, which refuses a third reply whatever this says.
Both are plain functions on plain data. Plain Python 3.10: Rasa's process imports this too.

The rule is Jay Baer's "never reply more than twice" (Hug Your Haters, 2016), as DESIGN §2 has it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from enum import Enum
from typing import Any

from bot.domain.words import Button, Reason, Remark, State, Topic

MAX_REPLIES = 2
CARRIED_OUT = (Topic.CANCEL_ORDER, Topic.CHANGE_ORDER)  # with the order named, more than a question


class Action(str, Enum):
    """What the bot does with a turn."""

    ANSWER = "answer"
    ASK = "ask"
    HAND_OFF = "hand_off"
    CLOSE = "close"
    WAIT = "wait"  # say nothing yet: more is coming
    LOOK_UP = "look_up"  # inside Rasa only: the order is needed before deciding


class Found(str, Enum):
    """What the order look-up came back with."""

    FOUND = "found"
    NOT_FOUND = "not_found"  # which of number and e-mail was wrong isn't told
    UNCLEAR = "unclear"  # a known customer with several orders, and no number
    FAILED = "failed"


class Detail(str, Enum):
    """What a question back asks for."""

    MATTER = "matter"  # after a bare greeting
    ORDER = "order"  # number and e-mail
    NUMBER = "number"
    EMAIL = "email"
    AGAIN = "again"  # what was given could not be read or found


@dataclass(frozen=True)
class Context:
    """What a turn brings with it: the conversation so far, from the bot process to Rasa."""

    replies_used: int = 0
    state: State = State.BOT
    public: bool = False
    answered: Topic | None = None  # the topic answered last in this conversation
    asked_for: Detail | None = None  # what the bot's open question asked for
    misses: int = 0  # times that asked-for details could not be read or found
    order_number: str | None = None  # given earlier in this conversation
    email: str | None = None
    verified_email: str | None = None  # a known customer
    language: str | None = None  # of what the customer wrote before
    disclosed: bool = False  # has said that it is a bot, and nobody else has spoken since
    attachment: bool = False  # a picture, voice or file is part of the turn
    pressed: Button | None = None
    quiet: bool = False  # a bare greeting has waited long enough
    opens_at: str | None = None  # ISO local time when people are back; None: they are there now

    def to_json(self) -> dict[str, Any]:
        """As Rasa's message metadata."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Context:
        """Reads what `to_json` wrote; unknown keys are ignored.

        Raises ValueError for a word that isn't one of ours.
        """
        known = {f.name: data[f.name] for f in fields(cls) if data.get(f.name) is not None}
        kinds = {"state": State, "answered": Topic, "asked_for": Detail, "pressed": Button}
        for name, kind in kinds.items():
            if name in known:
                known[name] = kind(known[name])
        return cls(**known)


@dataclass(frozen=True)
class Reading:
    """What Rasa read in the turn's text."""

    intent: Topic | Remark | None = None  # None: not sure enough
    confidence: float = 0.0  # of the most likely intent, 0 to 1
    upset: bool = False
    readable: bool = True  # a language that the bot speaks
    order_number: str | None = None
    email: str | None = None
    found: Found | None = None  # set once the look-up ran
    missing: bool = False  # the customer says that nothing has arrived
    delivered: bool = False  # … of what they say is told to be delivered, or the look-up says so
    topics: tuple[Topic, ...] = ()  # further questions in the same message


@dataclass(frozen=True)
class Decision:
    """What to do, before it is put into words."""

    action: Action
    topic: Topic | None = None
    reason: Reason | None = None
    detail: Detail | None = None
    also: tuple[Topic, ...] = ()  # further questions, answered in the same reply


@dataclass(frozen=True)
class Proposal:
    """What came back from Rasa: a decision, its words and what was read."""

    action: Action
    text: str = ""
    topic: Topic | None = None
    reason: Reason | None = None
    detail: Detail | None = None
    confidence: float = 0.0
    language: str = "en"
    buttons: tuple[tuple[str, Button], ...] = ()
    order_number: str | None = None
    email: str | None = None
    settled: bool = False  # the customer said in so many words that it is settled
    tone: str | None = None  # `calm` or `upset`; None: not read
    words: str | None = None  # of the customer's, that lead to a hand-off; None: no particular ones

    @property
    def is_miss(self) -> bool:
        """Whether details were given that could not be read or found."""
        return self.detail is Detail.AGAIN

    @property
    def speaks(self) -> bool:
        """Whether there is anything to send."""
        return bool(self.text.strip())


def decide(reading: Reading, context: Context) -> Decision:
    """What to do with a turn, the first rule that holds (DESIGN §2)."""
    for rule in (_person_first, _settled, _to_carry_out, _limit, _unanswerable, _details, _topic):
        decision = rule(reading, context)
        if decision:
            return decision
    return hand_off(Reason.UNSURE, reading)


def hand_off(reason: Reason, reading: Reading) -> Decision:
    """To a person, with the question noted for them."""
    asked = _questions(reading)
    return Decision(Action.HAND_OFF, topic=asked[0] if asked else None, reason=reason)


def _questions(reading: Reading) -> tuple[Topic, ...]:
    """Every topic of a message; an order's status first, since it may take a question back."""
    topics = ((reading.intent,) if isinstance(reading.intent, Topic) else ()) + reading.topics
    return tuple(sorted(topics, key=lambda topic: topic is not Topic.ORDER_STATUS))


def _person_first(reading: Reading, context: Context) -> Decision | None:
    """People get people: whoever asks for one, is upset, or needs their account."""
    if context.pressed is Button.PERSON or reading.intent is Remark.ASK_PERSON:
        return hand_off(Reason.ASKED, reading)
    if context.pressed is Button.SETTLED:
        return None
    if reading.upset or reading.intent is Remark.NOT_SOLVED:
        return hand_off(Reason.EMPATHY, reading)
    if reading.missing and reading.delivered:  # "it was delivered" is what they have read already
        return Decision(Action.HAND_OFF, Topic.ORDER_STATUS, Reason.ACCOUNT)
    if reading.intent in (Remark.ACCOUNT, Remark.NO_DETAILS):
        return hand_off(Reason.ACCOUNT, reading)
    return None


def _settled(reading: Reading, context: Context) -> Decision | None:
    """Closing by the customer gets no reply; a bare "ok" closes only after an answer."""
    if context.attachment:
        return None
    if context.pressed is Button.SETTLED or reading.intent is Remark.SETTLED:
        return Decision(Action.CLOSE)
    if reading.intent in (Remark.ACK, Remark.THANKS):
        after_answer = context.answered and not context.asked_for
        return Decision(Action.CLOSE if after_answer else Action.WAIT)
    return None


def _to_carry_out(reading: Reading, context: Context) -> Decision | None:
    """Who names the order that is to be cancelled or changed doesn't ask how it is done."""
    asked = next((topic for topic in _answerable(reading) if topic in CARRIED_OUT), None)
    named = reading.email or (context.verified_email and reading.order_number)
    if reading.intent is Remark.GIVE_DETAILS and not context.asked_for and context.answered in CARRIED_OUT:
        asked, named = context.answered, reading.order_number or reading.email
    return Decision(Action.HAND_OFF, asked, Reason.ACCOUNT) if asked and named else None


def _limit(reading: Reading, context: Context) -> Decision | None:
    """Two replies are spent: a person reads on, and the bot says nothing."""
    return hand_off(Reason.LIMIT, reading) if context.replies_used >= MAX_REPLIES else None


def _unanswerable(reading: Reading, context: Context) -> Decision | None:
    if context.attachment or not reading.readable:
        return hand_off(Reason.UNREADABLE, reading)
    return None


def _details(reading: Reading, context: Context) -> Decision | None:
    """What a question back asked for, and what an order's status takes."""
    gave = bool(reading.order_number or reading.email)
    started = context.pressed is Button.START and reading.intent is None and not gave
    if reading.intent is Remark.GREET or started:
        return Decision(Action.ASK, detail=Detail.MATTER) if context.quiet else Decision(Action.WAIT)
    awaited = context.asked_for not in (None, Detail.MATTER)
    asks = Topic.ORDER_STATUS in _answerable(reading)
    if not (asks or (gave and (awaited or reading.intent is Remark.GIVE_DETAILS))):
        return _again(context) if awaited and reading.intent is None else None
    if context.public:
        return hand_off(Reason.ACCOUNT, reading)  # account details are never asked for in public
    if awaited and not gave:
        return _again(context)
    return _order_status(reading, context)


def _order_status(reading: Reading, context: Context) -> Decision:
    """A known customer gives the number or, where it is plain, nothing; others number and e-mail."""
    decision = _of_order(reading, context)
    also = tuple(topic for topic in _answerable(reading) if topic is not Topic.ORDER_STATUS)
    return decision if decision.action is Action.HAND_OFF else replace(decision, also=also)


def _of_order(reading: Reading, context: Context) -> Decision:
    number = reading.order_number or context.order_number
    if context.answered is Topic.ORDER_STATUS and number == context.order_number:
        return Decision(Action.HAND_OFF, Topic.ORDER_STATUS, Reason.ACCOUNT)  # all we know has been told
    email = reading.email or context.email or context.verified_email
    if reading.found is None:
        if email and (number or context.verified_email):
            return Decision(Action.LOOK_UP, Topic.ORDER_STATUS)
        missing = Detail.NUMBER if email else Detail.EMAIL if number else Detail.ORDER
        return Decision(Action.ASK, Topic.ORDER_STATUS, detail=missing)
    if reading.found is Found.FOUND:
        return Decision(Action.ANSWER, Topic.ORDER_STATUS)
    if reading.found is Found.UNCLEAR:
        return Decision(Action.ASK, Topic.ORDER_STATUS, detail=Detail.NUMBER)
    if reading.found is Found.FAILED:
        return Decision(Action.HAND_OFF, Topic.ORDER_STATUS, Reason.OUTAGE)
    return _again(context)


def _again(context: Context) -> Decision:
    """Details that can't be read or found are asked for once more; then a person looks."""
    if context.misses == 0:
        return Decision(Action.ASK, Topic.ORDER_STATUS, detail=Detail.AGAIN)
    return Decision(Action.HAND_OFF, Topic.ORDER_STATUS, Reason.ACCOUNT)


def _topic(reading: Reading, context: Context) -> Decision | None:
    """Two questions are both answered in one reply."""
    topics = _answerable(reading)
    return Decision(Action.ANSWER, topics[0], also=topics[1:]) if topics else None


def _answerable(reading: Reading) -> tuple[Topic, ...]:
    return _questions(reading) if isinstance(reading.intent, Topic) else ()


@dataclass(frozen=True)
class Effect:
    """What a turn does to the conversation; carried out in one transaction."""

    state: State
    reply: str = ""
    reply_no: int | None = None
    hand_off: Reason | None = None  # opens one, or makes an open one more pressing
    reopen: bool = False  # the turn moves to a new conversation and is decided anew there
    wait: bool = False  # leave the turn open: more is coming
    buttons: tuple[tuple[str, Button], ...] = ()


def last_word(proposal: Proposal, context: Context, new_topic_closes: bool = False) -> Effect:
    """What really happens, whatever Rasa proposed.

    `new_topic_closes` (a setting) takes a sure question on another topic after an answered one as
    acceptance: the old conversation closes and a new one opens.
    """
    if context.state in (State.AGENT, State.CLOSED):
        return Effect(context.state)  # one voice at a time
    if context.state is State.WAITING:
        return _while_waiting(proposal)
    if proposal.action is Action.CLOSE:
        return Effect(State.CLOSED)
    if proposal.action is Action.WAIT:
        return Effect(State.BOT, wait=True)
    if new_topic_closes and _moves_on(proposal, context):
        return Effect(State.CLOSED, reopen=True)
    may_speak = proposal.speaks and context.replies_used < MAX_REPLIES
    reason = proposal.reason if proposal.action is Action.HAND_OFF else None
    if reason is None and not may_speak:  # nothing may be said, or nothing came to say
        reason = Reason.LIMIT if context.replies_used >= MAX_REPLIES else Reason.UNSURE
    return Effect(
        State.WAITING if reason else State.BOT,
        reply=proposal.text.strip() if may_speak else "",
        reply_no=context.replies_used + 1 if may_speak else None,
        hand_off=reason,
        buttons=proposal.buttons if may_speak else (),
    )


def _moves_on(proposal: Proposal, context: Context) -> bool:
    """A sure question on another topic after an answered one: the first is taken as settled."""
    would_answer = proposal.action in (Action.ANSWER, Action.ASK) or proposal.reason is Reason.LIMIT
    return (
        would_answer and None not in (context.answered, proposal.topic) and proposal.topic != context.answered
    )


def _while_waiting(proposal: Proposal) -> Effect:
    """The bot is silent, but a closing word closes, and a pressing reason moves up."""
    if proposal.action is Action.CLOSE and proposal.settled:
        return Effect(State.CLOSED)
    about_customer = (Reason.ASKED, Reason.EMPATHY, Reason.ACCOUNT)
    reason = proposal.reason if proposal.reason in about_customer else None
    return Effect(State.WAITING, hand_off=reason)
