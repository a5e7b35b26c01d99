"""Messages between the service and its processes."""

from __future__ import annotations

import pickle
import socket

import pytest

from toolkit.serving.children import Parent


@pytest.mark.parametrize("bytes_left", [0, 3, 8, 20])
def test_a_message_that_is_cut_off_is_the_end_of_the_service(bytes_left: int) -> None:
    ours, theirs = socket.socketpair()
    content = pickle.dumps("x" * 100)
    message = len(content).to_bytes(8, "big") + content
    parent = Parent(theirs)
    with ours, theirs:
        ours.sendall(message + message[:bytes_left])
        ours.shutdown(socket.SHUT_WR)
        assert parent.receive() == "x" * 100
        with pytest.raises(EOFError):
            parent.receive()
