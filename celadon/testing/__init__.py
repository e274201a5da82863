"""For the tests of your application: jobs on a ledger of their own, run when you ask, with time that you move.

    with sandbox() as box:
        receipt = submit("welcome.mail", {"to": "ada@example.com"})
        box.assert_submitted("welcome.mail", payload={"to": "ada@example.com"})
        [job] = box.run_due()
        assert job.state == "succeeded"

The fixture for pytest: `pytest_plugins = ["celadon.testing.plugin"]` in your topmost `conftest.py`.
"""

from celadon.testing.box import Sandbox, sandbox
from celadon.testing.submissions import SubmittedJob

__all__ = ["Sandbox", "SubmittedJob", "sandbox"]
