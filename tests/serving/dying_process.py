"""A model process that ends before it is ready."""

import os


def main(*_: object) -> None:
    os._exit(7)
