class Suspicion: ...

class Suspicions:
    PRIMARY_DEGRADED: Suspicion
