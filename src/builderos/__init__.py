"""BuilderOS: a safe place to build, a factory and a workbench around it.

Deliberately near empty: importing the package must cost nothing (`builderos --help` starts in milliseconds).
"""

VERSION = "0.1.0"
