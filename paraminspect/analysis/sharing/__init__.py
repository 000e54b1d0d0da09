"""Who shares what with whom: one object, the same bytes, a declared tie that is none, or only equal values."""

from __future__ import annotations

from paraminspect.analysis.sharing.sharing_groups import find_sharing as find_sharing
