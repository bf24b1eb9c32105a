"""Socket files."""

import os
import socket


def listener_at(folder: str | os.PathLike[str], name: str) -> socket.socket:
    """A socket at a new file in a folder, for this user alone; it does not listen yet. Raises `OSError`.

    It is bound by way of the open folder: the path of a socket may have 107 bytes, that of a folder more.
    """
    held = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX)
    try:
        place = f"/proc/self/fd/{held}/{name}"
        sock.bind(place)
        os.chmod(place, 0o600)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(held)
    return sock
