"""The main figures of a RAW_DATA for its card: a table, plots, and an example."""

from cluster.jobs.card import Table
from cluster.jobs.plots import Lengths, draw_lengths, draw_parts
from generation.raw.counts import OUTCOMES, RawCounts


def opening(counts: RawCounts) -> dict[str, str]:
    """Return the parts of a card that say the most at once: `main`, a table with two plots, and `example`.

    Writes the plots into the folder that was counted; there are none of hand-made counts.
    """
    parts = [Table(("what", "figures"), _rows(counts)).markdown()]
    if counts.folder is not None:
        variants = {name or "(none)": found for name, found in counts.all().variants().items()}
        title = "Samples by prompt variant"
        parts.append(draw_parts(counts.folder, "outcomes", title, variants, OUTCOMES))
        if texts := _texts(counts):
            parts.append(draw_lengths(counts.folder, "lengths", counts.unit, texts))
    return {"main": "\n".join(parts), "example": counts.example.markdown() if counts.example else ""}


def _texts(counts: RawCounts) -> dict[str, Lengths]:
    return {what: one for what, one in counts.lengths.items() if one.ended or one.cut}


def _rows(counts: RawCounts) -> list[tuple[str, str]]:
    whole = counts.all()
    never = sum(not counts.solved[key] for key in counts.asked)
    always = sum(counts.solved[key] == samples for key, samples in counts.asked.items())
    some = len(counts.asked) - never - always
    rows = [
        ("questions", f"{len(counts.questions):,}: {never:,} never right, {some:,} sometimes, {always:,} always"),
        ("samples", f"{whole.samples:,}: {_shares({name: whole.outcome(name) for name in OUTCOMES})}"),
    ]
    if whole.reflections:
        told = {
            "with a right verdict": whole.valid,
            "with a wrong one": whole.verdicts["right", "Incorrect"] + whole.verdicts["wrong", "Correct"],
            "without one": whole.verdict("none"),
        }
        if undecided := whole.reflections - sum(told.values()):
            told["on samples of unknown outcome"] = undecided
        rows.append(("reflections", f"{whole.reflections:,}: {_shares(told)}"))
    if text := counts.retries.text():
        rows.append(("retries", text.replace(" retries", "", 1)))
    for what, lengths in _texts(counts).items():
        middle, most = lengths.median(), lengths.longest()
        limit = f"{lengths.cut.total():,} cut at the limit"
        rows.append((f"length of {what}", f"median {middle:,} {counts.unit}, longest {most:,}, {limit}"))
    return rows


def _shares(counts: dict[str, int]) -> str:
    return ", ".join(f"{count / max(1, sum(counts.values())):.1%} {name}" for name, count in counts.items())
