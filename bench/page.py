"""`docs/performance.md`: the bench's results in tables and pictures. What is missing says so."""

from __future__ import annotations

from typing import Any

from bench.chart import Line, svg
from bench.machine import ROOT

PAGE, IMAGES, NOTES = ROOT / "docs" / "performance.md", ROOT / "docs" / "images", ROOT / "bench" / "notes.md"
MISSING = "–"
Results = dict[str, Any]


def at(results: Results, path: str) -> Any:
    """The value at a dotted path; None where a part is missing."""
    found: Any = results
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def ms(seconds: float | None) -> str:
    """Seconds as milliseconds; endless if there are none."""
    return (
        "endless"
        if seconds is None
        else f"{1000 * seconds:.0f} ms"
        if seconds > 0.02
        else f"{1000 * seconds:.1f} ms"
    )


def table(results: Results) -> str:
    """Everything beside the stock bot and the targets."""
    rows = [
        "| | stock Rasa | Reply Twice, web chat | … Messenger | ratio to stock | target |",
        "|---|---|---|---|---|---|",
    ]
    for text, kind, share in (
        ("FAQ answer at 10/s, median", "faq", "p50"), ("FAQ answer at 10/s, 99th percentile", "faq", "p99"),
        ("order look-up at 10/s, median", "order", "p50"),
        ("order look-up at 10/s, 99th percentile", "order", "p99"),
    ):  # fmt: skip
        sides = [at(results, f"{side}.{kind}") for side in ("stock", "ours.web", "ours.messenger")]
        times = [run and run[share] for run in sides]
        cells = [MISSING if run is None else ms(run[share]) for run in sides]
        rows.append(_row(text, *cells, _ratios(times[1:], times[0]), "≤ 1/3"))
    for text, kind in (
        ("processor time of an FAQ answer, all processes", "faq"),
        ("… of an order look-up", "order"),
    ):
        times = [at(results, f"{side}.{kind}.processor") for side in ("stock", "ours.web", "ours.messenger")]
        cells = [MISSING if time is None else ms(time) for time in times]
        rows.append(_row(text, *cells, _ratios(times[1:], times[0]), ""))
    loads = [at(results, f"{side}.sustained") for side in ("stock", "ours.web", "ours.messenger")]
    cells = [MISSING if load is None else f"{load:g}/s" for load in loads]
    rows.append(
        _row("sustained at a 99th percentile ≤ 500 ms", *cells, _ratios(loads[1:], loads[0]), "≥ 5 times")
    )
    start = at(results, "stock.start")
    accepts, answers = at(results, "ours.accepts"), at(results, "ours.answers")
    rows.append(
        _row("start: messages accepted", _s(start), _s(accepts), "", _ratios([accepts], start), "≤ 3 s")
    )
    rows.append(
        _row("start: messages answered", _s(start), _s(answers), "", _ratios([answers], start), "≤ 15 s")
    )
    memory = [
        sum(found.values()) if (found := at(results, f"{side}.memory")) else None
        for side in ("stock", "ours")
    ]
    cells = [MISSING if some is None else f"{some:.0f} MB" for some in memory]
    rows.append(_row("memory of all processes (PSS)", *cells, "", _ratios(memory[1:], memory[0]), "lower"))
    return "\n".join([*rows, "", own_table(results)])


def own_table(results: Results) -> str:
    """What a stock bot has nothing to compare with."""
    rows = ["| | | target |", "|---|---|---|"]
    if cost := at(results, "decision.encoder"):
        rows.append(
            _row("the sentence encoder alone (the floor), processor time", f"{cost['median']:.2f} ms", "")
        )
    for name, text, target in (("nlu", "NLU", ""), ("decision", "NLU and policy", "≤ 2 times"),
                               ("turn", "a whole turn in Rasa, words included", "")):  # fmt: skip
        cost = at(results, f"decision.{name}")
        said = f"{cost['median']:.2f} ms, {cost['ratio']:.2f} times the encoder's" if cost else MISSING
        rows.append(_row(text, said, target))
    for side, name in (("stock", "stock Rasa"), ("ours.web", "web chat"), ("ours.messenger", "Messenger")):
        run, floor = at(results, f"{side}.faq"), at(results, "decision.encoder.median")
        said = f"{1000 * run['p50'] / floor:.1f}" if run and run["p50"] and floor else MISSING
        rows.append(_row(f"FAQ answer, median, in times the encoder's: {name}", said, ""))
    flood = at(results, "webhook") or {}
    if "p99" in flood:
        rows.append(_row(f"webhook acknowledged, {flood['rate']:g}/s: median", ms(flood["p50"]), ""))
        rows.append(_row("… 99th percentile", ms(flood["p99"]), "≤ 20 ms"))
        rows.append(
            _row("… not acknowledged", f"{flood['asked'] - flood['answered']} of {flood['asked']}", "none")
        )
        rows.append(_row("… acknowledged and lost", str(flood["lost"]), "none"))
        rows.append(
            _row(
                "… customers whose messages kept their order",
                f"{flood['in_order']} of {flood['customers']}",
                "all",
            )
        )
        rows.append(_row("… backlog worked off after", f"{flood['backlog']:.0f} s", ""))
    points = at(results, "growth.points") or []
    for point in points[1:]:
        for who, text in (("new", "a new customer"), ("old", "a customer's 1,000th conversation")):
            run, first = point[who], points[0]["new"]
            if run and run["p50"] and first["p50"]:
                said = f"{ms(run['p50'])}, {run['p50'] / first['p50']:.2f} times that of an empty database"
                rows.append(
                    _row(
                        f"FAQ answer (Messenger) with {point['messages']:,} stored messages, {text}",
                        said,
                        "≤ 1.1 times",
                    )
                )
    open_pages = at(results, "live") or {}
    if "p50" in open_pages:
        pages = f"{open_pages['chats']} web chats and {open_pages['desks']} desks open"
        rows.append(
            _row(f"agent's reply on the customer's page, {pages}: median", ms(open_pages["p50"]), "≤ 100 ms")
        )
        rows.append(_row("… 99th percentile", ms(open_pages["p99"]), ""))
        rows.append(_row("… memory of a connection", f"{open_pages['kb_each']:.0f} KB", ""))
    loads = [at(results, f"scaled.{each}.sustained") for each in (1, 2)]
    if all(loads):
        said = f"{loads[0]:g}/s and {loads[1]:g}/s, {loads[1] / loads[0]:.2f} times"
        rows.append(
            _row("sustained on PostgreSQL and Redis (web chat): one bot and one Rasa, two of each", said, "")
        )
    failed = [f"- {part}: {found['failed']}" for part, found in results.items() if "failed" in found]
    return "\n".join([*rows, *(["", "Not measured:", *failed] if failed else [])])


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _s(seconds: float | None) -> str:
    return MISSING if seconds is None else f"{seconds:.1f} s"


def _ratios(ours: list[Any], stocks: Any) -> str:
    return ", ".join(f"{value / stocks:.2f}" if value and stocks else MISSING for value in ours)


def load_chart(results: Results) -> str:
    """Latency against load."""
    lines = []
    for side, name, colour in (
        ("stock", "stock Rasa", "#a05a2c"), ("ours.web", "web chat", "#3b82c4"),
        ("ours.messenger", "Messenger", "#3a9a5a"),
    ):  # fmt: skip
        steps = at(results, f"{side}.steps") or []
        for share, dashed, words in (("p50", True, "median"), ("p99", False, "99th percentile")):
            points = [(run["rate"], 1000 * run[share]) for run in steps if run[share]]
            if points:
                lines.append(Line(f"{name}, {words}", colour, points, dashed))
    return svg(
        "Answer time against load",
        "messages a second, three questions to one order",
        "ms",
        lines,
        (500, "500 ms"),
    )


def growth_chart(results: Results) -> str:
    """Answer time against what is stored; an empty database stands at 1,000."""
    points = at(results, "growth.points") or []
    lines = []
    for who, name, colour in (
        ("new", "a new customer", "#3b82c4"),
        ("old", "the 1,000th conversation", "#3a9a5a"),
    ):
        for share, dashed, words in (("p50", False, "median"), ("p90", True, "90th percentile")):
            known = [
                (max(p["messages"], 1000), 1000 * p[who][share]) for p in points if p[who] and p[who][share]
            ]
            if known:
                lines.append(Line(f"{name}, {words}", colour, known, dashed))
    return svg("Answer time against history", "stored messages (an empty database: at 1k)", "ms", lines)


def _trained(training: dict[str, Any]) -> str:
    if not training:
        return "; it has not been measured yet"
    said = f" ({training['examples']}) for {training['epochs']} epochs"
    if training["epochs"] >= 100:
        return said
    return (
        f"{said} instead of 100: an answer takes as long whether a network was trained for long or not, "
        "only its shape counts (`make bench EPOCHS=100` trains the full time, which takes an hour and more)"
    )


def write(results: Results) -> None:
    """Writes the page and its pictures."""
    about, training = results["about"], at(results, "stock.training") or {}
    (IMAGES / "load.svg").write_text(load_chart(results), encoding="utf-8")
    (IMAGES / "growth.svg").write_text(growth_chart(results), encoding="utf-8")
    head = (
        "# How fast it is\n\n"
        f"`make bench`{' QUICK=1' if about['quick'] else ''} wrote this page on {about['at'][:10]}, on "
        f"{about['machine']}, commit {about['commit']}; clients and servers shared the machine.\n\n"
        f"Stock Rasa 3.6.21 is what `rasa init` gives, pipeline and policies, trained on our "
        f"examples{_trained(training)}.\n"
    )
    pictures = (("Answer time against load", "load"), ("Answer time against history", "growth"))
    shown = "\n\n".join(f"![{text}](images/{name}.svg)" for text, name in pictures)
    body = f"\n{table(results)}\n\n{shown}\n"
    PAGE.write_text(head + body + "\n" + NOTES.read_text(encoding="utf-8"), encoding="utf-8")
