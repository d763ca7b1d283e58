"""Creates a database cluster by initdb."""

import os
import shutil
import tempfile
from pathlib import Path

from server.postgres import ownership
from server.postgres.programs import LaunchConfig, run

INITDB_OPTIONS = (
    *("-U", "coingraph", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-instructions"),
    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
)
_ASIDE = ".coingraph-initdb-"


def create_cluster(config: LaunchConfig) -> None:
    """Create the cluster in a temporary folder and rename it, so that it is never incomplete."""
    if config.cluster.exists():
        return
    home = Path(config.home)
    if config.uid is None or ownership.has_name(config.uid):
        for old in home.glob("initdb-*"):
            shutil.rmtree(old, ignore_errors=True)
        fresh = home / f"initdb-{os.getpid()}"
        _initialize(config, fresh)
    else:  # initdb does not run as an account without a name
        for old in home.parent.glob(f"{_ASIDE}*"):
            shutil.rmtree(old, ignore_errors=True)
        fresh = Path(tempfile.mkdtemp(prefix=_ASIDE, dir=home.parent))
        uid, gid = ownership.builder()
        os.chown(fresh, uid, gid)
        _initialize(config._replace(uid=uid, gid=gid), fresh)
        ownership.hand_over(fresh, config.uid)
    fresh.rename(config.cluster)
    folder = os.open(home, os.O_RDONLY)
    os.fsync(folder)  # makes the rename durable
    os.close(folder)


def _initialize(config: LaunchConfig, fresh: Path) -> None:
    run(config, "initdb", *INITDB_OPTIONS, "-D", str(fresh))
    single = ("--single", "-D", str(fresh), "-c", "exit_on_error=on", "-c", "log_checkpoints=off")
    run(config, "postgres", *single, "postgres", feed=b"CREATE DATABASE coingraph;\n")
