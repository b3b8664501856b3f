"""Actions that methods share."""

from __future__ import annotations

from dataclasses import dataclass

from perseid.engine import Sampling
from perseid.formats import Draft, Format
from perseid.search.method import View
from perseid.search.requests import POLICY, Asking, Propose, propose


@dataclass(frozen=True)
class Continue:
    """`width` samples of the next step, or of all steps that are left (`whole`). `shots`: after worked examples."""

    format: Format
    sampling: Sampling
    width: int
    whole: bool = False
    shots: bool = False
    name: str = "step"
    role: str = POLICY

    def ask(self, at: View) -> Asking[list[Draft]]:
        prompt = self.format.prompt(at.question, at.steps, shots=self.shots)
        request = Propose(prompt, at.seeds(self.width), self.sampling, at.standing.rollouts, self.role)
        completions = yield from propose(request)
        read = self.format.read_whole if self.whole else self.format.read
        drafts = [read(completion) for completion in completions if not completion.refusal]
        return drafts if self.name == "step" else [draft._replace(action=self.name) for draft in drafts]
