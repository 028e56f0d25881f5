"""The same task as desk_notes.yaml, in Python: the file defines TASK."""

from fin_qlora.tasks import Label, Licence, RawFile, RawForm, Source, SplitRule, Task

TASK = Task(
    name="desk_notes",
    title="What a trading desk's note recommends",
    labels=(
        Label(name="buy", meaning="the note recommends to buy", raw="1", also=("B", "long")),
        Label(name="hold", meaning="the note recommends nothing new", raw="0"),
        Label(name="sell", meaning="the note recommends to sell", raw="-1", also=("S", "short")),
    ),
    instruction=(
        "What does this note on {ticker} recommend? Please choose an answer from {{buy/hold/sell}}."
    ),
    fields=("ticker",),
    source=Source(
        forms=(
            RawForm(
                part="pool",
                files=(RawFile(path="notes.csv"),),
                columns={
                    "text": "note",
                    "label": "verdict",
                    "ticker": "symbol",
                    "client": "account",
                },
            ),
        ),
    ),
    licence=Licence(name="internal"),
    metrics=("accuracy", "macro_f1"),
    split=SplitRule(test=0.25, validation=0.1, seed=7, group_by=("client", "text")),
)
