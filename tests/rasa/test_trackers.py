import unittest

from rasa.shared.core.domain import Domain
from rasa.shared.core.events import SlotSet, UserUttered

from bot.components.trackers import RecentTrackers


class Trackers(unittest.IsolatedAsyncioTestCase):
    async def test_only_so_many_are_kept_and_the_longest_saved_goes(self) -> None:
        store = RecentTrackers(Domain.empty(), keep=2)
        for sender in ("a", "b", "a", "c"):
            tracker = await store.get_or_create_tracker(sender)
            tracker.update(UserUttered("hello"))
            await store.save(tracker)
        assert list(await store.keys()) == ["a", "c"]
        assert len((await store.retrieve("b")).events) == 1

    async def test_what_is_not_saved_never_happened(self) -> None:
        store = RecentTrackers(Domain.empty())
        tracker = await store.get_or_create_tracker("a")
        tracker.update(UserUttered("hello"))
        await store.save(tracker)
        again = await store.retrieve("a")
        again.update(UserUttered("and again"))
        kept = await store.retrieve("a")
        assert [e.text for e in kept.events if isinstance(e, UserUttered)] == ["hello"]

    async def test_slots_come_back_as_they_were(self) -> None:
        store = RecentTrackers(Domain.from_dict({"slots": {"decision": {"type": "any", "mappings": []}}}))
        tracker = await store.get_or_create_tracker("a")
        tracker.update(SlotSet("decision", {"action": "answer"}))
        await store.save(tracker)
        assert (await store.retrieve("a")).get_slot("decision") == {"action": "answer"}


if __name__ == "__main__":
    unittest.main()
