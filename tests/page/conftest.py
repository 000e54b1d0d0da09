"""The literal reports and the golden files, as for the formats."""

from tests.render.conftest import golden, sample, sample_named

__all__ = ["golden", "sample", "sample_named"]
