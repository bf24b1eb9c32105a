"""How patient this server is with apps."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. `warm_s`: how long what was live stays up behind what is; `drain_s`: what its last requests and sockets
    get then; `calm_s`: after which a process counts as steady; `again_s`: pauses before one that ended is started
    again; `give_up`: ends in a row after which it is not; `wait_s`: how long a request waits for an app that wakes;
    `bad_looks`: in a row make an alert, and an app that does not answer at all is ended then.
    """

    look_s: float = 0.5
    health_s: float = 10.0
    warm_s: float = 60.0
    drain_s: float = 30.0
    calm_s: float = 60.0
    again_s: tuple[float, ...] = (0.1, 0.5, 2.0, 5.0, 15.0, 60.0)
    wait_s: float = 30.0
    bad_looks: int = 3
    give_up: int = 12
