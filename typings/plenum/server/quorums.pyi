class Quorum:
    def is_reached(self, msg_count: int) -> bool: ...

class Quorums:
    weak: Quorum
    ledger_status: Quorum
