"""Work for `lodestream.children` whose import never ends."""

import time

time.sleep(600)
