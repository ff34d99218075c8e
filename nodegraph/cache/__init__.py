"""Results by key, so that nothing is computed twice."""

from nodegraph.cache.digest import digest_of
from nodegraph.cache.disk import DiskTier
from nodegraph.cache.memory import MemoryTier
from nodegraph.cache.results import ResultCache

__all__ = ["DiskTier", "MemoryTier", "ResultCache", "digest_of"]
