"""WebSockets that learn when the service stops, and have the time to end by themselves."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

STOPS = "asr.stops"  # in a message of disconnection: it comes of the service, and the client is there to be told more


class LiveProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSockets; it would close them at once, and what was said last would be lost."""

    def shutdown(self) -> None:
        """Let the session read that the service stops, after all that the client has sent."""
        if self.handshake_complete and not self.close_sent:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": 1012, STOPS: True})
        else:
            super().shutdown()
