"""Files in the cache of compilations that spare work of a later process, and are never needed.

Each is sealed by a hash of its content and replaced as a whole: a damaged one counts as none.
"""

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import jax

from slt_jax.run.store import replace_file

DIGEST = hashlib.sha256().digest_size


def cache_folder() -> Path | None:
    """Return the folder of JAX's cache of compilations, None where there is none."""
    config: Any = jax.config
    folder = config.jax_compilation_cache_dir
    return Path(folder) if folder and config.jax_enable_compilation_cache else None


def read_kept(path: Path) -> bytes | None:
    """Return the content of a file that is there and whole."""
    try:
        sealed = path.read_bytes()
    except OSError:
        return None
    is_whole = hashlib.sha256(sealed[DIGEST:]).digest() == sealed[:DIGEST]
    return sealed[DIGEST:] if is_whole else None


def keep(path: Path, content: bytes) -> None:
    """Write a file, unless that is impossible: on a full disk, or where something is in the way."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replace_file(path) as temporary:
            temporary.write_bytes(hashlib.sha256(content).digest() + content)
