"""``WS /v1/stream``: speech in while it is spoken, what is understood out.

A session is a WebSocket. The client says what comes, in one of two ways:

    wss://host/v1/stream?sample_rate=48000            the query has any of model, sample_rate, format; or
    {"type": "start", "sample_rate": 48000, ...}      the first message, of JSON

``model``
    One of ``GET /v1/models``; by default the first.
``format``
    ``pcm_s16le`` (the default): raw samples of 16 bits, little-endian, one channel. ``webm``, ``ogg`` or ``opus``: a
    file of Opus in WebM or Ogg as `MediaRecorder` writes it, from its first byte on; of several channels, the mean.
``sample_rate``
    Of raw samples, in Hz: 8000 to 48000, by default 16000.
``language``
    Accepted, and not used.
``api_key``
    In the first message only, where the service asks for keys and the client cannot set the header ``Authorization:
    Bearer KEY``, as no page can. Or the page offers the subprotocols ``asr`` and ``asr.key.KEY``. A query would be read
    in logs.

Then binary messages are audio, however they are cut, of at most a mebibyte each; ``{"type": "end"}`` ends it. A client
without options may begin with audio at once. The server sends JSON:

    {"type": "ready", "model": "an4", "format": "pcm_s16le", "sample_rate": 48000}
    {"type": "partial", "text": "HELLO WOR", "stable": 5, "start": 0.2, "duration": 1.28}
    {"type": "final", "text": "HELLO WORLD", "words": [{"text": "HELLO", "start": 0.28, "end": 0.61, "confidence": 0.98},
     ...], "start": 0.28, "end": 1.12, "duration": 1.92, "speech_ended": true}
    {"type": "done", "duration": 7.5}
    {"type": "error", "error": {"message": "...", "type": "invalid_input_error", "param": "sample_rate", "code": null}}

A ``partial`` is the line so far and takes the place of the partial before; of its text, the first ``stable`` characters
will not change. A ``final`` is the line as it stays; it may be empty, when a partial heard words in noise. With
``speech_ended`` the speaker paused after it; else the line was too long, or the session ended. Times are seconds from the
session's beginning; ``duration`` is how much audio was understood, and in ``done`` how much there was. After ``done`` or
``error``, which comes once what was heard before is told, the server closes:

    1000  done                                       1008  a key, an option or a message that cannot be; nothing came
    1003  the audio cannot be decoded                1009  a message is too large, the session too long
    1011  the server failed                          1013  too many sessions, or no model at the moment: come again

Audio may come faster than it is spoken: the server reads no more than it can compute, and the client's sending waits.
A client that pings then waits for its answer, too: let it have no time limit (`ping_timeout=None` of `websockets`).
"""
