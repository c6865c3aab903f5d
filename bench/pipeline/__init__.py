"""The measuring pipeline: plan, runner, measure, score, store."""
