"""The contract: messages, ids, subjects and object keys. It imports nothing else of Lodestream's."""
