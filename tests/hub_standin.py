"""Repositories in memory -> a server on loopback that speaks as much of the hub's HTTP as huggingface_hub needs.

https://huggingface.co/docs/hub/api and https://github.com/git-lfs/git-lfs, docs/api/batch.md. Files of `LARGE` kinds go
through git-LFS, as on the hub.
"""

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_a-token-of-these-tests"
LARGE = (".safetensors", ".bin")


@dataclass
class Repository:
    private: bool = False
    gated: bool = False
    commits: list[dict[str, bytes]] = field(default_factory=list)

    def files(self, revision: str) -> dict[str, bytes] | None:
        known = {commit_name(number): files for number, files in enumerate(self.commits)}
        return self.commits[-1] if revision == "main" and self.commits else known.get(revision)


def commit_name(number: int) -> str:
    return hashlib.sha1(str(number).encode()).hexdigest()


class Hub:
    """`with Hub() as hub: hub.url`; `hub.asked` lists (method, path, whether the token came with it)."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, bool]] = []
        self.read_only = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
                hub.asked.append((self.command, self.path, known))
                status, headers, said = hub.answer(self.command, self.path.partition("?")[0], body, known)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(said)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(said)

            do_GET = do_HEAD = do_POST = do_PUT = answer

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.listener.server_port}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.listener.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        self.listener.shutdown()
        self.listener.server_close()

    def answer(self, method: str, path: str, body: bytes, known: bool) -> tuple[int, dict[str, str], bytes]:
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.resolved(*found.groups(), known)
        if method == "PUT":
            self.stored[path.rpartition("/")[2]] = body
            return 200, {}, b""
        if path == "/api/validate-yaml":
            return _json({"errors": [], "warnings": []})
        if not known:
            return _refused(401, "")
        if self.read_only:
            return _refused(403, "")
        if path == "/api/repos/create":
            return self.created(json.loads(body))
        if found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self.batch(json.loads(body))
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": name, "uploadMode": "lfs" if name.endswith(LARGE) else "regular"} for name in names]
            return _json({"files": [mode | {"shouldIgnore": False} for mode in modes]})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            return self.committed(found[1], [json.loads(line) for line in body.splitlines()])
        raise AssertionError(f"{method} {path} is not part of this stand-in")

    def resolved(self, name: str, revision: str, file: str, known: bool) -> tuple[int, dict[str, str], bytes]:
        repository = self.repositories.get(name)
        if repository is None or (repository.private and not known):
            return _refused(401 if not known else 404, "RepoNotFound")
        if repository.gated:
            return _refused(403, "GatedRepo")
        files = repository.files(revision)
        if files is None:
            return _refused(404, "RevisionNotFound")
        commit = commit_name(next(i for i, held in enumerate(repository.commits) if held is files))
        if file not in files:
            return _refused(404, "EntryNotFound", {"X-Repo-Commit": commit})
        data = files[file]
        return 200, {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}, data

    def created(self, asked: dict) -> tuple[int, dict[str, str], bytes]:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.repositories:
            return 409, {}, json.dumps({"url": f"{self.url}/{name}"}).encode()
        self.repositories[name] = Repository(private=asked.get("private") or asked.get("visibility") == "private")
        return _json({"url": f"{self.url}/{name}", "name": name})

    def batch(self, asked: dict) -> tuple[int, dict[str, str], bytes]:
        actions = [
            {**each, "actions": {"upload": {"href": f"{self.url}/upload/{each['oid']}"}}} for each in asked["objects"]
        ]
        return _json({"transfer": "basic", "objects": actions})

    def committed(self, name: str, lines: list[dict]) -> tuple[int, dict[str, str], bytes]:
        repository = self.repositories[name]
        files = dict(repository.commits[-1]) if repository.commits else {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.stored[value["oid"]]
        repository.commits.append(files)
        oid = commit_name(len(repository.commits) - 1)
        return _json({"success": True, "commitOid": oid, "commitUrl": f"{self.url}/{name}/commit/{oid}"})


def _json(value: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def _refused(status: int, code: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    return status, {**({"X-Error-Code": code} if code else {}), **(headers or {})}, b""
