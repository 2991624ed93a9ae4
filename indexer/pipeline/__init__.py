"""How a source becomes items and vectors."""

from indexer.pipeline.run import Options, index_source
from indexer.pipeline.session import Session, remove, rollback
from indexer.pipeline.tally import Progress, Tally

__all__ = ["Options", "Progress", "Session", "Tally", "index_source", "remove", "rollback"]
