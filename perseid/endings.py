"""How a node stands and how a search ended: the words that trees and their tables share."""

from typing import Literal

NodeStatus = Literal["open", "answer", "error", "too_deep", "unparsable", "exhausted", "refused"]
Ended = Literal["done", "decided", "exhausted", "tokens", "nodes", "seconds", "refused"]
Difficulty = Literal["easy", "medium", "hard"]
