"""Prompts: those of SK's manager, what SK has no words for, and an agent's own; values are sent as they are written."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from semantic_kernel import Kernel
from semantic_kernel.agents.orchestration.prompts import _magentic_prompts as sk
from semantic_kernel.functions.kernel_arguments import KernelArguments
from semantic_kernel.prompt_template.kernel_prompt_template import KernelPromptTemplate
from semantic_kernel.prompt_template.prompt_template_config import PromptTemplateConfig

from magentic_kit.team.agents import AgentConfig
from magentic_kit.team.skills import introduced, load_skills

PROMPTS = {
    "facts": sk.ORCHESTRATOR_TASK_LEDGER_FACTS_PROMPT,
    "plan": sk.ORCHESTRATOR_TASK_LEDGER_PLAN_PROMPT,
    "task_ledger": sk.ORCHESTRATOR_TASK_LEDGER_FULL_PROMPT,
    "facts_update": sk.ORCHESTRATOR_TASK_LEDGER_FACTS_UPDATE_PROMPT,
    "plan_update": sk.ORCHESTRATOR_TASK_LEDGER_PLAN_UPDATE_PROMPT,
    "progress_ledger": sk.ORCHESTRATOR_PROGRESS_LEDGER_PROMPT,
    "final_answer": sk.ORCHESTRATOR_FINAL_ANSWER_PROMPT,
}

LIMITED = """
We are working on the following task:
{{$task}}

The work had to stop before the task was completed: {{$limit}}.

The above messages contain the conversation so far. Based on the information gathered, provide the best answer
to the original request that is possible now, and say plainly what is missing or uncertain.
The answer should be phrased as if you were speaking to the user.
"""

REVISE = """The plan was reviewed, and is to be changed before the work begins. The reviewer says:

{{$feedback}}

Write the whole plan anew, so that it follows this. As before, be concise and use bullet points.
"""

CORRECTION = """That reply could not be used: {error}.
Answer the same questions again, with nothing but the JSON object."""


ANSWER_AS_JSON = """{prompt}

Reply with nothing but JSON that fits this JSON Schema:
{schema}"""

ANSWER_CORRECTION = """That reply could not be used: {error}.
Reply with the same answer as nothing but JSON that fits the schema."""

ANSWER_IN_FORM = """Put this answer into JSON; add nothing to it and leave nothing out that the schema asks for:

{answer}"""

TEXT_CALL = """You wrote a function call as text, and so nothing was called. Call the function by the API, through
the tool call of your reply; if you have all you need, reply without a call."""

AGAIN = """{prompt}

(Your last reply to this could not be used: {problem}. Reply again, shorter, so that all of it fits.)"""


async def fill(template: str, variables: Mapping[str, Any]) -> str:
    """The prompt with its variables filled in; SK's own manager escapes them for HTML (DESIGN.md, defect 11)."""
    return await _parsed(template).render(Kernel(), KernelArguments(**variables))


@lru_cache(maxsize=64)
def _parsed(template: str) -> KernelPromptTemplate:
    config = PromptTemplateConfig(template=template, allow_dangerously_set_content=True)
    return KernelPromptTemplate(prompt_template_config=config, allow_dangerously_set_content=True)


def template(config: AgentConfig) -> PromptTemplateConfig | None:
    """The agent's own prompt template, if it has one."""
    prompt, skills = config.prompt, introduced(load_skills(config.skills))
    if not prompt.template and not skills:
        return None
    # Inputs come from the team's own people: sent as written (DESIGN.md, defect 11).
    data = {key: value for key, value in vars(prompt).items() if key != "execution_settings" and value is not None}
    data["template"] = (prompt.template or "") + skills
    data["allow_dangerously_set_content"] = True
    return PromptTemplateConfig(**data)
