"""A stand-in of the dataset hub on this machine, as small as `datasets.load_dataset` allows: one dataset, one commit.

It serves the files of a folder under the name Salesforce/wikitext, so that the real loading code runs without a network.
"""
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "Salesforce/wikitext"


def entry(folder: Path, path: Path) -> dict:
    "Describe a file or folder as the hub's tree does."
    name = path.relative_to(folder).as_posix()
    if path.is_dir(): return {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
    return {"type": "file", "path": name, "oid": hashlib.sha1(path.read_bytes()).hexdigest(), "size": path.stat().st_size}


class Handler(BaseHTTPRequestHandler):
    "Answer the few questions that a download asks."
    folder: Path
    seen: list[str]
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        "Keep quiet."

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        "Send `body`, or only its head."
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "X-Repo-Commit": COMMIT, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD": self.wfile.write(body)

    def reply_json(self, data: object) -> None:
        "Send `data` as JSON."
        self.reply(200, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def files(self) -> list[Path]:
        "Everything that the dataset holds."
        return sorted(self.folder.rglob("*"))

    def do_GET(self) -> None:
        "Answer about the dataset, its tree, or one of its files."
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        self.seen.append(f"{self.command} {self.path}")
        if path == f"/api/datasets/{NAME}" or re.fullmatch(rf"/api/datasets/{NAME}/revision/[^/]+", path):
            names = [{"rfilename": p.relative_to(self.folder).as_posix()} for p in self.files() if p.is_file()]
            return self.reply_json({"id": NAME, "sha": COMMIT, "siblings": names, "private": False, "gated": False, "disabled": False,
                                    "tags": [], "downloads": 0, "likes": 0, "lastModified": "2024-01-01T00:00:00.000Z"})
        if match := re.fullmatch(rf"/api/datasets/{NAME}/tree/[^/]+(?:/(.*))?", path):
            base = self.folder / (match[1] or "")
            if not base.is_dir(): return self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
            deep = "recursive=true" in self.path.lower()
            return self.reply_json([entry(self.folder, p) for p in sorted(base.rglob("*") if deep else base.iterdir())])
        if re.fullmatch(rf"/api/datasets/{NAME}/paths-info/[^/]+", path):
            wanted = self.wanted_paths(body)
            return self.reply_json([entry(self.folder, self.folder / name) for name in wanted if (self.folder / name).exists()])
        if match := re.fullmatch(rf"/datasets/{NAME}/resolve/[^/]+/(.+)", path):
            file = self.folder / match[1]
            if file.is_file():
                data = file.read_bytes()
                return self.reply(200, data, {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "Accept-Ranges": "bytes"})
            return self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
        return self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_POST = do_GET

    def wanted_paths(self, body: bytes) -> list[str]:
        "Read the paths out of a request, which comes as JSON or as a form."
        from urllib.parse import parse_qs
        try: paths = json.loads(body)["paths"]
        except ValueError: paths = parse_qs(body.decode())["paths"]
        return [paths] if isinstance(paths, str) else paths


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, list[str]]]:
    "Serve `folder` as the dataset within the block; give its address and the list of requests seen."
    seen: list[str] = []
    handler = type("Bound", (Handler,), {"folder": folder, "seen": seen})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()
