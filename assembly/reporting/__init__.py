"""One page that shows what a run, or a set, holds: what is counted, which rows are shown, and how two differ."""
