from plenum.common.request import Request

class ReqState:
    request: Request
    executed: bool
    finalised_ts: float | None

class Requests(dict[str, ReqState]):
    def has_propagated(self, req: Request, sender: str) -> bool: ...
