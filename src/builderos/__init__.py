"""BuilderOS: a safe place to build, a factory and a workbench around it.

Deliberately empty: importing the package must cost nothing (`builderos --help` starts in milliseconds).
"""
