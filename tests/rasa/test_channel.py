import gc
import unittest
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rasa.engine.constants import PLACEHOLDER_MESSAGE
from rasa.shared.nlu.training_data.message import Message

from bot.components import language
from bot.components.channel import MAX_CHARS, Collected, Incoming, buttons, joined, plain, settle_in
from bot.domain.rule import Context


def response(action: str, text: str, *payloads: str) -> dict[str, object]:
    offered = [{"title": payload.strip("/"), "payload": payload} for payload in payloads]
    return {"utter_action": action, "text": text, "buttons": offered}


class Requests(unittest.TestCase):
    def test_typed_commands_are_plain_text(self) -> None:
        assert plain("/restart") == "restart"
        assert plain(" //greet ") == "greet"

    def test_a_very_long_text_is_read_up_to_a_bound(self) -> None:
        assert len(plain("a" * 100_000)) == MAX_CHARS

    def test_a_turn_without_text_has_nothing_read(self) -> None:
        message = Incoming.from_body({"turn": "7", "text": " / ", "metadata": {"attachment": True}}).message(
            Collected()
        )
        assert message.parse_data["intent"]["name"] is None

    def test_the_context_travels_as_it_was_sent(self) -> None:
        context = Context(replies_used=1, email="mina@example.com").to_json()
        message = Incoming.from_body({"turn": "7", "text": "hi", "metadata": context}).message(Collected())
        assert Context.from_json(message.metadata["context"]) == Context.from_json(context)

    def test_what_cannot_be_read_is_refused_with_the_reason(self) -> None:
        for body, word in (
            (None, "object"),
            ([], "object"),
            ({"text": "hi"}, "`turn`"),
            ({"turn": ""}, "`turn`"),
            ({"turn": 7}, "`turn`"),
            ({"turn": "7", "text": None}, "`text`"),
            ({"turn": "7", "metadata": []}, "`metadata`"),
            ({"turn": "7", "metadata": {"state": "asleep"}}, "asleep"),
            ({"turn": "7", "metadata": {"replies_used": "two"}}, "replies_used"),
            ({"turn": "7", "metadata": {"opens_at": "soon"}}, "soon"),
            ({"turn": "7", "metadata": {"language": ["ko"]}}, "language"),
        ):
            with self.subTest(body), self.assertRaisesRegex(ValueError, word):
                Incoming.from_body(body)


class Model:
    """As Rasa's processor, its archive gone, and its graph: finds nothing in a text."""

    model_path = Path("gone.tar.gz")
    model_metadata = SimpleNamespace(nlu_target="reading")

    def __init__(self) -> None:
        self.graph_runner, self.read = self, list[str]()

    def run(self, inputs: dict[str, Any], targets: list[str]) -> dict[str, Any]:
        self.read += [message.text for message in inputs[PLACEHOLDER_MESSAGE]]
        return {target: [Message.build(self.read[-1])] for target in targets}


class Starts(unittest.TestCase):
    def test_the_first_customer_waits_for_nothing_to_be_loaded(self) -> None:
        self.addCleanup(gc.unfreeze)
        model = Model()
        settle_in(SimpleNamespace(processor=model))
        assert model.read
        assert language._identifier.cache_info().currsize == 1
        assert gc.get_freeze_count() > 10_000  # looked through no more


class Replies(unittest.TestCase):
    def test_the_sentences_of_a_turn_are_one_message(self) -> None:
        said = [
            response("utter_automated", "I am a bot."),
            response("utter_order_shipped", "It is on its way."),
            response("utter_order_eta", "It comes on Monday."),
            response("utter_colleague_reads_on", "Anna reads on."),
        ]
        assert joined(said) == "I am a bot.\n\nIt is on its way. It comes on Monday.\n\nAnna reads on."
        assert joined([]) == ""

    def test_japanese_sentences_stand_without_a_space(self) -> None:
        said = [response("utter_order_carrier", "DHLです。"), response("utter_order_eta", "月曜日です。")]
        assert joined(said) == "DHLです。月曜日です。"

    def test_each_button_is_offered_once(self) -> None:
        said = [response("utter_a", "A", "/settled", "/ask_person"), response("utter_b", "B", "/ask_person")]
        assert [b["button"] for b in buttons(said)] == ["settled", "person"]


if __name__ == "__main__":
    unittest.main()
