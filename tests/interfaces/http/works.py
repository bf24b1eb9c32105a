"""What a scene has of work: prompts, suites, pipelines, runs, agents, deployments, artifacts."""

import base64
from datetime import timedelta
from functools import cached_property

import sqlalchemy as sa

from builderos.core.ids import new_id
from builderos.core.unit import Unit, as_system
from builderos.execution.runs.model import steps
from builderos.workloads.agents.model import sessions
from builderos.workloads.endpoints import rows as endpoint_rows
from builderos.workloads.evals.model import evals
from builderos.workloads.lineage import service as lineage
from tests.support.deploying import stand
from tests.support.sessions import stand_session
from tests.support.uploads import begin, upload
from tests.support.world import Json, Sandbox, World

from .calls import numbers, prompt_file


def ask_in(unit: Unit, run_id: str) -> None:
    """Have the only step of a run ask, as its definition might."""
    asked = {"kind": "question", "gate": -1, "message": "Well?", "choices": []}
    later = unit.now + timedelta(days=1)
    unit.execute(
        sa.update(steps)
        .where(steps.c.run_id == run_id)
        .values(status="waiting_input", waiting=asked, next_at=later, started_at=unit.now)
    )


def try_in(unit: Unit, run_id: str, branch_id: str) -> None:
    """Have a suite of a branch be tried in a run."""
    said = {"regressions": [], "flaky": [], "cases": []}
    unit.execute(
        sa.insert(evals).values(
            id=new_id("evl"), org_id=unit.org_id, name=run_id, suite="scene", suite_digest="", run_id=run_id,
            repo_name="lab", branch_id=branch_id, branch="scene", counts=False, verdict="pass", pass_rate=1.0, cases=0,
            document=said, created_by=unit.actor.id, created_at=unit.now,
        )
    )  # fmt: skip


def switch_back(unit: Unit, endpoint_id: str) -> None:
    """Have the traffic of an endpoint be what it is, anew."""
    row = endpoint_rows.find(unit, endpoint_id)
    endpoint_rows.switch(unit, row, dict(row.traffic))


def open_session(unit: Unit, step_id: str, run_id: str) -> None:
    """Have the agent of a step be at work, as it is once its step has begun."""
    unit.execute(
        sa.insert(sessions).values(
            org_id=unit.org_id, step_id=step_id, number=1, run_id=run_id, agent="builder", spec={}, tree="",
            state="open", model_calls=0, tool_calls=0, input_tokens=0, output_tokens=0, cost=0.0, started_at=unit.now,
        )
    )  # fmt: skip


class Works:
    """The part of a scene that works; each thing is made when it is asked for."""

    world: World
    sandbox: Sandbox

    @cached_property
    def sandbox_id(self) -> str:
        items = self.world.ok(self.world.as_owner("GET", "/v1/sandboxes?limit=200"))["items"]
        return next(item["id"] for item in items if item["branch"] == self.sandbox.branch)

    @cached_property
    def pipeline(self) -> str:
        """A pipeline on the sandbox's branch."""
        on = "triggers: [manual, {after: other}, {webhook: push}]"
        text = f"name: scene\n{on}\nsteps:\n  - {{id: only, action: noop}}\n"
        self.sandbox.commit({"ship/scene/pipeline.yaml": text})
        return "scene"

    @cached_property
    def prompt(self) -> str:
        """A prompt of the registry."""
        self.world.ok(self.world.as_owner("POST", "/v1/prompts", json={"content": prompt_file("scene")}))
        return "scene"

    @cached_property
    def suite(self) -> str:
        """A suite of evals on the sandbox's branch."""
        self.sandbox.commit({"evals/scene.yaml": "replies: {a: x}\ncases: [{id: a, golden: x}]\n"})
        return "scene"

    @cached_property
    def tried_suite(self) -> str:
        """A suite with a result of a run on the sandbox's branch."""
        id_ = self.run_id
        branch_id = "br_" + self.sandbox_id.removeprefix("sbx_")
        as_system(self.world.context, self.world.org_id, lambda unit: try_in(unit, id_, branch_id))
        return "scene"

    @property
    def prompt_label(self) -> str:
        """A label that stands."""
        body = {"label": "trial", "version": "1.0.0"}
        self.world.ok(self.world.as_owner("POST", f"/v1/prompts/{self.prompt}/labels", json=body))
        return "trial"

    @cached_property
    def prompt_pack(self) -> str:
        """A pack with another one: whoever takes it in has it, too."""
        self.world.ok(self.world.as_owner("POST", "/v1/prompts", json={"content": prompt_file("packed")}))
        reply = self.world.as_owner("POST", "/v1/prompts/export", json={"prompts": ["packed"]})
        return base64.b64encode(reply.content).decode()

    @property
    def trigger_id(self) -> str:
        """A trigger that the owner has switched on."""
        return self.triggers()[0]["id"]

    def triggers(self) -> list[Json]:
        """All that the pipeline of the scene has, on anew."""
        where = {"repo_name": self.sandbox.repo_name, "branch": self.sandbox.branch}
        on = self.world.as_owner("POST", f"/v1/pipelines/{self.pipeline}/triggers", json=where)
        return self.world.ok(on)["items"]

    @cached_property
    def run_id(self) -> str:
        """A run on the sandbox's branch, which nobody carries out."""
        return self.sandbox.post("/v1/runs", pipeline=self.pipeline)["run_id"]

    @cached_property
    def deployment_id(self) -> str:
        """A preview of the sandbox's branch, which no process serves."""
        return self.fresh_deployment()

    def fresh_deployment(self) -> str:
        """One that is live, and one before it."""
        branch_id = "br_" + self.sandbox_id.removeprefix("sbx_")
        return as_system(self.world.context, self.world.org_id, lambda unit: stand(unit, branch_id))

    @cached_property
    def work_session_id(self) -> str:
        """A notebook on the sandbox's branch, which no process runs."""
        return self.fresh_session("running")

    def fresh_session(self, status: str) -> str:
        """One that stands so."""
        branch_id = "br_" + self.sandbox_id.removeprefix("sbx_")
        return as_system(
            self.world.context, self.world.org_id, lambda unit: stand_session(unit, branch_id, status)
        )

    def fresh_run(self, how: str) -> str:
        """Another one, brought so far: as it was started, `paused`, `cancelled`, or `asking` a question."""
        id_: str = self.sandbox.post("/v1/runs", pipeline=self.pipeline)["run_id"]
        verb = {"paused": "pause", "cancelled": "cancel"}.get(how)
        if verb is not None:
            self.world.ok(self.world.as_owner("POST", f"/v1/runs/{id_}/{verb}", json={}))
        if how == "asking":
            as_system(self.world.context, self.world.org_id, lambda unit: ask_in(unit, id_))
        return id_

    def fresh_agent(self) -> str:
        """The step of an agent that works on the branch."""
        id_: str = self.sandbox.post("/v1/agents/builder/runs", goal="Work")["run_id"]
        shown = self.world.ok(self.world.as_owner("GET", f"/v1/runs/{id_}"))
        step_id: str = shown["steps"][0]["id"]
        as_system(self.world.context, self.world.org_id, lambda unit: open_session(unit, step_id, id_))
        return step_id

    @cached_property
    def step_id(self) -> str:
        shown = self.world.as_owner("GET", f"/v1/runs/{self.run_id}")
        return self.world.ok(shown)["steps"][0]["id"]

    @cached_property
    def upload_id(self) -> str:
        """An upload of the sandbox, of which nothing has come."""
        return self.world.ok(begin(self.world, b"abc", "a.txt", self.sandbox.headers), 201)["id"]

    def fresh_fact(self) -> str:
        """A fact that the sandbox remembers, in its second version."""
        body = {"action": "add", "tier": "semantic", "fact": f"fact {next(numbers)}", "body": "one"}
        self.sandbox.post("/memory/manage", **body)
        return self.sandbox.post("/memory/manage", **(body | {"action": "update", "body": "two"}))["changed"][
            0
        ]

    @cached_property
    def model(self) -> str:
        """A registered model with one version."""
        return self.fresh_model()

    def fresh_model(self) -> str:
        """Another one."""
        name, owner = f"scene{next(numbers)}", self.world.as_owner
        self.world.ok(owner("POST", "/v1/models", json={"name": name}))
        self.world.ok(owner("POST", f"/v1/models/{name}/versions", json={"artifacts": [self.artifact_id]}))
        self.world.ok(owner("POST", f"/v1/models/{name}/aliases", json={"alias": "first", "version": 1}))
        return name

    def fresh_endpoint(self) -> str:
        """An endpoint whose only deployment answers, as far as its rows know."""
        body = {"name": f"scene{next(numbers)}", "model_version": f"{self.model}@1"}
        made = self.world.ok(self.world.as_owner("POST", "/v1/endpoints", json=body))
        first: str = made["deployments"][0]["id"]
        as_system(self.world.context, self.world.org_id, lambda unit: endpoint_rows.ready(unit, first, 100))
        return made["id"]

    def rolled_endpoint(self) -> str:
        """Another one, whose traffic has changed."""
        id_ = self.fresh_endpoint()
        as_system(self.world.context, self.world.org_id, lambda unit: switch_back(unit, id_))
        return id_

    @cached_property
    def endpoint_id(self) -> str:
        return self.fresh_endpoint()

    @property
    def model_deployment_id(self) -> str:
        """The deployment behind it."""
        shown = self.world.ok(self.world.as_owner("GET", f"/v1/endpoints/{self.endpoint_id}"))
        return shown["deployments"][-1]["id"]

    def staged_model(self) -> str:
        """Another one, whose version is staged."""
        name = self.fresh_model()
        self.world.ok(
            self.world.as_owner("POST", f"/v1/models/{name}/versions/1/stage", json={"stage": "staged"})
        )
        return name

    @cached_property
    def promotion_id(self) -> str:
        """A promotion that was applied."""
        return self.fresh_promotion()

    def fresh_promotion(self) -> str:
        """Another one."""
        body = {"kind": "stage_to_prod", "from": {"name": self.staged_model(), "version": 1}}
        asked = self.world.ok(self.world.as_owner("POST", "/v1/promotions", json=body))
        verdict = {"decision": "approve"}
        self.world.ok(self.world.as_owner("POST", f"/v1/approvals/{asked['approval_id']}", json=verdict))
        return asked["id"]

    @cached_property
    def dataset_id(self) -> str:
        """A dataset that the sandbox registered."""
        return self.sandbox.post("/v1/datasets", name=f"data{next(numbers)}", artifacts=[self.artifact_id])[
            "id"
        ]

    @cached_property
    def table_id(self) -> str:
        """A dataset that is a table."""
        kept = upload(self.world, b'{"x": 1}\n', "rows.jsonl", self.sandbox.headers)["id"]
        return self.sandbox.post("/v1/datasets", name=f"table{next(numbers)}", artifacts=[kept])["id"]

    @cached_property
    def scoring_job_id(self) -> str:
        """A job that waits to be carried out."""
        body = {"version": 1, "dataset_ref": self.table_id, "repo_name": self.sandbox.repo_name}
        body["branch"] = self.sandbox.branch
        return self.world.ok(self.world.as_owner("POST", f"/v1/models/{self.model}/score", json=body))["id"]

    @cached_property
    def experiment_id(self) -> str:
        """An experiment of the organisation."""
        made = self.world.as_owner("POST", "/v1/experiments", json={"name": f"experiment {next(numbers)}"})
        return self.world.ok(made)["id"]

    @cached_property
    def experiment_run_id(self) -> str:
        """A run of it."""
        path = f"/v1/experiments/{self.experiment_id}/runs/open"
        return self.world.ok(self.world.as_owner("POST", path, json={}))["id"]

    @cached_property
    def archive_id(self) -> str:
        """An experiment that was given out, sent back as an artifact."""
        data = self.world.as_owner("GET", f"/v1/experiments/{self.experiment_id}/export").content
        return upload(self.world, data, "experiment.zip")["id"]

    @cached_property
    def submission(self) -> Json:
        """What a run of an experiment has to name, on the sandbox's branch."""
        where = {"repo_name": self.sandbox.repo_name, "branch": self.sandbox.branch, "runtime": "local"}
        return {**where, "dataset_ref": self.dataset_id, "code_sha": self.sandbox.branch, "command": "true"}

    def _sweep(self) -> str:
        path = f"/v1/experiments/{self.experiment_id}/sweeps"
        body = {**self.submission, "space": {"a": [1, 2]}, "goal": {"metric": "acc"}}
        return self.world.ok(self.world.as_owner("POST", path, json=body))["id"]

    @cached_property
    def sweep_id(self) -> str:
        """A search, which nobody carries out."""
        return self._sweep()

    def fresh_trial(self) -> str:
        """A run that waits to be carried out."""
        sweep = self.world.ok(self.world.as_owner("GET", f"/v1/experiment-runs/{self._sweep()}/sweep"))
        return sweep["trials"][0]["id"]

    @cached_property
    def traced_id(self) -> str:
        """A run of the scene of which lineage knows something, made in its sandbox."""

        def tell(unit: Unit) -> None:
            made = lineage.Node("artifact", new_id("art"), "a.txt")
            run = lineage.Node("run", self.run_id, "scene")
            lineage.record(unit, run, made, "made", sandbox_id=self.sandbox_id)

        as_system(self.world.context, self.world.org_id, tell)
        return self.run_id

    @cached_property
    def artifact_id(self) -> str:
        """Something that the sandbox keeps."""
        return upload(self.world, b"abc", "a.txt", self.sandbox.headers)["id"]
