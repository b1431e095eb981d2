"""A web API that wants a key: how a person gives it to the service, and who else sees it."""

import json
import time

from tests.compose.project import PATIENCE, Project, docker, inspect
from tests.compose.videos import wait_for

PORT = 8001
TOKEN = "open-sesame-0123456789"
API = f"""
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
class Api(BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers.get("Authorization") == "Bearer {TOKEN}"
        self.send_response(200 if known else 401)
        self.end_headers()
        self.wfile.write(json.dumps([{{"id": n}} for n in range(3)]).encode())
HTTPServer(("", {PORT}), Api).serve_forever()
"""
FLOW = """
flow: keyed
nodes:
  seeds: {{type: intake}}
  items: {{type: records, from: seeds, auth: shop, allow_hosts: ["{host}"]}}
"""
READ = "import json, pathlib; print(json.dumps(pathlib.Path('/run/lode/records/api-shop').read_text()))"


def serve(project: Project) -> str:
    """An API in the site's container, which answers whoever shows the token; its host and port."""
    docker("exec", "-d", project.container("site"), "python3", "-c", API)
    look = f"import socket, json; print(json.dumps(socket.socket().connect_ex(('127.0.0.1', {PORT}))))"
    deadline = time.monotonic() + PATIENCE
    while project.python("site", look):
        assert time.monotonic() < deadline, "the API does not come up"
        time.sleep(0.1)
    return f"{project.address().rpartition(':')[0]}:{PORT}"


def give(project: Project, text: str) -> None:
    """As deploy/README.md says."""
    key = project.folder / "shop.key"
    key.write_text(text)
    project.compose("cp", str(key), "init:/run/lode/records/api-shop")
    project.up()


def test_a_key_is_given_used_and_shown_to_nobody(stack: Project) -> None:
    host = serve(stack)
    file = stack.folder / "keyed.yaml"
    file.write_text(FLOW.format(host=host))
    stack.lode("flow", "deploy", str(file))
    stack.lode("seed", "keyed", f"http://{host}/items", "--kind", "records")
    (dead,) = wait_for(stack, "select reason, detail from dead where flow = 'keyed'")
    assert "cannot read /run/lode/records/api-shop" in dead["detail"]
    worker = stack.container("records")
    give(stack, f"Site: http://{host}\nAuthorization: Bearer {TOKEN}\n")
    assert stack.container("records") == worker, "nothing else is started again"
    stack.lode("dead", "retry", "items")
    wait_for(stack, "from listings where flow = 'keyed'")
    assert len(stack.sql("from records where flow = 'keyed'")) == 3
    assert TOKEN in stack.python("records", READ)
    for service in ("extract", "catalog", "house"):
        tried = docker("exec", stack.container(service), "cat", "/run/lode/records/api-shop", check=False)
        assert "Permission denied" in tried.stderr
    seen = "".join(json.dumps(inspect(one)) for one in stack.containers()) + stack.compose("config").stdout
    assert TOKEN not in seen + stack.logs("records", "house")
