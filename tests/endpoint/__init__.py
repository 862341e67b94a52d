"""Tests of the room `endpoint`."""
