"""Answers with one model: the program that runs inside the sandbox, alone with the model's libraries.

It imports nothing else of this package and, before it has looked at the model, the standard library alone. It speaks
`/invocations` as MLflow's scoring server does, the Open Inference Protocol V2, and `/invoke`, which takes either.

    python -m scoring FOLDER PORT NAME VERSION
"""
