"""Evals: suites of cases as files, tried on prompts and models, with results that can be compared."""
