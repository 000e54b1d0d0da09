"""YAML/JSON text to a validated Spec. Nothing here imports torch."""
