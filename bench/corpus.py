"""Pipelines as people write them, made up by a fixed seed: what a replay is tried on."""

import random

_COMMANDS = (
    "mkdir -p src && seq 1 {n} > src/{id}.txt",
    "find . -type f -not -name '{id}.*' | sort | xargs sha256sum > {id}.sums",
    'python3 -c "import json; print(json.dumps({{k: hash(k) for k in map(str, range({n}))}}))" > {id}.json',
    "echo {n} > {id}.in && tar --mtime=@$SOURCE_DATE_EPOCH -cf {id}.tar {id}.in && gzip -n {id}.tar",
    "python3 -c \"print(sorted({{'a','b','c'}}), {{*'hello'}})\" > {id}.txt",
    "echo $TZ $LC_ALL $SOURCE_DATE_EPOCH $BUILDEROS_SEED > {id}.env; date -u -d @$SOURCE_DATE_EPOCH >> {id}.env",
    "printf 'x = {n}\\n' > m_{id}.py && python3 -c 'import m_{id}; print(m_{id}.x)' > {id}.out",
    "awk 'BEGIN {{ srand(ENVIRON[\"BUILDEROS_SEED\"]); for (i = 0; i < {n}; i++) print rand() }}' > {id}.rnd",
    "ln -sf {id}.ls link_{id}; ls > {id}.ls",
    "mkdir -p deep/{id}/a/b && echo {id} > deep/{id}/a/b/c.txt && chmod 755 deep/{id}/a/b/c.txt",
)


def generated(number: int) -> str:
    """The steps of pipeline `number`: three to seven commands in lanes, now and then one that nobody can repeat."""
    by = random.Random(number)
    lines = ["steps:"]
    ids: list[str] = []
    for at in range(by.randint(3, 7)):
        id_ = f"s{at}"
        needs = by.sample(ids, min(len(ids), by.choice((0, 1, 1, 2))))
        command = by.choice(_COMMANDS).format(id=id_, n=by.randint(3, 60))
        more = f", needs: [{', '.join(needs)}]" if needs else ""
        if by.random() < 0.3:
            more += f', outputs: ["{id_}.*"]'
        if by.random() < 0.08:
            command, more = f"date +%s%N > {id_}.now", more + ", deterministic: false"
        lines.append(f"  - {{id: {id_}, lane: l{by.randint(0, 2)}{more}, run: {_quoted(command)}}}")
        ids.append(id_)
    return "\n".join(lines) + "\n"


def _quoted(command: str) -> str:
    return "'" + command.replace("'", "''") + "'"
