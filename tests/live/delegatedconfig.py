"""The operator's file of the live tests of delegation: the live tests' own, with the lane that delivers."""

from __future__ import annotations

import celeryconfig as project
from tests.live import celeryconfig as live

globals().update({name: value for name, value in vars(live).items() if not name.startswith("_")})

imports = ()
lanes = {
    **live.lanes,
    "delegated": {**project.lanes["delegated"], **live._impatient, "grace_s": 5},
}
