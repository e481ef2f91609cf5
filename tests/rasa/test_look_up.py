import unittest
from typing import Any

from aiohttp import web
from rasa.shared.core.events import UserUttered
from rasa.utils.endpoints import EndpointConfig

from bot.components.look_up import facts_for
from bot.components.turns import CONTEXT, FACTS, script, turns_of
from bot.domain.rule import Context

FOUND = [
    {"event": "slot", "name": "found", "value": "found"},
    {"event": "slot", "name": "progress", "value": "shipped"},
    {"event": "slot", "name": "number", "value": "10023"},
]


def asks(intent: str = "order_status", **entities: str) -> UserUttered:
    found = [{"entity": name, "value": value} for name, value in entities.items()]
    metadata = {CONTEXT: Context().to_json()}
    return UserUttered("Where is it?", {"name": intent, "confidence": 0.9}, found, metadata=metadata)


WITH_DETAILS = {"order_number": "10023", "email": "a@b.example"}


class LookUps(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.answer: Any = {"events": FOUND, "responses": []}
        self.status = 200

        async def act(request: web.Request) -> web.Response:
            self.calls.append(await request.json())
            return web.json_response(self.answer, status=self.status)

        app = web.Application()
        app.router.add_post("/webhook", act)
        self.server = web.AppRunner(app)
        await self.server.setup()
        site = web.TCPSite(self.server, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        self.endpoint = EndpointConfig(f"http://127.0.0.1:{port}/webhook")

    async def asyncTearDown(self) -> None:
        await self.server.cleanup()

    async def test_the_facts_travel_with_the_message_and_the_answer_needs_no_action(self) -> None:
        message = asks(**WITH_DETAILS)
        facts = await facts_for(message, self.endpoint)
        assert facts is not None
        assert (facts["found"], facts["number"], facts["carrier"]) == ("found", "10023", None)
        message.metadata[FACTS] = facts
        _, actions = script(turns_of([message])[0], Context())
        assert actions == ["utter_automated", "utter_order_shipped"]

    async def test_the_action_gets_what_it_needs_in_rasas_own_words(self) -> None:
        await facts_for(asks(**WITH_DETAILS), self.endpoint)
        (call,) = self.calls
        assert call["next_action"] == "action_look_up_order"
        assert call["tracker"]["slots"] == {"language": "en"}
        assert [e["value"] for e in call["tracker"]["latest_message"]["entities"]] == ["10023", "a@b.example"]

    async def test_nobody_is_asked_about_anything_but_an_order(self) -> None:
        assert await facts_for(asks("store_hours"), self.endpoint) is None
        assert await facts_for(asks(), self.endpoint) is None  # no number: the bot asks for it
        assert self.calls == []

    async def test_an_action_server_that_is_down_or_talks_nonsense_makes_it_a_persons(self) -> None:
        for status, answer in (
            (500, {}), (404, None), (200, None), (200, []), (200, {"events": []}), (200, {"events": [7]}),
            (200, {"events": [{"event": "slot", "name": "found", "value": "perhaps"}]}),
        ):  # fmt: skip
            with self.subTest(status=status, answer=answer), self.assertLogs(level="ERROR"):
                self.status, self.answer = status, answer
                await self.check_it_goes_to_a_person()
        await self.server.cleanup()
        with self.assertLogs(level="ERROR"):
            await self.check_it_goes_to_a_person()

    async def check_it_goes_to_a_person(self) -> None:
        message = asks(**WITH_DETAILS)
        message.metadata[FACTS] = await facts_for(message, self.endpoint)
        decision, _ = script(turns_of([message])[0], Context())
        assert decision.action.value == "hand_off"

    async def test_without_an_action_server_in_the_settings_rasa_is_left_to_say_so(self) -> None:
        assert await facts_for(asks(**WITH_DETAILS), None) is None


if __name__ == "__main__":
    unittest.main()
