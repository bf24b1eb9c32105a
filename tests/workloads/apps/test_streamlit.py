"""Streamlit itself, unmodified, behind the door. Its environment takes a minute to make: `BUILDEROS_SOAK=1` does it."""

import asyncio
import os
import sys

import aiohttp
import pytest

from tests.support.environments import environment
from tests.support.hosting import Dock, approve, host_of

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not os.environ.get("BUILDEROS_SOAK"), reason="make soak tries Streamlit itself"),
]
PAGE = "import streamlit as st\nst.title('Sales')\nst.write(f\"squared: {st.slider('n', 1, 10, 3) ** 2}\")\n"


def test_a_page_of_streamlit_is_served_below_a_path_with_its_socket(dock: Dock) -> None:
    place = environment("streamlit", "streamlit.web.cli", "pandas", "pyarrow")
    approve(dock.world.home, folders=(str(place), sys.base_prefix))
    dock.commit({"page.py": PAGE})
    made = dock.make("streamlit", "page.py", base_path="/sales", profile="")
    dock.release(made["id"])
    made, token = dock.call("GET", f"/v1/apps/{made['id']}"), dock.token(made["id"])
    page = dock.ask(made, "/sales/", token=token)
    assert (page.status, b"<title>Streamlit</title>" in page.body) == (200, True)

    async def ran() -> tuple[str | None, bytes]:
        origin = f"http://{host_of(made)}"
        async with (
            dock.client(made, token=token) as http,
            http.ws_connect(
                f"{dock.at}/sales/_stcore/stream", protocols=("streamlit",), origin=origin
            ) as line,
        ):
            await line.send_bytes(bytes.fromhex("5a00"))  # BackMsg.rerun_script, with nothing in it
            heard = b""
            while b"squared: 9" not in heard:
                message = await line.receive(timeout=120)
                assert message.type is aiohttp.WSMsgType.BINARY, message
                heard += message.data
            return line.protocol, heard

    protocol, heard = asyncio.run(ran())
    assert protocol == "streamlit"
    assert b"Sales" in heard
