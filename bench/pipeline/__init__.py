"""One pipeline measures: plan, runner, measure, score, store."""
