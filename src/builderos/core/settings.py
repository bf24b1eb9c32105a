"""Every setting in one frozen object, read once from the environment by the composition root.

Each field is an environment variable: `BUILDEROS_` + the upper-case name, except the few with an alias (SPEC §17).
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .dialing import networks_of
from .home import default_home

_SHORTEST_KEY = 32


class Settings(BaseSettings):
    """All limits are per SPEC §3.7; sizes in bytes, times in seconds unless the name says otherwise."""

    model_config = SettingsConfigDict(
        env_prefix="BUILDEROS_", frozen=True, populate_by_name=True, extra="ignore"
    )

    home: Path = Field(
        default_factory=default_home, description="State folder: database, repositories, keys."
    )
    host: str = Field("127.0.0.1", description="Address to bind.")
    port: int = Field(
        8420,
        validation_alias=AliasChoices("PORT", "port"),
        ge=0,
        le=65535,
        description="Port; 0 picks a free one.",
    )
    database_url: SecretStr | None = Field(
        None, description="Administrative URL of a PostgreSQL ≥ 15; the embedded one when unset."
    )
    secret_key: SecretStr | None = Field(
        None,
        description="Pepper of credential hashes and database roles; made and kept in the home when unset.",
    )
    wrapping_keys: SecretStr | None = Field(
        None,
        description="Keys that wrap the organisations' keys instead of the secret key: the newest first, then the "
        "older ones until everything is under the newest, with commas between them; at least 32 characters each.",
    )
    public_url: str | None = Field(None, description="The address users see, when a proxy stands in front.")
    proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="Trusted proxies in front; callers are told apart by what the outermost adds to X-Forwarded-For.",
    )
    anonymous: bool = Field(True, description="Whether somebody without a credential may open a sandbox.")
    anonymous_names: bool = Field(
        False,
        description="Whether anonymous users may push commits that carry a real name and address.",
    )
    default_write_branch: str | None = Field(
        None,
        validation_alias=AliasChoices("DEFAULT_WRITE_BRANCH", "default_write_branch"),
        description="Branch for writes of members and API keys that name none; never for anonymous users.",
    )
    base_branch: str = Field("sandbox", description="Branch that new sandboxes start from.")
    token_profile: Literal["standard", "minimal"] = Field(
        "standard", description="Tool profile of new tokens: standard or minimal."
    )

    max_text_file: int = Field(1024 * 1024, description="Largest file of a commit.")
    max_files_per_commit: int = Field(100, description="Files in one commit.")
    max_files_per_sandbox: int = Field(500, description="Files a sandbox may add or change against its base.")
    max_commits_per_sandbox: int = Field(1000, description="Commits in one sandbox.")
    max_message: int = Field(20_000, description="Characters of a commit message.")
    max_push: int = Field(20 * 1024 * 1024, description="Bytes of one pushed pack.")
    max_batch_files: int = Field(50, description="Files of one batch read.")
    max_batch_chars: int = Field(90_000, description="Characters of one batch read.")
    max_body: int = Field(8 * 1024 * 1024, description="Bytes of one request body.")
    large_diff_lines: int = Field(400, description="Changed lines that raise the alert large_diff.")
    memory_reply: int = Field(16_000, description="Bytes of one memory reply.")
    max_memory_items: int = Field(1_000_000, description="Things that an organisation may keep in mind.")
    embedding_model: str | None = Field(
        None,
        pattern=r"^[^/\s]+/\S+$",
        description="Model for the vectors of the memory, as the gateway knows it (provider/model); hashed pieces of "
        "words, without any model, when unset.",
    )

    rate_per_token: int = Field(60, ge=1, description="Requests per token and minute.")
    rate_per_org: int = Field(600, ge=1, description="Requests per organisation and minute.")
    rate_per_workload: int = Field(
        1200, ge=1, description="Requests per minute of an app or a session that calls endpoints and models."
    )
    rate_logged: int = Field(
        30_000, ge=1, description="Requests per token and minute that log to experiments or ask for them."
    )
    rate_invalid_tokens: int = Field(20, ge=1, description="Invalid tokens per caller and minute.")
    rate_anonymous_inits: int = Field(10, ge=1, description="Anonymous sandboxes per caller and hour.")

    token_callers: int = Field(
        20, ge=1, description="Callers that may use one token within a minute; more is abuse."
    )
    suspend_abused: bool = Field(True, description="Whether a token that is abused is suspended at once.")

    token_ttl_days: int = Field(90, description="Inactivity after which a token expires.")
    idle_days: int = Field(14, description="Days without a change after which a sandbox counts as idle.")
    grace_days: int = Field(30, description="Days after expiry in which a sandbox can be renewed.")
    idempotency_hours: int = Field(24, description="How long an idempotency key is remembered.")
    protected_labels: str = Field(
        "prod,production,stable",
        description="Labels of prompts that move with a permission of their own, or with an approval.",
    )
    approval_hours: int = Field(24, description="How long an approval request stays open.")
    backup_daily: int = Field(30, description="Daily backups of main that are kept.")
    backup_monthly: int = Field(12, description="Monthly backups of main that are kept.")
    exports_weekly: int = Field(12, description="Weekly exports of memory and changelog that are kept.")
    prbot: bool = Field(False, description="Whether PRBot comments and approves tiny changes outside main.")
    prbot_max_lines: int = Field(4, description="Largest change PRBot may approve, added plus deleted lines.")

    artifact_url: str | None = Field(
        None,
        description="Where artifacts lie until somebody moves them: s3://bucket/prefix?endpoint=…&region=…, or "
        "file:///folder that all machines share; a folder of the state folder when unset. When set, repositories keep "
        "there what other machines need of them.",
    )
    max_artifact: int = Field(1024**3, description="Bytes of one artifact.")
    max_artifact_part: int = Field(
        64 * 1024 * 1024, description="Bytes that one request of an upload may bring."
    )
    max_artifact_space: int = Field(100 * 1024**3, description="Bytes of all artifacts of an organisation.")
    artifact_upload_hours: int = Field(
        24, ge=1, description="Hours after which an unfinished upload is forgotten."
    )

    disk_reserve: int = Field(
        64 * 1024 * 1024, description="Bytes of free disk below which nothing is written."
    )

    smtp_url: SecretStr | None = Field(
        None,
        description="Where mail goes: smtp://user:password@host:587 (STARTTLS) or smtps://…; none when unset. The "
        "password secret:NAME stands for a secret of the vault.",
    )
    mail_from: str = Field("builderos@localhost", description="Sender of the mail.")
    webhook_networks: str = Field(
        "",
        description="Networks of this server's own that webhooks may reach, too, e.g. 10.1.0.0/16,127.0.0.1/32.",
    )
    oidc_issuer: str | None = Field(None, description="Issuer of the OpenID Connect provider for signing in.")
    oidc_client_id: str | None = Field(None, description="Our client id there.")
    oidc_client_secret: SecretStr | None = Field(
        None, description="Our client secret there; PKCE alone when unset."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "warning", description="From which level on the server logs; info writes a line per request."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="Form of the log: json, text, or text on a terminal and json elsewhere."
    )
    metrics_token: SecretStr | None = Field(
        None,
        description="Credential of whoever reads /metrics; when unset, only callers on this machine may.",
    )

    oidc_networks: str = Field(
        "",
        description="Networks of this server's own in which organisations may have providers, e.g. 10.1.0.0/16.",
    )

    otlp_endpoint: str | None = Field(
        None,
        description="Where traces go by OTLP over HTTP, e.g. http://127.0.0.1:4318/v1/traces; nowhere when unset.",
    )
    otlp_headers: SecretStr | None = Field(
        None, description="Headers for that address as name=value,name=value, e.g. its credential."
    )
    otlp_ratio: float = Field(1.0, ge=0, le=1, description="Share of the requests that are traced.")
    database_patience_s: float = Field(
        10, gt=0, le=600, description="Seconds without an answer after which the database counts as away."
    )
    drain_s: float = Field(
        20, ge=0, le=600, description="Seconds that running requests and schedules get to end after SIGTERM."
    )
    workers: int = Field(16, ge=1, le=64, description="Threads that serve requests.")
    run_slots: int = Field(
        4, ge=1, le=1024, description="Commands of runs that this process has run at once."
    )
    max_deployments: int = Field(
        20,
        ge=1,
        le=1000,
        description="Environments of one repository, previews included, that are live at once.",
    )
    max_sessions: int = Field(
        10, ge=1, le=1000, description="Notebooks and shells of an organisation that run at once."
    )
    max_apps: int = Field(50, ge=1, le=1000, description="Apps of an organisation that are active at once.")
    proxy_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port of the door to notebooks, shells and apps, an origin of its own; 0 picks a free one. The one "
        "behind `PORT` when unset, or a free one where that is taken.",
    )
    proxy_url: str | None = Field(
        None,
        pattern=r"^https?://[A-Za-z0-9.*:_-]+/?$",
        description="The address of that door where a proxy stands in front, e.g. https://*.work.example.com: the * "
        "stands for a name of each session's and app's own, so that none can act in another.",
    )
    queues: str = Field(
        "steps",
        description="Queues from which this process takes commands of runs; none when empty: then other processes on "
        "the same database, `builderos worker`, have to.",
    )
    engine: bool = Field(True, description="Whether this process runs schedules and the outbox.")
    ssot: Path | None = Field(
        None,
        description="Folder with workbench/runtimes.yaml and providers/<name>/sandbox.yaml of this server, in ssot/; "
        "the home when unset.",
    )
    ai_model: str | None = Field(
        None,
        description="The model that `default` means, e.g. openai/a-model; as the server's file says when unset.",
    )
    ai_networks: str = Field(
        "", description="Networks of this server's own in which providers of models may be, e.g. 10.1.0.0/16."
    )
    sandbox_networks: str = Field(
        "",
        description="Networks of this server's own (a registry of packages, say) in which hosts may be that the policy"
        " lets commands in sandboxes of this machine reach.",
    )
    ai_anonymous: bool = Field(
        False, description="Whether workspaces that nobody signed in for may use models."
    )
    openlineage: str = Field(
        "",
        description="Where runs are told of in the words of OpenLineage: an address that takes events, e.g. "
        "http://127.0.0.1:5000/api/v1/lineage, or file (openlineage/ in the state folder); nowhere when unset.",
    )
    openlineage_token: SecretStr | None = Field(None, description="Credential for that address.")
    openlineage_producer: str | None = Field(
        None, description="URI that names this server in those events; its own address when unset."
    )
    dataset_networks: str = Field(
        "", description="Networks of this server's own from which datasets may be fetched, e.g. 10.1.0.0/16."
    )
    vercel_token: SecretStr | None = Field(
        None, description="Credential for the sandboxes of Vercel, where that provider is enabled."
    )
    signing_key: Path | None = Field(None, description="SSH private key that signs the server's commits.")

    @model_validator(mode="after")
    def _main_is_never_a_default(self) -> Self:
        branch = (self.default_write_branch or "").removeprefix("refs/heads/")
        if self.anonymous and branch in {"main", "master", self.base_branch}:
            raise ValueError(
                f"DEFAULT_WRITE_BRANCH={branch} with anonymous mode on would let strangers write a shared branch; "
                "choose a dev branch or set BUILDEROS_ANONYMOUS=false"
            )
        return self

    @field_validator(
        "webhook_networks", "oidc_networks", "ai_networks", "dataset_networks", "sandbox_networks"
    )
    @classmethod
    def _networks(cls, text: str) -> str:
        networks_of(text)
        return text

    @property
    def address(self) -> str:
        """The address that links begin with; never taken from a request, whose Host anybody chooses."""
        if self.public_url is not None:
            return self.public_url.rstrip("/")
        return f"http://{self.host}:{self.port}"

    @field_validator("wrapping_keys")
    @classmethod
    def _long_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is not None and any(
            len(key.strip()) < _SHORTEST_KEY for key in keys.get_secret_value().split(",")
        ):
            raise ValueError(f"each key needs at least {_SHORTEST_KEY} characters")
        return keys

    @property
    def newer_keys(self) -> list[str]:
        """The keys that wrap organisations' keys before the secret key does, the newest first."""
        text = self.wrapping_keys.get_secret_value() if self.wrapping_keys is not None else ""
        return [key.strip() for key in text.split(",") if key.strip()]

    @property
    def home_dir(self) -> Path:
        """The absolute state folder."""
        return self.home.expanduser().absolute()


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment; `overrides` win (used by tests and by CLI flags)."""
    return Settings(**overrides)
