"""Builds the components of the layers below from the settings."""
