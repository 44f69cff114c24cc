"""Who runs an archive's work: actors of Ray Data, each with the models, on this machine or on a cluster.

A shard is a block of a Ray data set. Whatever machine or actor dies, Ray gives its shard to another one, which finds in
the mark and the parts how far that was. Parts are written where the tables lie, by whoever has made them: only sums of
them go through Ray.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from faceinsight.batch.job import Finished, Job, Shard
from faceinsight.errors import FaceInsightError
from faceinsight.media.source import reason
from faceinsight.stopping import signals_kept
from faceinsight.telemetry import OFF

# What goes through it are names of files and sums.
_OBJECTS_BYTES = 80 * 2**20
_PATIENCE_S = 10
# Read when Ray is imported, here and by what it starts.
_QUIET = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}


class RayCluster:
    """An engine of Ray Data."""

    def __init__(self, count: int | None, address: str | None = None) -> None:
        """Starts nothing yet.

        Args:
            count: How many actors work at once; None for as many as there are cores.
            address: Of a cluster that runs, "auto" for the one that this machine belongs to; None to start one on
                this machine, which ends with the run.
        """
        self._count, self._address = count, address

    def __call__(self, job: Job, shards: Sequence[Shard]) -> Generator[Finished]:
        """As of Engine.

        Raises:
            FaceInsightError: If Ray is not here or does not start, or what a worker raises.
        """
        with self._started() as ray:
            from ray.data import ActorPoolStrategy, DataContext

            context = DataContext.get_current()
            context.enable_progress_bars = context.print_on_execution_start = False
            count = min(self._count or int(ray.cluster_resources().get("CPU", 1)), len(shards))
            rows = [{"shard": pickle.dumps(shard)} for shard in shards]
            answers = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
                _Actor, fn_constructor_args=(job,), compute=ActorPoolStrategy(size=count), num_cpus=1
            )
            try:
                for answer in answers.iter_rows():
                    if answer["error"]:
                        raise FaceInsightError(answer["error"])
                    yield Finished(answer["files"], answer["errors"], answer["faces"])
            except ray.exceptions.RayError as error:
                raise FaceInsightError(
                    f"Ray gave up ({type(error).__name__}): the same command goes on from what is finished."
                ) from error

    @contextmanager
    def _started(self) -> Iterator[Any]:
        """Connects to a cluster, or starts one on this machine; gives the ray package."""
        os.environ.update(_QUIET)
        try:
            with _silence():
                import ray
                import ray.data
        except ImportError as error:
            raise FaceInsightError("Ray is not installed: run `pip install 'faceinsight[ray]'`.") from error
        for name in ("ray", "ray.data"):
            logging.getLogger(name).setLevel(logging.ERROR)
        options = {"log_to_driver": False, "logging_level": logging.ERROR, "runtime_env": {"env_vars": OFF}}
        # A path of a socket is to be short. What Ray notes down goes with the cluster.
        with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
            if self._address is None:
                options |= {
                    "num_cpus": self._count,
                    "include_dashboard": False,
                    "object_store_memory": _OBJECTS_BYTES,
                    "_node_ip_address": "127.0.0.1",
                    "_temp_dir": folder,
                }
            else:
                options["address"] = self._address
                _check(self._address)
            try:
                with signals_kept(), _silence():
                    ray.init(**options)
            except Exception as error:  # whatever a cluster that is not there leads to
                where = "on this machine" if self._address is None else f"at {self._address}"
                raise FaceInsightError(f"Ray cannot be reached {where} ({type(error).__name__}): check it.") from error
            try:
                yield ray
            finally:
                ray.shutdown()


def _check(address: str) -> None:
    """Raises FaceInsightError where nobody answers at a cluster's address: Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon:
        return  # "auto"
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S).close()
    except (OSError, ValueError, OverflowError) as error:
        raise FaceInsightError(f"Ray cannot be reached at {address} ({reason(error)}): check the address.") from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps from the terminal what native code says of itself in the block; errors are raised."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class _Actor:
    """Holds a worker in a process of Ray's."""

    def __init__(self, job: Job) -> None:
        from faceinsight.batch.worker import Worker

        self._error = ""
        try:
            self._worker = Worker(job)
        except FaceInsightError as error:
            self._error = str(error)

    def __call__(self, row: dict[str, bytes]) -> dict[str, Any]:
        finished = Finished()
        if not self._error:
            try:
                finished = self._worker.do(pickle.loads(row["shard"]))
            except FaceInsightError as error:
                self._error = str(error)
        return {
            "files": finished.files,
            "errors": finished.errors,
            "faces": finished.faces,
            "error": self._error,
        }
