"""What the composition root hands to the doors: the context and every operation."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from .context import Context
from .operations import Operation, Operations


@dataclass
class Application:
    """One running server, without any door."""

    context: Context
    groups: list[Operations] = field(default_factory=list[Operations])

    def __post_init__(self) -> None:
        self.context.put(Application, self)  # for the one operation that lists all others

    def operations(self) -> Iterator[Operation]:
        """Every operation, in order of declaration."""
        for group in self.groups:
            yield from group.items

    def operation(self, name: str) -> Operation:
        """The operation of this name; raises `KeyError`."""
        for operation in self.operations():
            if operation.name == name:
                return operation
        raise KeyError(name)
