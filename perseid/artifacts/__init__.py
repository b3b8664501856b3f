"""The store of artifacts: immutable, content-addressed, checked folders of tables and weights, each with its manifest.

    <root>/<key>/<version>/<table>.parquet, model/, manifest.json      a version: 16 hex digits of what its files hold
    <root>/<key>/current                                               the version that counts, replaced last
    <root>/<experiment>/graph.json                                     whose the name is, what its graph has now

What exists is complete and what is incomplete is invisible: a draft is a hidden folder in the same place, validated,
fsynced, renamed. Its name says whose it is, so that who writes next sweeps what the dead left, and nothing else.
Every way to fail (a full disk, a root that cannot be written, a damaged file) is a `UserError` naming the file.

Assumes a POSIX file system with atomic rename and `flock`. Does not collect old versions: nothing is ever deleted.
"""

from perseid.artifacts.manifest import Facts, File, Manifest
from perseid.artifacts.store import Draft, Store

__all__ = ["Draft", "Facts", "File", "Manifest", "Store"]
