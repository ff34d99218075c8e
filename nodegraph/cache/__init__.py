"""Results by key, so that nothing is computed twice."""

from nodegraph.cache.digest import digest_of
from nodegraph.cache.disk import DiskTier, Usage
from nodegraph.cache.memory import MemoryTier
from nodegraph.cache.results import ResultCache

__all__ = ["DiskTier", "MemoryTier", "ResultCache", "Usage", "digest_of"]
