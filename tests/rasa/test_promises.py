import tempfile
import unittest
from pathlib import Path

from rasa.shared.core.generator import TrackerWithCachedStates, TrainingDataGenerator
from rasa.shared.importers.importer import TrainingDataImporter

from bot.components.policy import BrokenPromise, check

ROOT = Path(__file__).parents[2]

ANSWERED_WITHOUT_LOOKING = """
version: "3.1"
stories:
  - story: An order's status is told without looking it up
    steps:
      - intent: order_status
      - action: utter_order_shipped
"""


def trackers(*files: Path) -> list[TrackerWithCachedStates]:
    """The conversations in story and rule files, none joined from pieces."""
    importer = TrainingDataImporter.load_from_dict(
        domain_path=str(ROOT / "domain.yml"), training_data_paths=[str(file) for file in files]
    )
    generator = TrainingDataGenerator(
        importer.get_stories(), importer.get_domain(), augmentation_factor=0, use_story_concatenation=False
    )
    return generator.generate()


class Promises(unittest.TestCase):
    def test_every_story_and_rule_is_kept(self) -> None:
        """Training checks this too, but Rasa's cache skips it while `data/` stays the same."""
        for tracker in trackers(ROOT / "data" / "rules.yml", ROOT / "data" / "stories.yml"):
            check(tracker)

    def test_a_story_that_the_rule_does_not_keep_is_refused_with_both_courses(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "stories.yml"
            file.write_text(ANSWERED_WITHOUT_LOOKING, encoding="utf-8")
            (tracker,) = trackers(file)
        with self.assertRaisesRegex(BrokenPromise, "utter_order_shipped.*utter_ask_order"):
            check(tracker)


if __name__ == "__main__":
    unittest.main()
