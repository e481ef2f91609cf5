"""Order numbers, e-mails and other numbers as Rasa's entities."""

from __future__ import annotations

from typing import Any

from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.extractors.extractor import EntityExtractorMixin
from rasa.shared.nlu.constants import ENTITIES, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from bot.components.details import details_in
from bot.components.missing import MISSING, missing_in
from bot.components.wishes import PERSON, request_in


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.ENTITY_EXTRACTOR, is_trainable=False)
class DetailExtractor(GraphComponent, EntityExtractorMixin):
    """Adds what `details_in` finds, a plain request for a person, and that nothing has arrived.

    It comes before the topic, which needs to know a bare detail.
    """

    @classmethod
    def create(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> DetailExtractor:
        """Called by Rasa; there is nothing to set and nothing to learn."""
        return cls()

    @staticmethod
    def required_packages() -> list[str]:
        """What Rasa checks for before it builds the pipeline."""
        return ["spacy"]

    def process_training_data(self, training_data: TrainingData) -> TrainingData:
        """Examples are left as written: nothing is learned from the details in them."""
        return training_data

    def process(self, messages: list[Message]) -> list[Message]:
        """Adds entities in place."""
        for message in messages:
            text = message.get(TEXT) or ""
            found = [self._entity(d.kind, d.value, d.start, d.end) for d in details_in(text)]
            if request := request_in(text):
                found.append(self._entity(PERSON, request[0], *request.span()))
            if missing := missing_in(text):
                found.append(self._entity(MISSING, missing[0], *missing[1]))
            message.set(ENTITIES, [*message.get(ENTITIES, []), *found], add_to_output=True)
        return messages

    def _entity(self, kind: str, value: str, start: int, end: int) -> dict[str, Any]:
        return {"entity": kind, "value": value, "start": start, "end": end, "extractor": type(self).__name__}
