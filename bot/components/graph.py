"""The model's graph, run as what it is when it answers: one component after the other.

Rasa hands it to Dask, which is made for training on many cores: it puts a schedule together anew for each
run, and takes longer over that than most components over their work. This runner is loaded by Rasa's own
loader, runs the same nodes of the same model, and knows their order beforehand.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from rasa.core.processor import MessageProcessor
from rasa.engine.graph import ExecutionContext, GraphNode, GraphNodeHook, GraphSchema
from rasa.engine.loader import load_predict_graph_runner
from rasa.engine.runner.interface import GraphRunner
from rasa.engine.storage.local_model_storage import LocalModelStorage
from rasa.engine.storage.storage import ModelStorage


class InOrder(GraphRunner):
    """Runs the nodes that the targets need, each after those that it needs itself."""

    def __init__(self, schema: GraphSchema, nodes: dict[str, GraphNode]) -> None:
        self._schema, self._nodes = schema, nodes
        self._orders: dict[tuple[str, ...], list[str]] = {}

    @classmethod
    def create(
        cls,
        graph_schema: GraphSchema,
        model_storage: ModelStorage,
        execution_context: ExecutionContext,
        hooks: list[GraphNodeHook] | None = None,
    ) -> InOrder:
        """Called by Rasa's loader; loads the components."""
        return cls(
            graph_schema,
            {
                name: GraphNode.from_schema_node(name, node, model_storage, execution_context, hooks)
                for name, node in graph_schema.nodes.items()
            },
        )

    def run(
        self, inputs: dict[str, Any] | None = None, targets: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """What each target gives, by its name."""
        wanted = tuple(targets or self._schema.target_names)
        done = {name: (name, value) for name, value in (inputs or {}).items()}
        for name in self._order(wanted):
            needs = self._schema.nodes[name].needs.values()
            done[name] = self._nodes[name](*(done[need] for need in needs))
        return {name: done[name][1] for name in wanted}

    def _order(self, targets: tuple[str, ...]) -> list[str]:
        if targets not in self._orders:
            order: dict[str, None] = {}

            def add(name: str) -> None:
                for need in self._schema.nodes[name].needs.values():
                    if need in self._schema.nodes and need not in order:
                        add(need)
                order[name] = None

            for target in targets:
                add(target)
            self._orders[targets] = list(order)
        return self._orders[targets]


@lru_cache(maxsize=1)
def graph_of(processor: MessageProcessor) -> GraphRunner:
    """The graph of a processor's model; Rasa's own runner where the model's archive is gone."""
    archive = processor.model_path
    if archive.is_dir():
        archive /= processor.model_filename
    if not archive.is_file():
        return processor.graph_runner
    with tempfile.TemporaryDirectory() as folder:
        _, runner = load_predict_graph_runner(Path(folder), archive, LocalModelStorage, InOrder)
    return runner
