"""What a message is about, and whether its writer is upset: two heads on the same features."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rasa.engine.graph import ExecutionContext, GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe
from rasa.engine.storage.resource import Resource
from rasa.engine.storage.storage import ModelStorage
from rasa.nlu.classifiers.classifier import IntentClassifier
from rasa.shared.constants import DEFAULT_NLU_FALLBACK_INTENT_NAME
from rasa.shared.nlu.constants import ENTITIES, INTENT, TEXT
from rasa.shared.nlu.training_data.message import Message
from rasa.shared.nlu.training_data.training_data import TrainingData

from bot.components.details import only_details
from bot.components.featurizer import PARTS, vectors_of
from bot.components.heads import Groups, Lines, Neighbours, closeness
from bot.components.mixed import Guess, Matter, matter_of, named, unanswered
from bot.components.parts import is_question
from bot.components.spelling import Spelling
from bot.domain.words import Remark

CALM, UPSET = "calm", "upset"
TONE = "tone"  # the entity of an upset message
TOPIC = "topic"  # the entity for every question after the first
WORDS = "words"  # of an intent or a tone: the part of a longer message that it stands in
RANKING_LENGTH = 10
_FILE = "reader.npz"
_LATIN_WORD = re.compile(r"[^\W\d_]{2,}")
_DRAWN_OUT = re.compile(r"(.)\1+")
_PLAIN_MARKS = dict.fromkeys(map(ord, "‘’“”„…–—•\ufe0f"))


@dataclass(frozen=True)
class Model:
    """All that was learned."""

    spelling: Spelling
    neighbours: Neighbours
    intents: np.ndarray  # of the neighbours, as indexes of `topic.labels`
    tones: np.ndarray  # of the neighbours: whether upset
    words: np.ndarray  # every word of the examples
    topic: Lines
    tone: Lines | None  # None: no example is marked as upset

    @cached_property
    def by_intent(self) -> Groups:
        """Where the neighbours of each intent are: side by side, which is quicker to look through."""
        return Groups.of(self.intents)

    @cached_property
    def by_tone(self) -> Groups:
        """Where the calm neighbours are, and the upset ones."""
        return Groups.of(self.tones)

    @cached_property
    def _known_words(self) -> frozenset[str]:
        return frozenset(self.words.tolist())

    def means_nothing(self, text: str) -> bool:
        """Whether a text in Latin letters has no word that any example has: "asdf asdf", "...".

        Other scripts aren't judged: words that run together are rarely the same twice. Nor are emoji.
        """
        in_latin = not any(char > "ɏ" for char in text.translate(_PLAIN_MARKS))
        return in_latin and self._known_words.isdisjoint(words_of(text))

    def save(self, folder: Path) -> None:
        """Writes the one file that `load` reads."""
        arrays = {"intents": self.intents, "tones": self.tones, "words": self.words}
        for name in _GROUPS:
            group = getattr(self, name)
            arrays |= {f"{name}.{f.name}": getattr(group, f.name) for f in fields(group)} if group else {}
        np.savez_compressed(folder / _FILE, **arrays)

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Reads what `save` wrote."""
        with np.load(folder / _FILE, allow_pickle=False) as stored:
            groups = {
                name: kind(**{f.name: stored[f"{name}.{f.name}"] for f in fields(kind)})
                for name, kind in _GROUPS.items()
                if f"{name}.{fields(kind)[0].name}" in stored
            }
            arrays = {name: stored[name] for name in ("intents", "tones", "words")}
            return cls(**{"tone": None, **groups}, **arrays)


_GROUPS: dict[str, type] = {"spelling": Spelling, "neighbours": Neighbours, "topic": Lines, "tone": Lines}


@dataclass(frozen=True)
class Read:
    """What the model makes of a message and of each of its parts: one row each, the whole first."""

    texts: Sequence[str]
    scores: np.ndarray  # one column a topic
    closeness: np.ndarray  # likewise, 0 to 1
    strangeness: np.ndarray  # a value a row: how close it is to what is no matter of a shop's, 0 to 1
    upset: float  # of the whole: how much rather upset than calm
    sorest: str = ""  # the part that is most upset, if there are several


@DefaultV1Recipe.register(DefaultV1Recipe.ComponentType.INTENT_CLASSIFIER, is_trainable=True)
class MessageReader(GraphComponent, IntentClassifier):
    """Sets the intent, and entities for further topics and for an upset tone.

    The confidence is an estimate of how often such a reading is right; below the threshold the intent
    is Rasa's `nlu_fallback`. A bare order number or e-mail needs no reading. As an entity the tone is
    seen wherever Rasa shows what it read: `rasa shell nlu`, test stories, the tracker. It is learned
    from `metadata: {tone: upset}` in `data/nlu.yml`; examples without it are calm.
    """

    def __init__(
        self, config: dict[str, Any], storage: ModelStorage, resource: Resource, model: Model | None = None
    ) -> None:
        self.config, self._storage, self._resource = config, storage, resource
        self._model = model

    @staticmethod
    def get_default_config() -> dict[str, Any]:
        """For each head: `strength`, how closely its lines follow the examples (the C of a support
        vector machine), and what the mean closeness of the `nearest` examples of a label counts.

        The topic's `confidence` holds the weights of a logistic function: of the best intent's score,
        of its lead over the second, of its closeness and of the closeness of `out_of_scope`; from
        `threshold` on a reading counts. The tone's are scores: from `threshold` on a message is upset
        (above 0 is rather upset than calm); from `doubt` on it may be, quietly: the bot neither answers
        it nor takes it for settled, unless the topic is `certain` (a confidence). Trouble with an account
        is told in the words of a complaint: there a message is upset from `account` on.
        """
        return {
            "topic": {
                "strength": 0.5,
                "nearest": 2,
                "closeness": 1.0,
                "confidence": {
                    "bias": 0.02,
                    "score": 0.53,
                    "lead": 2.6,
                    "closeness": 5.95,
                    "strangeness": -8.28,
                },
                "threshold": 0.65,
            },
            "tone": {
                "strength": 1.0,
                "nearest": 3,
                "closeness": 2.0,
                "threshold": -0.15,
                "doubt": -0.6,
                "certain": 0.98,
                "account": 0.3,
            },
        }

    @classmethod
    def create(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
    ) -> MessageReader:
        """Called by Rasa before training."""
        return cls(config, model_storage, resource)

    @classmethod
    def load(
        cls,
        config: dict[str, Any],
        model_storage: ModelStorage,
        resource: Resource,
        execution_context: ExecutionContext,
        **kwargs: Any,
    ) -> MessageReader:
        """Called by Rasa with a trained model."""
        with model_storage.read_from(resource) as folder:
            return cls(config, model_storage, resource, Model.load(folder))

    def train(self, training_data: TrainingData) -> Resource:
        """Learns from `data/nlu*.yml`. Raises ValueError when there are fewer than two intents."""
        self.learn([e for e in training_data.intent_examples if e.get(TEXT)])
        with self._storage.write_to(self._resource) as folder:
            self._model.save(folder)
        return self._resource

    def learn(self, examples: Sequence[Message]) -> None:
        """As `train`, without keeping the model."""
        texts = [example.get(TEXT) for example in examples]
        intents = [example.get(INTENT) for example in examples]
        tones = [tone_of(example) for example in examples]
        vectors, spelling = vectors_of(examples), Spelling.of(texts)
        spelled = spelling.features(texts)
        topic = Lines.fit(vectors, spelled, intents, self.config["topic"]["strength"], even=True)
        marked = UPSET in tones
        together = np.argsort(intents, kind="stable")
        self._model = Model(
            spelling,
            Neighbours.of(vectors[together]),
            intents=np.searchsorted(topic.labels, intents)[together],
            tones=np.array([tone == UPSET for tone in tones])[together],
            words=np.unique([word for text in texts for word in words_of(text)]),
            topic=topic,
            tone=Lines.fit(vectors, spelled, tones, self.config["tone"]["strength"], even=False)
            if marked
            else None,
        )

    def process(self, messages: list[Message]) -> list[Message]:
        """Sets `intent`, `intent_ranking` and entities."""
        for message in messages:
            self.settle(message, self.read(message), self.config)
        return messages

    def settle(self, message: Message, read: Read, settings: dict[str, Any]) -> None:
        """Sets on a message what is sure enough by the thresholds in `settings`."""
        tone = settings["tone"]
        upset_from = tone["threshold"]
        means_nothing = self._model.means_nothing(message.get(TEXT))
        if self._is_bare_detail(message):
            _set(message, [], Matter(Remark.GIVE_DETAILS.value, 1.0))
        else:
            guesses = self.guesses(read)
            whole = guesses[0]
            matter = matter_of(whole, guesses[1:], settings["topic"]["threshold"])
            if tone["doubt"] <= read.upset < tone["threshold"] and whole.confidence < tone["certain"]:
                matter = unanswered(matter)
            matter = matter if means_nothing else named(matter, whole)
            if matter.intent == Remark.ACCOUNT.value:
                upset_from = tone["account"]
            _set(message, self._ranking(read.scores[0], whole.confidence), matter)
            _keep_words(message, matter, read.texts, guesses)
        if read.upset >= upset_from and not means_nothing:
            _add(message, TONE, UPSET, 1 / (1 + math.exp(-2 * read.upset)))
            message.get(ENTITIES)[-1][WORDS] = read.sorest

    def read(self, message: Message) -> Read:
        """Compares a featurized message and its parts with all that was learned."""
        parts = message.get(PARTS) or []
        texts = [message.get(TEXT), *(part.text for part in parts)]
        vectors = np.vstack([vectors_of([message]), *(part.vector for part in parts)])
        spelled = self._model.spelling.features(texts)
        cosines = self._cosines(vectors)
        settings = self.config["topic"]
        close = closeness(cosines, self._model.by_intent, settings["nearest"])
        scores = self._model.topic.margins(vectors, spelled) + settings["closeness"] * close
        strange = close[:, self._model.topic.labels == Remark.OUT_OF_SCOPE.value].sum(axis=1)  # none: 0
        upset = float(self._upset(vectors[:1], spelled[:1], cosines[:1])[0])
        sorest = ""
        if parts and upset >= self.config["tone"]["threshold"]:  # few messages are: the rest is spared this
            sorest = texts[1 + int(self._upset(vectors, spelled, cosines)[1:].argmax())]
        return Read(texts, scores, close, strange, upset, sorest)

    def _cosines(self, vectors: np.ndarray) -> np.ndarray:
        """To every example, one row a vector. The whole points where its parts do together, and its
        cosines are theirs together, too: it needs no comparing of its own."""
        if len(vectors) == 1:
            return self._model.neighbours.cosines(vectors)
        parts = vectors[1:]
        of_parts = self._model.neighbours.cosines(parts)
        return np.vstack([of_parts.sum(axis=0) / np.linalg.norm(parts.sum(axis=0)), of_parts])

    def _upset(self, vectors: np.ndarray, spelled: Any, cosines: np.ndarray) -> np.ndarray:
        """How upset each row is."""
        if self._model.tone is None:
            return np.full(len(vectors), -math.inf)
        settings = self.config["tone"]
        close = closeness(cosines, self._model.by_tone, settings["nearest"])
        margins = self._model.tone.margins(vectors, spelled)[:, 1]
        return margins + settings["closeness"] * (close[:, 1] - close[:, 0])

    def guesses(self, read: Read) -> list[Guess]:
        """The likeliest intent of the whole message, then of each part."""
        best = read.scores.argmax(axis=1)
        sure = confidences(read, self.config["topic"]["confidence"])
        return [
            Guess(str(self._model.topic.labels[i]), float(p), is_question(text))
            for i, p, text in zip(best, sure, read.texts, strict=True)
        ]

    def _is_bare_detail(self, message: Message) -> bool:
        known = Remark.GIVE_DETAILS.value in self._model.topic.labels
        return known and only_details(message.get(TEXT), message.get(ENTITIES, []))

    def _ranking(self, scores: np.ndarray, confidence: float) -> list[dict[str, Any]]:
        """The best with its confidence; the others share what is left."""
        order = scores.argsort()[::-1]
        rest = np.exp(scores[order[1:]])
        shares = [confidence, *((1 - confidence) * rest / rest.sum())]
        return [
            {"name": str(self._model.topic.labels[i]), "confidence": float(share)}
            for i, share in zip(order[:RANKING_LENGTH], shares, strict=False)
        ]


def words_of(text: str) -> list[str]:
    """The words in Latin letters, letters drawn out ("sooo") written once; a single letter is none."""
    return [_DRAWN_OUT.sub(r"\1", word) for word in _LATIN_WORD.findall(text.lower())]


def tone_of(example: Message) -> str:
    """The tone an example or its intent block is marked with."""
    marks = example.get("metadata") or {}
    for level in ("example", "intent"):
        if tone := (marks.get(level) or {}).get(TONE):
            return str(tone)
    return CALM


def confidences(read: Read, weights: dict[str, float]) -> np.ndarray:
    """How likely the best intent of each row is the right one, 0 to 1."""
    signs = np.stack(evidence(read))
    return 1 / (1 + np.exp(-(weights["bias"] + np.array([weights[name] for name in EVIDENCE]) @ signs)))


EVIDENCE = ("score", "lead", "closeness", "strangeness")


def evidence(read: Read) -> tuple[np.ndarray, ...]:
    """What the confidence rests on, in the order of `EVIDENCE`: one value a row each."""
    rows, best = np.arange(len(read.scores)), read.scores.argmax(axis=1)
    top = read.scores[rows, best]
    lead = top - np.partition(read.scores, -2, axis=1)[:, -2]
    return top, lead, read.closeness[rows, best], read.strangeness


def _set(message: Message, ranking: list[dict[str, Any]], matter: Matter) -> None:
    intent = {
        "name": matter.intent or DEFAULT_NLU_FALLBACK_INTENT_NAME,
        "confidence": matter.confidence if matter.intent else 1 - matter.confidence,
    }
    others = [entry for entry in ranking if entry["name"] != intent["name"]]
    message.set(INTENT, intent, add_to_output=True)
    message.set("intent_ranking", [intent, *others], add_to_output=True)
    for topic in matter.also:
        _add(message, TOPIC, topic, matter.confidence)


def _keep_words(message: Message, matter: Matter, texts: Sequence[str], guesses: Sequence[Guess]) -> None:
    """Notes which part of a message its intent was read in: the surest that says so."""
    parts = [
        (g.confidence, text)
        for g, text in zip(guesses[1:], texts[1:], strict=True)
        if g.intent == matter.intent
    ]
    if parts:
        message.get(INTENT)[WORDS] = max(parts)[1]


def _add(message: Message, name: str, value: str, confidence: float) -> None:
    """An entity over the whole message."""
    entity = {
        "entity": name,
        "value": value,
        "start": 0,
        "end": len(message.get(TEXT)),
        "confidence_entity": confidence,
        "extractor": MessageReader.__name__,
    }
    message.set(ENTITIES, [*message.get(ENTITIES, []), entity], add_to_output=True)
