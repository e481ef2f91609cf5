"""What one process has counted since it began, for Prometheus. No label holds a customer's data."""

from prometheus_client import Counter, Histogram

TURN_SECONDS = Histogram(
    "reply_twice_turn_seconds",
    "From a worker's claim of a turn until it was settled",
    ["action"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60),
)
HAND_OVERS = Counter("reply_twice_hand_overs", "Conversations handed to a person by the bot", ["reason"])
THIRD_REPLIES = Counter("reply_twice_refused_third_replies", "Third replies that were proposed and not sent")
TURN_TROUBLE = Counter(
    "reply_twice_turn_trouble", "Turns that were not settled at once", ["how"]
)  # how: stale, postponed, lease_lost, failed, given_up
COMMENTS = Counter(
    "reply_twice_unanswered_comments",
    "Public comments that were kept: people answer them at Meta",
    ["account"],
)
