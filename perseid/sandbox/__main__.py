"""`python -m perseid.sandbox doctor`: what is in force on this machine and what is missing."""

from __future__ import annotations

import sys

from perseid.sandbox import doctor

if __name__ == "__main__":
    if sys.argv[1:] != ["doctor"]:
        sys.exit("usage: python -m perseid.sandbox doctor")
    sys.exit(doctor.main())
