"""A notebook from its start to its end: a cell through the door, files on the branch, a second start."""

from tests.support.notebooks import Desk, cell


def test_a_notebook_runs_a_cell_through_the_door_and_its_files_come_to_the_branch(desk: Desk) -> None:
    desk.ship.box.commit({"data.txt": "42\n"})
    made = desk.start()
    assert made["kind"] == "notebook"
    assert made["url"]
    assert made["starts"] == 1
    code = "text = open('data.txt').read()\nopen('made.txt', 'w').write('made of ' + text)\nprint(text)"
    assert cell(desk, made["id"], code) == "42\n\n"
    desk.post(f"/v1/sessions/{made['id']}/stop")
    ended = desk.until(made["id"], "stopped")
    assert (ended["reason"], ended["url"]) == ("asked", None)
    assert ended["checkpoint"]["files"] == 1
    assert ended["usage"]["cpu_s"] > 0
    assert desk.file("made.txt") == "made of 42\n"
    desk.post(f"/v1/sessions/{made['id']}/restart", 202)
    again = desk.until(made["id"], "running", "idle")
    assert again["starts"] == 2
    assert cell(desk, made["id"], "print(open('made.txt').read())") == "made of 42\n\n"
