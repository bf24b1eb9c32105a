"""Examples of the operations on apps."""

from typing import Any, Final

_ID: Final = "01JD3W6Q8Z5V2N7X4K9T0M1R3B"
_KEY: Final[dict[str, Any]] = {"idempotency_key": "9c1f6f0e-2a51-4a8e-9d57-0a4f7b6f5c11"}

APPS: Final[dict[str, dict[str, Any]]] = {
    "createApp": {
        **_KEY, "name": "sales", "type": "streamlit",
        "source": {"repo_name": "ai-builder-lab", "branch": "main", "path": "dashboards/sales.py"},
        "runtime": "py311", "secrets": ["WAREHOUSE_URL"], "policy": {"roles": ["builder", "reviewer"]},
    },
    "listApps": {"type": "streamlit", "limit": 20},
    "showApp": {"id": f"app_{_ID}"},
    "changeApp": {**_KEY, "id": f"app_{_ID}", "policy": {"open": "org"}, "idle_timeout": 900},
    "deleteApp": {"id": f"app_{_ID}"},
    "releaseApp": {**_KEY, "id": f"app_{_ID}", "branch": "sandbox-golden-otter"},
    "listAppReleases": {"id": f"app_{_ID}", "limit": 20},
    "rollBackApp": {**_KEY, "id": f"app_{_ID}", "reason": "The totals are wrong."},
    "stopApp": {**_KEY, "id": f"app_{_ID}"},
    "startApp": {**_KEY, "id": f"app_{_ID}"},
    "openApp": {**_KEY, "id": f"app_{_ID}", "path": "/?region=north"},
    "appLogs": {"id": f"app_{_ID}", "of": "build", "offset": 0},
}  # fmt: skip
