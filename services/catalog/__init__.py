"""The catalog service."""

import os

# Read when duckdb is imported: its allocator unmaps what is freed. Else one query that took much would leave this
# process, whose memory is bounded, with too little to start a thread.
os.environ.setdefault("DUCKDB_JE_MALLOC_CONF", "retain:false,dirty_decay_ms:1000,muzzy_decay_ms:0")
