"""Generated code runs only here: two tiers behind one interface. See `docs/sandbox.md` for what is covered."""

from perseid.sandbox.asynchronous import AsyncSandbox
from perseid.sandbox.execution import Execution, Isolation, SandboxFailure, SandboxUnavailable, State, Status, Tier
from perseid.sandbox.grading import Grade, Verdict
from perseid.sandbox.limits import Limits
from perseid.sandbox.sandbox import Sandbox

__all__ = [
    "AsyncSandbox",
    "Execution",
    "Grade",
    "Isolation",
    "Limits",
    "Sandbox",
    "SandboxFailure",
    "SandboxUnavailable",
    "State",
    "Status",
    "Tier",
    "Verdict",
]
