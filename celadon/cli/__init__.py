"""The command `celadon`: a file for each group of commands, put together here."""

from __future__ import annotations

import click

from celadon.cli import delegation, jobs, keys, limits, processes, schedules, switches
from celadon.cli.groups import Root

main = click.version_option(package_name="celadon")(
    Root(
        {
            "Begin": (processes.init, processes.migrate),
            "Run": (processes.worker, processes.beat, processes.web),
            "Jobs": (
                delegation.delegate,
                jobs.job,
                jobs.jobs,
                jobs.cancel,
                jobs.replay,
                jobs.run_now,
                jobs.reschedule,
            ),
            "Schedules": (schedules.schedules,),
            "Queues, jobs of a name, tenants": (
                switches.pause,
                switches.resume,
                limits.limits,
                switches.switch,
                switches.list_switches,
                delegation.fleet,
            ),
            "Programs": (keys.keys,),
        }
    )
)
