"""Codes as packets, for links that lose some.

framing: bytes of packets, and back.
recorded: a file of packets as an utterance.
live: packets to speech.
"""
