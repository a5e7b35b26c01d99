"""Speech recognition recipes: readable Brains, Lhotse data, fast decoding.

Import from the submodules (``from toolkit.inference.transcriber import Transcriber``); the root holds the version only.
"""

__version__ = "0.1.0"
