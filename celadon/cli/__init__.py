"""The command `celadon`: a file for each group of commands, put together here."""

from __future__ import annotations

import click

from celadon.cli import jobs, keys, processes, switches
from celadon.cli.root import Root

main = click.version_option(package_name="celadon")(
    Root(
        {
            "Begin": (processes.init, processes.migrate),
            "Run": (processes.worker, processes.beat, processes.web),
            "Jobs": (jobs.job, jobs.jobs, jobs.cancel, jobs.replay, jobs.run_now, jobs.reschedule),
            "Queues, jobs of a name, tenants": (switches.pause, switches.resume, switches.switch),
            "Programs": (keys.keys,),
        }
    )
)
