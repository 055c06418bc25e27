"""Two agents made to work together over their admin APIs: automatic, and connected."""

from __future__ import annotations

from keep_agent.client import Client

AUTOMATIC: dict[str, dict[str, str]] = {
    "issue-credential/2": {
        "request-received": "issue",
        "offer-received": "send-request",
        "credential-received": "store-credential",
    },
    "present-proof/2": {
        "request-received": "send-presentation",
        "presentation-received": "verify",
    },
    "out-of-band/1": {"prepare-response": "accept"},
    "didexchange/1": {"request-received": "send-response"},
}
"""What both sides do by themselves, so that one command of one side runs a whole exchange."""


async def automate(agent: Client) -> None:
    """Let an agent do every step of its own by itself."""
    for protocol, steps in AUTOMATIC.items():
        auto = {state: {"command": command} for state, command in steps.items()}
        await agent.set_policy(protocol, auto)


async def connect(inviter: Client, invitee: Client) -> tuple[str, str]:
    """Connect two automatic agents; return what each one calls the connection."""
    invitation = await inviter.start("out-of-band", "create-invitation")
    name, url = invitation["data"]["invitation"], invitation["data"]["url"]
    await invitee.start("out-of-band", "receive-invitation", url=url)
    return await _connection(inviter, name), await _connection(invitee, name)


async def _connection(agent: Client, invitation: str) -> str:
    after = 0
    while True:
        for record in await agent.connections(state="completed", limit=1000):
            if record["invitation"] == invitation:
                return str(record["id"])
        page = await agent.call(
            "GET", "/v1/events", query={"after": after, "wait": 10}, wait=10
        )
        after = page["next"]
