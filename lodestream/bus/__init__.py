"""The bus: one connection, publish-once, continuous pull."""

from lodestream.bus.connection import Away, Bus, connect
from lodestream.bus.publisher import Publisher
from lodestream.bus.puller import Delivery, Puller

__all__ = ["Away", "Bus", "Delivery", "Publisher", "Puller", "connect"]
