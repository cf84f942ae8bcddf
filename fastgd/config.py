"""What this installation consists of."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

from ._kernels import BACKENDS, available_backends, get_backend
from .optional import OPTIONAL_PARTS
from .threads import available_threads

__all__ = ["show_config"]

def show_config() -> dict[str, Any]:
    """Print, and return, what this installation consists of: put it into a bug report.

    Returns
    -------
    dict
        ``version``, ``python``, ``numpy``, ``machine``; ``backends`` (name to instruction set, None where it cannot
        be imported); ``threads``; ``optional`` (distribution to version, None where it is not installed).

    Examples
    --------
    >>> import fastgd as fg
    >>> config = fg.show_config()  # doctest: +ELLIPSIS
    fastgd ...
    >>> config["backends"]["numpy"]
    'chosen by NumPy'
    """
    from . import __version__

    available = available_backends()
    config = {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": importlib.metadata.version("numpy"),
        "machine": f"{platform.system()} {platform.machine()}",
        "backends": {name: get_backend(name).instruction_set() if name in available else None for name in BACKENDS},
        "threads": available_threads(),
        "optional": {name: _version(name) for name in OPTIONAL_PARTS},
    }
    print(_text(config))
    return config


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _text(config: dict[str, Any]) -> str:
    lines = [f"fastgd {config['version']}, Python {config['python']}, NumPy {config['numpy']}, {config['machine']}"]
    for name, instruction_set in config["backends"].items():
        lines.append(f"backend {name}: {instruction_set or 'not available'}")
    lines += [f"threads: up to {config['threads']}", "optional parts:"]
    for name, version in config["optional"].items():
        part = OPTIONAL_PARTS[name]
        remedy = "" if version else f"; {part.command}"
        lines.append(f"  {name:<14}{version or 'missing':>9}  {part.purpose}{remedy}")
    return "\n".join(lines)
