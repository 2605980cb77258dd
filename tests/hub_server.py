"""A hub on this machine: as much of the protocol as the real client uses for datasets and models, faults on request.

State is in memory. Large files go through LFS to a storage of another origin, as on the real hub, which
must never see the token. Xet is not spoken: with it on, every file must be `regular`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.hub_state import Hub, Repository

_PAGE = 2
"""Files on a page of a listing."""


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, hub))
    server.daemon_threads = True
    hub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Refused(Exception):
    """An answer that is not 200."""

    def __init__(self, status: int, *, body: object = None, **headers: str) -> None:
        super().__init__(status)
        self.status, self.body = status, body or {"error": headers.get("message", "no")}
        self.headers = {"X-Error-Message": headers.get("message", "no"), "X-Error-Code": headers.get("code", "")}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def __init__(self, hub: Hub, *args: Any) -> None:
        self.hub = hub
        super().__init__(*args)

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # a client that was killed
            self.close_connection = True

    def _any(self) -> None:
        self.path, self.query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        asked = f"{self.command} {self.path}"
        self.hub.asked[asked] += 1
        length = int(self.headers.get("Content-Length", 0))
        fault = self.hub.fault(asked)
        if fault is not None and fault.status == 0:
            self.rfile.read(length // 2)
            fault.meanwhile()
            self.close_connection = True
            return
        self.body = self.rfile.read(length) if length else self._chunks()
        if fault is not None:
            self._send(fault.status, fault.text, fault.headers)
            return
        try:
            self._route()
        except Refused as refused:
            self._send(refused.status, json.dumps(refused.body).encode(), refused.headers)

    do_GET = do_HEAD = do_POST = do_PUT = _any

    def _chunks(self) -> bytes:
        body = b""
        while self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                break
        return body

    def _route(self) -> None:
        if self.path.startswith("/storage/"):
            self._storage(self.path.split("/")[2:])
        elif self.path == "/api/whoami-v2":
            self._check_token()
            auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": self.hub.role}}
            self._json({"type": "user", "name": self.hub.user, "orgs": [{"name": "anorg"}], "auth": auth})
        elif self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif self.path == "/api/repos/create":
            self._create(json.loads(self.body))
        elif found := re.fullmatch(r"/api/(?:datasets|models)/([^/]+/[^/]+)(?:/(.*))?", self.path):
            self._api(found[1], (found[2] or "").split("/"))
        elif found := re.fullmatch(r"/datasets/([^/]+/[^/]+)\.git/info/lfs/objects/batch", self.path):
            self._check_token()
            self._batch(found[1], json.loads(self.body)["objects"])
        elif found := re.fullmatch(r"(?:/datasets)?/([^/]+/[^/]+)/resolve/([^/]+)/(.*)", self.path):
            self._resolve(self._repository(found[1], found[2]), found[3])
        else:
            raise Refused(404, message=f"no such place: {self.path}")

    def _check_token(self) -> None:
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            raise Refused(401, message="Invalid credentials in Authorization header")

    def _repository(self, name: str, revision: str = "main") -> Repository:
        held = self.hub.repositories.get(name)
        if held is not None and held.private:
            self._check_token()
        if held is None:
            raise Refused(404, message="Repository not found", code="RepoNotFound")
        if revision not in ("main", held.commits[-1]):
            raise Refused(404, message="Invalid rev id", code="RevisionNotFound")
        return held

    def _create(self, wanted: dict[str, Any]) -> None:
        self._check_token()
        name = f"{wanted['organization']}/{wanted['name']}"
        url = f"{self.hub.endpoint}/datasets/{name}"
        if name in self.hub.repositories:
            raise Refused(409, body={"error": "You already created this dataset repo", "url": url})
        assert wanted["type"] == "dataset"
        self.hub.repositories[name] = Repository(wanted.get("visibility") == "private")
        self._json({"url": url})

    def _api(self, name: str, rest: list[str]) -> None:
        held = self._repository(name, rest[1] if rest[0] == "revision" else "main")
        if self.command in ("POST", "PUT") and rest[0] != "paths-info":
            self._check_token()
        if rest[0] in ("", "revision"):
            files = [{"rfilename": path} for path in sorted(held.files)]
            info = {"id": name, "sha": held.commits[-1], "private": held.private, "siblings": files, "tags": []}
            self._json({**info, "gated": False, "disabled": False, "downloads": 0, "likes": 0})
        elif rest[0] == "settings":
            held.private = json.loads(self.body)["visibility"] == "private"
            self._json({})
        elif rest[0] == "preupload":
            asked = json.loads(self.body)["files"]
            self._json({"files": [self.hub.mode(held, one["path"]) for one in asked]})
        elif rest[0] == "commit":
            self._commit(name, held, [json.loads(line) for line in self.body.splitlines()])
        elif rest[0] == "tree":
            self._tree(held, "/".join(rest[2:]))
        elif rest[0] == "paths-info":
            paths = parse_qs(self.body.decode())["paths"]
            self._json([self.hub.entry(held, path) for path in paths if path in held.files])
        else:
            raise Refused(404, message=f"no such place: {self.path}")

    def _tree(self, held: Repository, under: str) -> None:
        below = f"{under}/" if under else ""
        paths = sorted(path for path in held.files if path.startswith(below))
        entries = [self.hub.entry(held, path) for path in paths]
        folders = {path.split("/")[0] for path in paths if not below and "/" in path}
        if self.query.get("recursive", ["false"])[0].lower() != "true" and not below:
            entries = [entry for entry in entries if "/" not in entry["path"]]
        entries += [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in sorted(folders)]
        first = int(self.query.get("cursor", ["0"])[0])
        recursive = self.query.get("recursive", ["false"])[0]
        url = f"{self.hub.endpoint}{self.path}?recursive={recursive}&cursor={first + _PAGE}"
        link = {"Link": f'<{url}>; rel="next"'} if first + _PAGE < len(entries) else {}
        self._json(entries[first : first + _PAGE], link)

    def _batch(self, name: str, objects: list[dict[str, Any]]) -> None:
        self._repository(name)
        storage = f"http://localhost:{self.hub.port}/storage"
        for one in objects:
            if one["oid"] in self.hub.stored:
                continue
            upload: dict[str, Any] = {"href": f"{storage}/{one['oid']}"}
            if one["size"] > self.hub.part_bytes:
                count = -(-one["size"] // self.hub.part_bytes)
                urls = {str(part): f"{storage}/{one['oid']}/{part}" for part in range(1, count + 1)}
                upload["header"] = {"chunk_size": str(self.hub.part_bytes), **urls}
            one["actions"] = {"upload": upload}
        self._json({"transfer": "basic", "objects": objects, "hash_algo": "sha256"})

    def _storage(self, where: list[str]) -> None:
        oid = where[0]
        if "Authorization" in self.headers:
            self.hub.leaked.append(f"{self.command} {self.path}")
        if self.command in ("GET", "HEAD"):
            self._send(200, self.hub.stored[oid], {})
        elif len(where) > 1:
            self.hub.parts.setdefault(oid, {})[int(where[1])] = self.body
            self._send(200, b"", {"ETag": hashlib.md5(self.body).hexdigest()})
        else:
            body = self.body
            if self.command == "POST":  # all parts are there
                numbers = [part["partNumber"] for part in json.loads(body)["parts"]]
                body = b"".join(self.hub.parts[oid][number] for number in numbers)
            if hashlib.sha256(body).hexdigest() != oid:
                raise Refused(400, message="the content is not what its name says")
            self.hub.stored[oid] = body
            self._send(200, b"", {})

    def _commit(self, name: str, held: Repository, lines: list[dict[str, Any]]) -> None:
        files = dict(held.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        held.files = files
        held.commits.append(hashlib.sha1(f"{held.commits}".encode()).hexdigest())
        url = f"{self.hub.endpoint}/datasets/{name}/commit/{held.commits[-1]}"
        self._json({"commitUrl": url, "commitOid": held.commits[-1]})

    def _resolve(self, held: Repository, path: str) -> None:
        if path not in held.files:
            raise Refused(404, message="Entry not found", code="EntryNotFound")
        entry, commit = self.hub.entry(held, path), {"X-Repo-Commit": held.commits[-1]}
        if "lfs" not in entry:
            self._send(200, held.files[path], {"ETag": f'"{entry["oid"]}"', **commit})
            return
        linked = {"X-Linked-Etag": f'"{entry["lfs"]["oid"]}"', "X-Linked-Size": str(entry["size"])}
        where = f"http://localhost:{self.hub.port}/storage/{entry['lfs']['oid']}"
        self._send(302, b"", {"Location": where, **linked, **commit})

    def _json(self, value: object, headers: dict[str, str] | None = None) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
