"""Builds components of the layers below from Settings."""
