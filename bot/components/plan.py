"""Which utterances make up the reply to a turn: a decision in, names of Rasa's actions out.

A reply is one message of one to a few sentences, each a response in `domain.yml`, so that a shop
changes its words without touching code.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.rule import MAX_REPLIES, Action, Context, Decision
from bot.domain.words import State, Topic

AUTOMATED = "utter_automated"  # promise 6: it says that it is a bot, in its first reply
READS_ON = "utter_colleague_reads_on"  # the second reply always says who reads on from here
LOOK_UP = "action_look_up_order"
ANSWERS = {topic: f"utter_{topic.value}" for topic in Topic}
PEOPLE_THERE, PEOPLE_BACK = "utter_people_there", "utter_people_back"

# How far an order is; each has its response in domain.yml.
PROGRESS = (
    "processing",
    "shipped",
    "out_for_delivery",
    "delivered",
    "cancelled",
    "returned",
    "late",
    "other",
)


@dataclass(frozen=True)
class OrderFacts:
    """What the look-up found out, as far as it changes which sentences fit."""

    progress: str = "other"
    carrier: bool = False
    tracking: bool = False
    eta: bool = False


def plan(decision: Decision, context: Context, order: OrderFacts) -> list[str]:
    """The actions that carry a decision out; empty when nothing may be said."""
    if decision.action is Action.LOOK_UP:
        return [LOOK_UP]
    silent = decision.action in (Action.CLOSE, Action.WAIT) or context.replies_used >= MAX_REPLIES
    if silent or context.state is not State.BOT:
        return []
    first = [] if context.disclosed else [AUTOMATED]
    is_last = context.replies_used == MAX_REPLIES - 1 and decision.action is not Action.HAND_OFF
    return [*first, *_body(decision, context, order), *([READS_ON] if is_last else [])]


def _body(decision: Decision, context: Context, order: OrderFacts) -> list[str]:
    if decision.action is Action.HAND_OFF and decision.reason:
        when = PEOPLE_BACK if context.opens_at else PEOPLE_THERE
        return [f"utter_hand_off_{decision.reason.value}", when]
    also = [ANSWERS[topic] for topic in decision.also]
    if decision.action is Action.ASK and decision.detail:
        return [*also, f"utter_ask_{decision.detail.value}"]
    if decision.topic is Topic.ORDER_STATUS:
        return [*of_order(order), *also]
    return [*([ANSWERS[decision.topic]] if decision.topic else []), *also]


def of_order(order: OrderFacts) -> list[str]:
    """How far the order is, then what is known about the way: each fact only if there is one."""
    progress = order.progress if order.progress in PROGRESS else "other"
    sentences = [f"utter_order_{progress}"]
    if progress in ("shipped", "out_for_delivery", "late", "other"):
        sentences += ["utter_order_carrier"] if order.carrier else []
        sentences += ["utter_order_tracking"] if order.tracking else []
    if progress in ("processing", "shipped", "other") and order.eta:
        sentences.append("utter_order_eta")
    return sentences


def in_a_row(sentences: list[str]) -> str:
    """A space after each, unless it ends in a full-width stop: Japanese has none there."""
    spaced = [sentence if sentence.endswith(("。", "！", "？")) else f"{sentence} " for sentence in sentences]
    return "".join(spaced).strip()
