import zmq

class Remote:
    name: str
    socket: zmq.Socket | None
