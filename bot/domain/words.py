"""The field's words as types. Plain Python 3.10: Rasa's process imports this too."""

from enum import Enum


class Topic(str, Enum):
    """What a shop is asked most; a topic's name is its intent in `data/`."""

    ORDER_STATUS = "order_status"
    SHIPPING_OPTIONS = "shipping_options"
    SHIPPING_COST = "shipping_cost"
    DELIVERY_TIME = "delivery_time"
    RETURN_POLICY = "return_policy"
    REFUND_POLICY = "refund_policy"
    CANCEL_ORDER = "cancel_order"
    CHANGE_ORDER = "change_order"
    PAYMENT_METHODS = "payment_methods"
    INVOICE = "invoice"
    PLACE_ORDER = "place_order"
    STORE_HOURS = "store_hours"
    PRODUCT_AVAILABILITY = "product_availability"


class Remark(str, Enum):
    """What customers say that isn't a topic; also intents in `data/`."""

    GREET = "greet"
    ACK = "ack"  # a bare "ok" or 👍
    THANKS = "thanks"  # "thanks!", without saying that it is settled
    SETTLED = "settled"  # "that's it, thank you", "never mind, I found it"
    NOT_SOLVED = "not_solved"  # "thanks, but it still doesn't work"
    ASK_PERSON = "ask_person"
    ACCOUNT = "account"  # needs this customer's account: charged twice, my address, log-in
    GIVE_DETAILS = "give_details"  # an order number or e-mail and nothing else
    NO_DETAILS = "no_details"  # "I don't have the number"
    OUT_OF_SCOPE = "out_of_scope"


class State(str, Enum):
    """Who answers in a conversation now."""

    BOT = "bot"
    WAITING = "waiting"
    AGENT = "agent"
    CLOSED = "closed"


class Ending(str, Enum):
    """How a conversation closed."""

    SETTLED = "settled"  # its customer said so
    RESOLVED = "resolved"  # an agent did
    SILENT = "silent"  # nobody wrote any more
    MOVED_ON = "moved_on"  # its customer began another matter


class Reason(str, Enum):
    """Why a conversation went to a person. When several hold, the first listed wins."""

    ASKED = "asked"
    EMPATHY = "empathy"
    ACCOUNT = "account"
    LIMIT = "limit"
    UNREADABLE = "unreadable"
    UNSURE = "unsure"
    OUTAGE = "outage"


class Author(str, Enum):
    """Who wrote a message. A note is seen by agents only."""

    CUSTOMER = "customer"
    BOT = "bot"
    AGENT = "agent"
    NOTE = "note"


class Status(str, Enum):
    """How far a message to a customer is. A customer's own message and a note are `sent`."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"  # the channel didn't say; its echo settles it


class Channel(str, Enum):
    """Where a customer writes."""

    WEB = "web"
    MESSENGER = "messenger"
    INSTAGRAM = "instagram"  # direct messages, over Messenger's webhook and Send API


class Button(str, Enum):
    """What a quick-reply button says, whatever its label in the customer's language."""

    SETTLED = "settled"
    PERSON = "person"
    START = "start"  # Messenger's Get Started: a greeting that no word was typed for


def more_pressing(one: Reason, other: Reason) -> Reason:
    """The reason that wins when both hold (DESIGN §2: the one about the customer)."""
    order = list(Reason)
    return min(one, other, key=order.index)
