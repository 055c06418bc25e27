# What this project uses of pyzmq 27; it is typed, and only the nodes' environment has it.

POLLIN: int

class Socket:
    @property
    def closed(self) -> bool: ...

class Poller:
    def register(self, socket: Socket, flags: int) -> None: ...
    def poll(self, timeout: int) -> list[tuple[Socket, int]]: ...
