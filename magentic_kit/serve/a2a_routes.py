"""The A2A routes of each team: its agent card, made from the team file, and JSON-RPC."""

from __future__ import annotations

from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.server.routes import create_jsonrpc_routes
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH, TransportProtocol
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from magentic_kit.embed import description_of
from magentic_kit.factory import TeamFactory
from magentic_kit.serve.a2a import RecentTasks, TeamExecutor
from magentic_kit.serve.teams import ServedTeams

_VERSIONS = ("1.0", "0.3")


def a2a_routes(teams: ServedTeams, *, has_token: bool) -> list[Route]:
    """Makes the routes; a team that is served alone has its card at the root, too.

    A task goes on when its client leaves, until it is cancelled by A2A's own request.
    """
    routes: list[Route] = []
    for name, factory in teams.by_name.items():
        card = _card(name, factory, has_token=has_token)
        tasks = RecentTasks()
        handler = DefaultRequestHandler(TeamExecutor(teams, name, tasks), tasks, card)
        teams.closers.append(handler.aclose)
        routes += create_jsonrpc_routes(handler, f"/a2a/{name}", enable_v0_3_compat=True)
        routes.append(_card_route(f"/a2a/{name}{AGENT_CARD_WELL_KNOWN_PATH}", name, card))
        if len(teams.by_name) == 1:
            routes.append(_card_route(AGENT_CARD_WELL_KNOWN_PATH, name, card))
    return routes


def _card_route(path: str, name: str, card: AgentCard) -> Route:
    async def serve_card(request: Request) -> Response:
        here = AgentCard()
        here.CopyFrom(card)
        path = f"{request.scope.get('root_path', '')}/a2a/{name}"  # also where the app is mounted
        for interface in here.supported_interfaces:
            interface.url = str(request.url.replace(path=path, query=""))
        return JSONResponse(agent_card_to_dict(here))

    return Route(path, serve_card)


def _card(name: str, factory: TeamFactory, *, has_token: bool) -> AgentCard:
    team = factory.blueprint.team
    config = team.config
    about = description_of(config)
    if config.inputs:
        about += f" Inputs, in the message's metadata under 'inputs': {', '.join(config.inputs)}."
    skill = AgentSkill(
        id=name,
        name=config.name,
        description=about,
        tags=[agent.name for agent in config.agents],
        examples=[config.task] if config.task else [],
    )
    card = AgentCard(
        name=config.name,
        description=about,
        version=team.config_hash[:12],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
        skills=[skill],
        supported_interfaces=[
            AgentInterface(url=f"/a2a/{name}", protocol_binding=TransportProtocol.JSONRPC, protocol_version=version)
            for version in _VERSIONS
        ],
    )
    if has_token:
        card.security_schemes["token"].CopyFrom(
            SecurityScheme(http_auth_security_scheme=HTTPAuthSecurityScheme(scheme="bearer"))
        )
        card.security_requirements.append(SecurityRequirement(schemes={"token": StringList()}))
    return card
