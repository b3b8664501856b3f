"""Text: kind `text`. The same text; white space around it does not count, inside it does."""

from __future__ import annotations

import operator
from typing import Final

from perseid.graders.grader import Comparison, of_texts

GRADERS: Final = {"text": Comparison("text 2", of_texts(operator.eq))}
