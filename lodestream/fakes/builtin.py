"""What everybody knows to be no video: the entries that come with Lodestream.

Only what can be checked: bytes that stand here whole, and services whose one purpose is to give placeholders.
"""

import base64
import hashlib

from lodestream.fakes.entries import Entry

BYTES = {
    "the empty file": "",
    "transparent GIF of 1x1, 42 bytes": "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7",
    "transparent GIF of 1x1, 43 bytes": "R0lGODlhAQABAIAAAP///wAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==",
    "transparent GIF of 1x1, 43 bytes, grey": "R0lGODlhAQABAID/AMDAwAAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==",
    "transparent GIF of 1x1, 37 bytes": "R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==",
    "white GIF of 1x1, 34 bytes": "R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw==",
    "transparent PNG of 1x1, 68 bytes": (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAAC0lEQVR42mNgAAIAAAUAAen63NgAAAAASUVORK5CYII="
    ),
    "transparent PNG of 1x1, 68 bytes, grey": (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
    ),
    "transparent PNG of 1x1, 70 bytes": (
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVQImWNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
    ),
}
"""Files in base64, by what they are."""

_SERVICE = "a service of placeholders"
_CAPTION = "the caption of a placeholder"
PATTERNS = {
    **dict.fromkeys(
        (
            *("via.placeholder.com", "placeholder.com", "placehold.co", "placehold.it", "placehold.jp"),
            *("dummyimage.com", "fakeimg.pl", "lorempixel.com", "loremflickr.com", "placeimg.com"),
            *("picsum.photos", "placekitten.com", "placebear.com", "placedog.net", "placecage.com", "fillmurray.com"),
        ),
        _SERVICE,
    ),
    **dict.fromkeys(("?text=photo+#", "?text=image+#", "?text=video+#", "?text=placeholder*"), _CAPTION),
}
"""What each pattern is."""


def entries() -> list[Entry]:
    """All of them."""
    files = [(note, base64.b64decode(text)) for note, text in BYTES.items()]
    return [
        *(Entry(kind="sha256", what=hashlib.sha256(d).hexdigest(), note=note, size=len(d)) for note, d in files),
        *(Entry(kind="url", what=pattern, note=note) for pattern, note in PATTERNS.items()),
    ]
