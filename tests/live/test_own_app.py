"""The wheel in applications that are not ours: what the guide and `celadon init` say is what is run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from celadon import scaffold
from tests.conftest import need
from tests.live.own_app import ROOT, Application, Environment, ask, build
from tests.servers import RedisServer
from tests.servers.process import find_program, free_port

GUIDE = ROOT / "docs" / "guides" / "use-it-in-your-application.md"
STAYS = ("flask run", "celadon worker", "celadon beat", "celadon web")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Environment:
    return Environment(tmp_path_factory.mktemp("wheel"), wheel)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that is not started yet."""
    server = need(lambda: RedisServer(tmp_path))
    yield server
    server.stop()


@pytest.fixture
def app(tmp_path: Path, environment: Environment, redis: RedisServer) -> Iterator[Application]:
    """An empty folder, with the address of a Redis that is not started."""
    made = Application(tmp_path / "app", environment, BROKER_URL=redis.url)
    yield made
    made.stop()


def files_of_the_guide() -> dict[str, str]:
    """The blocks that say the name of their file, by that name."""
    blocks = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    named = ((re.match(r"# (\w+\.py)\n", block), block) for block in blocks)
    return {name.group(1): block for name, block in named if name}


def console(text: str) -> list[list[str]]:
    """The commands of each console block."""
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [re.findall(r"^\$ (.+)$", block, re.MULTILINE) for block in blocks]


def test_the_package_comes_from_the_wheel_and_needs_none_of_its_extras(app, environment):
    told = app.run("python -c 'import celadon, sys; print(celadon.__file__, *sys.path)'")

    package, *path = told.split()
    assert package.startswith(str(environment.folder / "venv"))
    assert str(ROOT) not in path
    for extra in ("flask", "psycopg"):
        assert f"No module named '{extra}'" in app.run(f"python -c 'import {extra}'", fails=True, HIDE_EXTRAS="1")


@pytest.mark.parametrize("command", ["celadon beat", "python cleanup.py /tmp"])
def test_a_folder_without_an_operators_file_is_told_so(app, command):
    app.write({"cleanup.py": files_of_the_guide()["cleanup.py"]})

    told = app.run(command, fails=True)

    assert "The configuration module 'celeryconfig' is not found; run from the folder that holds it" in told
    assert told.startswith("Error: ") or command.startswith("python")


def test_a_plain_script_does_its_job_with_no_more_than_the_platform(app):
    files = files_of_the_guide()
    app.write({name: files[name] for name in ("cleanup.py", "celeryconfig.py")})
    app.write({"celeryconfig.py": files["celeryconfig.py"].replace('("jobs",)', '("cleanup",)'), "one.tmp": ""})
    [commands] = [block for block in console(GUIDE.read_text()) if "python cleanup.py" in block[-1]]

    told = [app.run(command.replace("/tmp", "."), HIDE_EXTRAS="1") for command in commands]

    assert told == ["celadon.ledger.migrations: up to date\n", "inline 1\n"]
    assert not (app.folder / "one.tmp").exists()


def test_an_empty_flask_application_submits_with_and_without_a_broker(app, redis):
    files = files_of_the_guide()
    app.write(files)
    app.write({"celeryconfig.py": files["celeryconfig.py"].replace('("jobs",)', '("jobs", "cleanup")')})
    port = free_port()
    app.env["FLASK_RUN_PORT"] = str(port)
    migrate, serve = next(block for block in console(GUIDE.read_text()) if "flask run" in block)
    app.run(migrate)
    app.start(serve)
    app.listens(port)

    # No broker yet: the request runs the job.
    url = f"http://127.0.0.1:{port}"
    receipt = ask(f"{url}/customers", b"name=Ada")
    assert receipt["outcome"] == "inline"
    assert ask(f"{url}/mails/{receipt['job_id']}") == {"state": "succeeded", "result": "Welcome, Ada!"}

    # A broker, a worker and a scheduler: the worker runs it.
    redis.start()
    for command in next(block for block in console(GUIDE.read_text()) if "celadon beat" in block):
        app.start(command)

    def queued() -> str:
        receipt = ask(f"{url}/customers", b"name=Grace")
        return str(receipt["job_id"]) if receipt["outcome"] == "queued" else ""

    job_id = app.eventually("the application has found the broker", queued)
    assert app.done(f"{url}/mails/{job_id}")["result"] == "Welcome, Grace!"
    assert app.engine(job_id) == "worker"

    # What is due later comes by way of the scheduler, and a script's job by way of the script's own module.
    later = "from celadon import submit; print(submit('mail.welcome', {'name': 'Linus'}, delay=0.2).job_id)"
    job_id = app.run(f'python -c "{later}"').strip()
    assert app.done(f"{url}/mails/{job_id}")["result"] == "Welcome, Linus!"
    (app.folder / "two.tmp").touch()
    assert app.run("python cleanup.py .").startswith("queued ")
    app.eventually("the worker has cleaned up", lambda: not (app.folder / "two.tmp").exists())


@pytest.fixture
def newcomer(tmp_path: Path, app: Application) -> Iterator[Application]:
    """What `celadon init` has written, in an environment that has nothing of Celadon yet."""
    app.run("celadon init mine")
    (tmp_path / "bare").mkdir()
    made = Application(app.folder / "mine", Environment(tmp_path / "bare", None), BROKER_URL=app.env["BROKER_URL"])
    yield made
    made.stop()


def test_what_init_writes_works_as_its_readme_says(newcomer, redis, wheel):
    app = newcomer
    need(lambda: find_program("curl"))
    assert "No module named 'celadon'" in app.run("python -c 'import celadon'", fails=True)
    written = {str(path.relative_to(app.folder)) for path in app.folder.rglob("*") if path.is_file()}
    assert written == set(scaffold.files())
    ports = {"5000": free_port(), "8000": free_port()}
    app.env |= {"FLASK_RUN_PORT": str(ports["5000"]), "WEB_BIND": f"127.0.0.1:{ports['8000']}", "WEB_WORKERS": "1"}
    told = []
    for block in console((app.folder / "README.md").read_text().replace("PATH/TO/dist", str(wheel.parent))):
        if "celadon beat" in block:
            app.stop()
            redis.start()
        for command in block:
            if any(stays in command for stays in STAYS):
                app.start(command)
                continue
            for port in ports:
                if f":{port}/" in command:
                    command = command.replace(port, str(ports[port]))
                    app.listens(ports[port])
            told.append(app.run(command))

    _, _, migrated, tested, without, with_workers = told
    assert migrated == "celadon.ledger.migrations: up to date\n"
    assert "2 passed" in tested
    assert json.loads(without)["receipt"]["outcome"] == "inline"
    ordered = json.loads(with_workers)
    assert ordered["receipt"]["outcome"] == "queued"
    made = app.done(f"http://127.0.0.1:{ports['8000']}{ordered['href']}")
    assert made == {"state": "succeeded", "result": "Hello, Grace!"}
    assert app.engine(ordered["receipt"]["job_id"]) == "worker"
