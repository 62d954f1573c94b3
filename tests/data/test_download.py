import functools
import hashlib
import http.server
import threading

import pytest
from test_hostile_files import GOOD, tar

from sla_bench.data import cifar
from sla_bench.data.downloads import OFFLINE, RemoteArchive, RemoteFile, download, download_archive
from sla_bench.data.fashion_mnist import _REMOTE
from sla_bench.errors import UserError

CONTENT = bytes(range(256)) * 3000
SUM = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    """Sends what `behaviour` says; `asked` collects the wanted ranges."""

    protocol_version = "HTTP/1.1"

    def __init__(self, behaviour, asked, *arguments):
        self.behaviour, self.asked = behaviour, asked
        super().__init__(*arguments)

    def log_message(self, *_):
        pass

    def do_GET(self):
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        self.behaviour(self, int(wanted[6:-1]) if wanted else 0)
        self.close_connection = True

    def answer(self, content, status=200, length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)


def whole(server, start):
    if start:
        server.answer(CONTENT[start:], 206, Content_Range=f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
    else:
        server.answer(CONTENT)


def cutting(server, start):
    server.answer(CONTENT[start : start + 300_000], 206 if start else 200, len(CONTENT) - start,
                  Content_Range=f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")  # fmt: skip


def without_length(content):
    def behave(server, _):
        server.send_response(200)
        server.end_headers()
        server.wfile.write(content)

    return behave


@pytest.fixture
def serve():
    running = []

    def start(behaviour):
        asked = []
        handler = functools.partial(Server, behaviour, asked)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return RemoteFile(f"http://127.0.0.1:{server.server_port}/a.bin", len(CONTENT), SUM), asked

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def fetch(file, folder, schemes=("http",)):
    download([file], folder, "https://example.org", schemes)


def names(folder):
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"} if folder.exists() else set()


def test_a_file_comes_whole_and_is_not_fetched_again(serve, tmp_path):
    file, asked = serve(whole)
    for _ in range(2):
        fetch(file, tmp_path / "new")
    assert (tmp_path / "new" / "a.bin").read_bytes() == CONTENT
    assert asked == [None]
    assert names(tmp_path / "new") == {"a.bin"}


def test_a_cut_download_goes_on_where_it_was(serve, tmp_path):
    file, asked = serve(cutting)
    for done in (300_000, 600_000):
        with pytest.raises(
            UserError, match=f"ended after {done:,} of 768,000 bytes; the same command resumes"
        ):
            fetch(file, tmp_path)
        assert names(tmp_path) == {".a.bin.part"}
    fetch(file, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert asked == [None, "bytes=300000-", "bytes=600000-"]


def test_a_server_that_does_not_resume_sends_all_again(serve, tmp_path):
    file, _ = serve(lambda server, _: server.answer(CONTENT))
    (tmp_path / ".a.bin.part").write_bytes(b"something else")
    fetch(file, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (lambda s, _: s.answer(CONTENT[:-1]), "767,999 bytes instead of 768,000"),
        (lambda s, _: s.answer(CONTENT + b"x"), "768,001 bytes instead of 768,000"),
        (lambda s, _: s.answer(b"<html>quota exceeded</html>"), "27 bytes instead of 768,000"),
        (lambda s, _: s.answer(CONTENT, length="9" * 100), "instead of 768,000"),
        (without_length(CONTENT + b"x" * 100), "sends more than 768,000 bytes"),
        (without_length(CONTENT[:5]), "ended after 5 of"),
        (lambda s, _: s.answer(CONTENT[::-1]), "its SHA-256 is not the published one"),
        (lambda s, _: s.answer(b"", 404), "404"),
        (lambda s, _: s.answer(b"", 500), "500"),
        (lambda s, _: s.answer(b"", 302, Location="http://127.0.0.1:1/a.bin"), "refused"),
        (lambda s, _: s.answer(b"", 302, Location="file:///etc/passwd"), "is not allowed"),
        (lambda s, _: s.answer(b"", 302, Location="ftp://example.org/a.bin"), "is not an http address"),
        (lambda s, _: s.answer(b"", 302, Location=s.path), "infinite loop|redirect"),
        (lambda s, _: s.wfile.write(b"nonsense\r\n\r\n"), "could not download"),
        (lambda s, _: None, "could not download"),
    ],
)
def test_what_is_not_as_promised_gets_no_name(behaviour, words, serve, tmp_path):
    file, _ = serve(behaviour)
    with pytest.raises(UserError, match=words) as error:
        fetch(file, tmp_path)
    assert "fetch https://example.org yourself" in str(error.value)
    assert "a.bin" not in names(tmp_path)


def test_another_part_than_asked_for_is_refused(serve, tmp_path):
    file, _ = serve(lambda s, start: s.answer(CONTENT[5:], 206, Content_Range="bytes 5-767999/768000"))
    (tmp_path / ".a.bin.part").write_bytes(CONTENT[:9])
    with pytest.raises(UserError, match="another part than asked for"):
        fetch(file, tmp_path)


def test_a_wrong_beginning_is_thrown_away(serve, tmp_path):
    file, _ = serve(whole)
    (tmp_path / ".a.bin.part").write_bytes(b"x" * 100)
    with pytest.raises(UserError, match="SHA-256"):
        fetch(file, tmp_path)
    fetch(file, tmp_path)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_only_https_unless_said(serve, tmp_path):
    file, asked = serve(whole)
    with pytest.raises(UserError, match="is not an https address"):
        fetch(file, tmp_path, ("https",))
    assert asked == []
    for remote in (cifar.CIFAR10_ARCHIVE.file, cifar.CIFAR100_ARCHIVE.file, *_REMOTE):
        assert remote.url.startswith("https://")
        assert len(remote.sha256) == 64
        assert remote.size > 1000


def test_offline(serve, tmp_path, monkeypatch):
    file, asked = serve(whole)
    monkeypatch.setenv(OFFLINE, "1")
    with pytest.raises(
        UserError, match=r"SLA_BENCH_OFFLINE is set\); fetch .* yourself and put its files into"
    ):
        fetch(file, tmp_path)
    assert asked == []
    (tmp_path / "a.bin").write_bytes(CONTENT)
    fetch(file, tmp_path)


def test_an_archive_is_unpacked_and_deleted(serve, tmp_path):
    raw = tar(tmp_path / "b.tar.gz", *GOOD, ("../evil", b"x", {})).read_bytes()
    file, _ = serve(lambda s, _: s.answer(raw))
    remote = RemoteFile(file.url, len(raw), hashlib.sha256(raw).hexdigest())
    download_archive(RemoteArchive(remote, "f", ("train", "test")), tmp_path / "data", ("http",))
    assert {p.name: p.read_bytes() for p in (tmp_path / "data" / "f").iterdir()} == {
        "train": b"1",
        "test": b"2",
    }
    assert names(tmp_path / "data") == {"f"}


def test_of_an_archive_only_what_is_missing_is_unpacked(serve, tmp_path):
    raw = tar(tmp_path / "b.tar.gz", *GOOD).read_bytes()
    file, asked = serve(lambda s, _: s.answer(raw))
    remote = RemoteFile(file.url, len(raw), hashlib.sha256(raw).hexdigest())
    archive = RemoteArchive(remote, "f", ("train", "test"))
    mine = tmp_path / "f" / "train"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    for _ in range(2):
        download_archive(archive, tmp_path, ("http",))
    assert mine.read_bytes() == b"mine"
    assert (tmp_path / "f" / "test").read_bytes() == b"2"
    assert asked == [None]


def test_processes_that_want_the_same_file_fetch_it_once(serve, tmp_path):
    file, asked = serve(whole)
    started = threading.Barrier(4)

    def one():
        started.wait()
        fetch(file, tmp_path)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert asked == [None]
