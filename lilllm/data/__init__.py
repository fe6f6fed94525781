"""Text and rows in, shards of tokens out; what training reads and in which order."""

from lilllm.data.badrows import BadRows
from lilllm.data.documents import Document, read_documents, read_rows
from lilllm.data.prepare import Prepared, Vocabulary, prepare
from lilllm.data.shards import Shards, verify

__all__ = [
    "BadRows",
    "Document",
    "Prepared",
    "Shards",
    "Vocabulary",
    "prepare",
    "read_documents",
    "read_rows",
    "verify",
]
