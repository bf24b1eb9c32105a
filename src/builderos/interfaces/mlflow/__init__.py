"""The door for programs that speak MLflow: experiments, files of runs and models, as if this server were MLflow."""
