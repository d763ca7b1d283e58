"""The settings: the only package that reads the environment."""
