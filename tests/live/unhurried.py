"""The live tests' lanes, for tests that hold messages unacknowledged longer than Redis would leave them alone."""

from tests.live.celeryconfig import *  # noqa: F403
from tests.live.celeryconfig import lanes as _lanes

lanes = {name: {**lane, "visibility_s": 60} for name, lane in _lanes.items()}
