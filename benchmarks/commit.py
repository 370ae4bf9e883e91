"""A commit of this clone, compiled into a folder of its own under build/, and once for all."""

import io
import os
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
_BUILDS = _ROOT / "build" / "beside"


def built(revision, say):
    """The folder to import that commit's `fastlsm` from. A folder which holds one already is taken as it is."""
    if Path(revision, "fastlsm", "__init__.py").is_file():
        return Path(revision).resolve()
    commit = _commit(revision)
    folder = _BUILDS / f"{commit}-{sysconfig.get_config_var('SOABI')}"  # a kernel is for one Python
    if not folder.exists():
        say(f"Compiling {commit[:12]}: a minute or two, once.")
        _build(commit, folder)
    return folder


def _commit(revision):
    """Its full hash."""
    if not (_ROOT / ".git").exists():  # or git would take the commit from a repository around it
        raise SystemExit(f"--beside takes a commit from git, and {_ROOT} is no git clone")
    return _git(f"git knows no commit {revision!r}", "rev-parse", "--verify", f"{revision}^{{commit}}").decode().strip()


def _git(complaint, *arguments):
    try:
        return subprocess.run(["git", "-C", _ROOT, *arguments], check=True, capture_output=True).stdout
    except FileNotFoundError:
        raise SystemExit("--beside needs git, which is not installed") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{complaint}: {error.stderr.decode().strip()}") from None


def _build(commit, folder):
    """The folder gets its name when it is complete, so that one left half done is never taken for it."""
    _BUILDS.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(folder.name + ".log")
    with tempfile.TemporaryDirectory(dir=_BUILDS, prefix="unfinished-") as work:
        source, library = Path(work, "source"), Path(work, "library")
        archive = _git(f"git cannot unpack {commit}", "archive", "--format=zip", commit)
        zipfile.ZipFile(io.BytesIO(archive)).extractall(source)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *_tools()]
        command = [*install, "--target", library, source]
        with log.open("w") as output:
            failed = subprocess.run(command, stdout=output, stderr=output, env=_environment()).returncode
        if failed or not (library / "fastlsm").is_dir():
            raise SystemExit(f"{commit[:12]} does not compile; what pip said is in {log}")
        try:
            library.rename(folder)
        except OSError:
            if not folder.exists():  # which it does if another run was sooner
                raise
    log.unlink()


def _tools():
    """Cython and setuptools as they are here, which needs no network; or as the commit asks, from pip."""
    return ["--no-build-isolation"] if find_spec("Cython") and find_spec("setuptools") else []


def _environment():
    """Without the variables of setup.py: the commit is compiled as for a user."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FASTLSM_")}
