"""`python3 setup demo`, `python3 setup test`: from a fresh clone to a running product, or to passed tests.

Needs python3 (3.11 or newer) and pip, nothing else. This file must parse on older Pythons, so that they
can be told what is missing.
"""

import shutil
import sys
from pathlib import Path

if sys.version_info < (3, 11):  # noqa: UP036 -- the message is for those who are not there yet
    newer = [name for name in ("python3.14", "python3.13", "python3.12", "python3.11") if shutil.which(name)]
    hint = "Try: {} setup {}".format(newer[0], " ".join(sys.argv[1:])) if newer else "Install a newer Python first."
    sys.exit("Python 3.11 or newer is needed; this is {}.{}. {}".format(*sys.version_info[:2], hint))

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from setup.commands import main  # noqa: E402 -- the modules below need the version checked above

sys.exit(main(sys.argv[1:]))
