"""An asv plugin: environments that build fastgd for themselves and take everything else from the one asv runs in.

Nothing is downloaded, so commits can be compared offline; and the peers are there to be compared with.
"""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

from asv import util
from asv.console import log
from asv.environment import Environment, EnvironmentUnavailable


class Overlay(Environment):
    """A virtual environment of the running Python that also sees the packages of the running environment.

    What the matrix asks for has to be installed there; results are filed under the versions that were found.
    """

    tool_name = "overlay"

    def __init__(self, conf, python, requirements, tagged_env_vars):
        if not self.matches(python):
            raise EnvironmentUnavailable(f"overlay: got Python {python}, expected the one that runs asv")
        # Both are read before the base class sets them.
        self._python, self._requirements = python, {name: installed_version(name) for name in requirements}
        super().__init__(conf, python, self._requirements, tagged_env_vars)

    @classmethod
    def matches(cls, python):
        return python in ("same", f"{sys.version_info.major}.{sys.version_info.minor}")

    def _setup(self):
        log.info(f"Creating virtual environment for {self.name}")
        util.check_call([sys.executable, "-m", "venv", self._path], env=None)
        if sys.version_info < (3, 12):
            # venv brings one along that is older than what fastgd is built with, and would come first.
            self.run(["-m", "pip", "uninstall", "--yes", "setuptools"])
        folder = self.run(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip()
        # A path in a .pth file comes after the folder that the file is in, and no .pth file there is read: an editable
        # fastgd of the running environment stays out, another one is hidden by what is built here.
        paths = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        Path(folder, "running_environment.pth").write_text("\n".join(paths) + "\n", encoding="utf-8")

    def run(self, args, **kwargs):
        log.debug(f"Running {' '.join(args)!r} in {self.name}")
        return self.run_executable("python", args, **kwargs)


def installed_version(name):
    """Return the version of a distribution in the environment that asv runs in."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        raise EnvironmentUnavailable(f"overlay: {name} is not installed here: pip install {name}") from None
