"""What other rooms may use of datasets: `use` gives one to whatever works with it."""

from .reading import content, listed, node_of, row_of, show, use
from .registering import register
from .sources import Arrivals

__all__ = ["Arrivals", "content", "listed", "node_of", "register", "row_of", "show", "use"]
